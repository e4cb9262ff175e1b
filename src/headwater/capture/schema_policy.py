"""`on_schema_change`: which changes of a table's definition go on by themselves, the same for every database.

What a change is, each connector finds out in its own way; whether the source may follow it is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from headwater.capture.settings import SchemaPolicy
from headwater.errors import SchemaChanged

Kind = Literal["added", "widened", "other"]
_ALLOWED: Mapping[SchemaPolicy, tuple[Kind, ...]] = {
    "evolve": ("added", "widened", "other"),
    "additive": ("added", "widened"),
    "stop": (),
}


@dataclass(frozen=True)
class Change:
    """One change of a definition. `text` goes on from "table T"."""

    kind: Kind
    text: str


def retyped(column: str, before: pa.DataType, now: pa.DataType, types: str) -> Change:
    """The change of a column's type, `types` being "from OLD to NEW" in the source's words."""
    kind: Kind = "widened" if widened(before, now) else "other"
    return Change(kind, f"has another type in column {column!r}: {types}")


def rekeyed(key: Sequence[str], how: str) -> Change:
    """The change of a table's key, or of how much its changes say."""
    return Change("other", f"has another key or replica identity: {', '.join(key) or 'none'}, {how}")


def widened(before: pa.DataType, now: pa.DataType) -> bool:
    """Whether a value is the same number in the new type, as databases cast it."""
    if pa.types.is_integer(before) and pa.types.is_integer(now):
        if pa.types.is_signed_integer(before) == pa.types.is_signed_integer(now):
            return bool(before.bit_width <= now.bit_width)
        return bool(pa.types.is_signed_integer(now) and before.bit_width < now.bit_width)
    if pa.types.is_floating(before) and pa.types.is_floating(now):
        return bool(before.bit_width <= now.bit_width)
    if pa.types.is_decimal(before) and pa.types.is_decimal(now):
        digits = now.precision - now.scale >= before.precision - before.scale
        return bool(digits and now.scale >= before.scale)
    return False


class SchemaGuard:
    """Holds changes against the policy.

    Args:
        source: the source's name, for the commands in messages.
        policy: by a table's name, what may change without asking.
        accepted: tables of which the next change is accepted, whatever it is; taken off when that has come.
    """

    def __init__(
        self,
        source: str = "NAME",
        policy: Callable[[str], SchemaPolicy] = lambda _: "evolve",
        accepted: list[str] | None = None,
    ) -> None:
        self._source, self._policy = source, policy
        self.accepted = accepted if accepted is not None else []

    def judge(self, table: str, found: Sequence[Change], *, known: bool) -> None:
        """Looks whether a table's changes may be followed.

        Args:
            table: its name, as patterns have it.
            found: what has changed.
            known: the rows that are there hold what follows from what they held.

        Raises:
            SchemaChanged: the user is to decide.
        """
        kinds = {change.kind for change in found} | (set() if known else {"other"})
        if table in self.accepted:
            self.accepted.remove(table)
        elif not kinds <= set(_ALLOWED[self._policy(table)]):
            told = "; ".join(change.text for change in found) or "has had a column made anew under its old name"
            raise self.stopped(table, told)

    def stopped(self, table: str, what: str, *, another: bool = False) -> SchemaChanged:
        """The error for a change that is not followed; with `another` it is another table now, which no acceptance of a
        change gets past."""
        accept = "" if another else f"go on with it: headwater source accept-change {self._source} {table}; or "
        return SchemaChanged(
            f"table {table} {what}; everything before that is in the log",
            hint=f"{accept}undo the change; or leave the table out: tables: [..., '!{table}']; or read all anew: "
            f"headwater source resnapshot {self._source}",
        )
