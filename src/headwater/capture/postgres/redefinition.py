"""What has changed between two definitions of a table, in words, and whether its rows are known after it."""

from __future__ import annotations

import pyarrow as pa

from headwater.capture.postgres.definition import Definition
from headwater.capture.postgres.known import by_number
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.types import Column
from headwater.capture.schema_policy import Change, rekeyed, retyped, widened


def changes(before: Table, now: Table) -> list[Change]:
    """What of a table's definition is another than it was."""
    was, present = by_number(before.columns), by_number(now.columns)
    found = [Change("added", f"has a new column {c.name!r}") for number, c in present.items() if number not in was]
    found += [Change("other", f"has lost its column {c.name!r}") for number, c in was.items() if number not in present]
    for number, column in present.items():
        found += _of_column(was[number], column) if number in was else []
    renamed = {column.name: present[number].name for number, column in was.items() if number in present}
    if tuple(renamed.get(name) for name in before.key) != now.key or before.changelog != now.changelog:
        found.append(rekeyed(now.key, now.changelog))
    return found


def _of_column(before: Column, now: Column) -> list[Change]:
    found = []
    if before.name != now.name:
        found.append(Change("other", f"has column {before.name!r} renamed to {now.name!r}"))
    if before.arrow_type != now.arrow_type:
        types = f"from {before.source_type} to {now.source_type}"
        found.append(retyped(now.name, before.arrow_type, now.arrow_type, types))
    return found


def is_known_after(before: Table, now: Table, definition: Definition, file: int | None) -> bool:
    """Whether the rows that are there hold what follows from what they held: nothing was computed anew for them.

    Args:
        before, now: the table as it was known and as the stream has it.
        definition: as the catalog has it at the moment.
        file: the number of the table's file when it was `before`.
    """
    written_anew = definition.partitioned or file is None or definition.file != file
    was = by_number(before.columns)
    for number, column in by_number(now.columns).items():
        if number not in was:
            if column.missing is None and written_anew:
                return False
        elif (was[number].oid, was[number].typmod) != (column.oid, column.typmod):
            wider = was[number].arrow_type == column.arrow_type or widened(was[number].arrow_type, column.arrow_type)
            if written_anew and not (wider and not pa.types.is_string(column.arrow_type)):
                return False
    return True
