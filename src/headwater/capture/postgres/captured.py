"""Which of the tables that were captured so far are still there."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.capture.postgres.catalog import TableRow
from headwater.capture.postgres.resume import Standing
from headwater.capture.postgres.selection import did_you_mean, matches, qualify
from headwater.errors import SourceStopped


def still_there(
    patterns: Sequence[str], existing: dict[str, TableRow], standing: Standing, *, moved: bool = False
) -> list[TableRow]:
    """The tables that were captured so far and still are wanted.

    Args:
        patterns: the setting `tables`.
        existing: all tables of the database, by schema.table.
        standing: tells those captured so far.
        moved: they are in another cluster now, where they have other ids.

    Raises:
        SourceStopped: one of them is gone.
    """
    unwanted = [qualify(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
    wanted = [name for name in standing.tables if not matches(name, unwanted)]
    for name in wanted:
        if name not in existing or (existing[name].oid != standing.tables[name] and not moved):
            raise _gone(name, standing.tables[name], existing)
    return [existing[name] for name in wanted]


def _gone(name: str, oid: int, existing: dict[str, TableRow]) -> SourceStopped:
    renamed = next((row.qualified for row in existing.values() if row.oid == oid), None)
    if renamed:
        what, near = f"was renamed to {renamed}", ""
    elif name in existing:
        what, near = "was dropped and made again", ""
    else:
        what, near = "is gone", f"{did_you_mean(name, list(existing))} If it was dropped,".strip()
    return SourceStopped(
        f"captured table {name} {what}",
        hint=f"{near} leave it out: tables: [..., '!{name}'], or begin again with an empty state folder".strip(),
    )
