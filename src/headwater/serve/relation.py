"""A table as SQL sees it: a name in DuckDB over a dataset, with the end of the log joined to it where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

if TYPE_CHECKING:  # it computes with the engine, which is not to be loaded to ask what is committed
    from headwater.serve.tail_of_log import Tail


@dataclass(frozen=True)
class Relation:
    """One table of a query.

    Attributes:
        name: as SQL names it.
        base: rows of the lake's table, or any rows.
        tail: what the log says beyond them; None if nothing.
    """

    name: str
    base: pads.Dataset | pa.Table
    tail: Tail | None = None

    def install(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the name known; filters go through to the files, also where the log is joined."""
        if self.tail is None or not self.tail.changes:
            connection.register(self.name, self.base)
            return
        parts = {"base": self.base, "rows": self.tail.rows, "touched": self.tail.touched, "gone": self.tail.gone}
        for part, rows in parts.items():
            if rows is not None:
                connection.register(self._part(part), rows)
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {_quoted(self.name)} AS {self._joined()}")

    def _part(self, part: str) -> str:
        return f"_headwater_{part}_{self.name}"

    def _joined(self) -> str:
        assert self.tail is not None
        columns = ", ".join(map(_quoted, self.tail.rows.column_names))
        rows = f"SELECT {columns} FROM {_quoted(self._part('rows'))}"  # noqa: S608
        base = f"SELECT {columns} FROM {_quoted(self._part('base'))}"  # noqa: S608
        if self.tail.emptied:
            return rows
        if self.tail.touched is not None:
            same = (f"b.{_quoted(k)} IS NOT DISTINCT FROM t.{_quoted(k)}" for k in self.tail.touched.column_names)
            return (
                f"{base} AS b ANTI JOIN {_quoted(self._part('touched'))} AS t ON {' AND '.join(same)} UNION ALL {rows}"
            )
        if self.tail.gone is not None and self.tail.gone.num_rows:
            base = f"({base} EXCEPT ALL SELECT {columns} FROM {_quoted(self._part('gone'))})"  # noqa: S608
        return f"{base} UNION ALL {rows}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
