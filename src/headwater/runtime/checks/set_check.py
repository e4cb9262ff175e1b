"""One check that judges rows together, kept up to date by a view of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import weights
from headwater.engine.view import View
from headwater.errors import UserError
from headwater.quality.checks import Check
from headwater.runtime.checks.withheld import example

_DAY_US = 86_400_000_000


class SetCheck:
    """Keeps the number of violations (unique, referential) or the newest time (freshness).

    Args:
        check: of such a kind.

    Attributes:
        failing: how many violations there are now.
        example: one that came last.
        error: why there is no telling.
    """

    def __init__(self, check: Check) -> None:
        self.check = check
        self.failing = 0
        self.example = ""
        self.error = ""
        self._view: View | None = None

    def fits(self, columns: Mapping[str, pa.Schema]) -> bool:
        """Whether it has been built, over inputs of these columns."""
        return self._view is not None and self._inputs(columns) == dict(self._view.inputs)

    def build(self, columns: Mapping[str, pa.Schema], rows: Mapping[str, pa.Table]) -> None:
        """Begins anew, from all rows that there are."""
        self.close()
        self.failing, self.example, self.error = 0, "", ""
        try:
            self._view = self._made(columns)
        except UserError as mistake:
            self.error = mistake.message
            return
        self.follow(rows)

    def follow(self, deltas: Mapping[str, pa.Table]) -> None:
        """Takes in changes of what it reads."""
        if self._view is None:
            return
        given = {name: deltas[name].select([*self._view.inputs[name].names, WEIGHT]) for name in self.check.reads}
        change = self._view.apply(given)
        signs = weights(change)
        self.failing += int(signs.sum()) if self.check.kind != "freshness" else 0
        if not self.failing:
            self.example = ""
        elif (signs > 0).any():
            self.example = example(change.slice(int((signs > 0).nonzero()[0][-1]), 1), self.check, ())

    def newest_us(self) -> int | None:
        """The newest time, in microseconds since 1970 UTC; None if there is none."""
        if self._view is None or self.check.kind != "freshness":
            return None
        rows = self._view.result()
        value = rows.column("newest")[0].as_py() if rows.num_rows else None
        if isinstance(value, datetime):
            return int(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1e6)
        return (value - date(1970, 1, 1)).days * _DAY_US if isinstance(value, date) else None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        """Writes its state into a new folder."""
        if self._view is not None:
            self._view.checkpoint(folder, previous)

    def restore(self, folder: Path, columns: Mapping[str, pa.Schema]) -> bool:
        """Reads its state; whether there is one that fits."""
        if not folder.is_dir():
            return False
        try:
            self._view = self._made(columns, folder)
        except UserError:
            return False
        return True

    def close(self) -> None:
        """Gives up the view."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _made(self, columns: Mapping[str, pa.Schema], folder: Path | None = None) -> View:
        inputs, keep = self._inputs(columns), self.check.kind == "freshness"
        if folder is not None:
            return View.restore(
                folder, self.check.sql, inputs, keep_result=keep, recompute="allowed", name=self.check.id
            )
        return View(self.check.sql, inputs, keep_result=keep, recompute="allowed", name=self.check.id)

    def _inputs(self, columns: Mapping[str, pa.Schema]) -> dict[str, pa.Schema]:
        """The columns that it reads of each of its inputs."""
        wanted: dict[str, dict[str, None]] = {name: {} for name in self.check.reads}
        wanted[self.check.node] |= dict.fromkeys(self.check.columns)
        if self.check.to:
            wanted[self.check.to] |= dict.fromkeys(self.check.to_columns)
        return {
            name: pa.schema([columns[name].field(one) for one in of if one in columns[name].names])
            for name, of in wanted.items()
        }
