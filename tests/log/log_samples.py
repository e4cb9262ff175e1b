"""Groups to put into a log, small and various."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from headwater.change import REJECT_SCHEMA, ChangeBatch, Group, Op, log_schema
from headwater.log.mark import NAME, SLOT_BYTES, Mark
from headwater.log.partition import LogRecord, Partition
from headwater.position import Boundary, Position
from headwater.schema import StreamSchema

ORDERS = StreamSchema(
    "orders",
    pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False, metadata={b"headwater.source_type": b"int8"}),
            ("note", pa.string()),
        ]
    ),
    ("id",),
    "full",
)
CLICKS = StreamSchema("clicks", pa.schema([("at", pa.timestamp("us", tz="UTC")), ("tags", pa.list_(pa.string()))]))


def boundary(commit: int) -> Boundary:
    """A boundary that tells `commit` in each of its parts."""
    return Boundary(Position(commit, commit % 3), {"lsn": f"0/{commit:X}"}, commit * 1000, commit % 2 == 1)


def orders(commit: int, rows: int) -> ChangeBatch:
    """`rows` rows of ORDERS that tell their commit and number."""
    columns = {
        "_op": [int(Op.INSERT)] * rows,
        "_weight": [1] * rows,
        "_commit": [commit] * rows,
        "_ordinal": list(range(rows)),
        "_time": [commit * 1000 if row % 2 else None for row in range(rows)],
        "_unchanged": [None] * rows,
        "id": list(range(rows)),
        "note": [f"{commit}/{row}" for row in range(rows)],
    }
    return ChangeBatch(ORDERS, pa.RecordBatch.from_pydict(columns, schema=log_schema(ORDERS)))


def clicks(commit: int, rows: int) -> ChangeBatch:
    """`rows` rows of CLICKS."""
    columns = {
        "_op": [int(Op.READ)] * rows,
        "_weight": [1] * rows,
        "_commit": [commit] * rows,
        "_ordinal": list(range(rows)),
        "_time": [None] * rows,
        "_unchanged": [b"\x01"] * rows,
        "at": [commit] * rows,
        "tags": [["a", str(row)] if row % 2 else None for row in range(rows)],
    }
    return ChangeBatch(CLICKS, pa.RecordBatch.from_pydict(columns, schema=log_schema(CLICKS)))


def rejects(commit: int, rows: int, stream: str = "orders") -> pa.RecordBatch:
    """`rows` rejected records."""
    row = {"stream": stream, "stage": "decode", "reason": "bad_number", "message": "no", "position": f"{commit}/0",
           "key": "", "record": b"\x00raw", "weight": 1}  # fmt: skip
    return pa.RecordBatch.from_pylist([row] * rows, schema=REJECT_SCHEMA)


def group(commit: int, *, order_rows: int = 0, click_rows: int = 0, reject_rows: int = 0,
          filtered: Mapping[str, int] | None = None) -> Group:  # fmt: skip
    """One group."""
    batches = [orders(commit, order_rows)] if order_rows else []
    batches += [clicks(commit, click_rows)] if click_rows else []
    rejected = rejects(commit, reject_rows) if reject_rows else None
    return Group(boundary(commit), tuple(batches), rejected, dict(filtered or {}))


def part(commit: int, *, order_rows: int = 0, click_rows: int = 0, reject_rows: int = 0,
         filtered: Mapping[str, int] | None = None) -> Group:  # fmt: skip
    """A part of a group that is not its last; its own boundary says nothing."""
    whole = group(commit, order_rows=order_rows, click_rows=click_rows, reject_rows=reject_rows, filtered=filtered)
    return replace(whole, boundary=boundary(0), more=True)


def flat(records: Sequence[LogRecord]) -> list[tuple[int, str, str, int]]:
    """Offset, stream, row as text and commit of the boundary, of each row; checks that offsets are dense per record."""
    rows = []
    for record in records:
        name = record.stream.name if record.stream else "!"
        for number, row in enumerate(record.rows.to_pylist()):
            rows.append((record.offset + number, name, repr(row), record.boundary.position.commit))
    return rows


def expected(groups: Sequence[Group]) -> list[tuple[int, str, str, int]]:
    """What `flat` must say of a log with these groups."""
    rows: list[tuple[int, str, str, int]] = []
    for each in groups:
        commit = each.boundary.position.commit
        for batch in each.batches:
            rows += [(0, batch.stream.name, repr(row), commit) for row in batch.rows.to_pylist()]
        if each.rejects is not None:
            rows += [(0, "!", repr(row), commit) for row in each.rejects.to_pylist()]
    return [(offset, *row[1:]) for offset, row in enumerate(rows)]


def write(folder: Path, appends: Sequence[Sequence[Group]], **options: int) -> None:
    """Makes a partition with these appends."""
    partition = Partition.open(folder, **options)
    for groups in appends:
        partition.append(groups)
    partition.close()


def put_mark(folder: Path, mark: Mark | None) -> None:
    """Leaves `mark` as the only durable mark, as a power cut may; None: removes the mark's file."""
    if mark is None:
        (folder / NAME).unlink(missing_ok=True)
    else:
        (folder / NAME).write_bytes(mark.encode().ljust(2 * SLOT_BYTES, b"\0"))


def describe(partition: Partition) -> str:
    """Everything a partition says, as one text to compare."""
    return json.dumps([partition.base, partition.head, repr(partition.boundary), repr(dict(partition.counts)),
                       flat(list(partition.read(partition.base, partition.head)))])  # fmt: skip
