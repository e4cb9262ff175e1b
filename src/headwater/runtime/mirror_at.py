"""A lake table as of an exact position of its source: its rows as of an epoch, and the log's changes since.

So that nothing has to be stopped, and no moment awaited in which lake and source stand at the same place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.incremental import FIRST, marker
from headwater.change import WEIGHT, ChangeBatch, Op, log_schema
from headwater.digest import Digests, digests
from headwater.engine.normalise import Normaliser
from headwater.errors import UserError
from headwater.index.key_index import KeyIndex
from headwater.log.cursor import LogRecord
from headwater.schema import StreamSchema

_READING = (Op.READ, Op.SNAPSHOT_BEGIN, Op.SNAPSHOT_END)


@dataclass(frozen=True)
class MirrorAt:
    """What a mirror holds at a position: the rows of `there` without those of `gone`, as multisets.

    Attributes:
        there, gone: tables of the stream's columns.
        rejected: keys, as rejects have them, of rows that are kept out of sight or were rejected since the epoch.
    """

    there: Sequence[pa.Table]
    gone: Sequence[pa.Table]
    rejected: frozenset[str]

    def digests(self, key: Sequence[str], buckets: int) -> Digests:
        """Their digests by bucket."""
        found: Digests = {}
        for tables, sign in ((self.there, 1), (self.gone, -1)):
            for table in tables:
                for bucket, digest in digests(table, key, buckets).items():
                    before = found.get(bucket)
                    signed = digest if sign > 0 else digest - digest - digest
                    found[bucket] = signed if before is None else before + signed
        return {bucket: digest for bucket, digest in found.items() if digest != digest - digest}


def mirror_at(
    stream: StreamSchema, rows: pa.Table, records: Iterable[LogRecord], position: int, *, initial: bool
) -> MirrorAt:
    """Brings `rows` to a position.

    Args:
        stream: the stream as it is now at the source.
        rows: the table's rows as of an epoch.
        records: the log from where that epoch ended.
        position: changes of transactions below it count.
        initial: the epoch ended in the source's initial snapshot, of which the rest is in `records`.

    Raises:
        UserError: the table is being read anew just now, so it is not meant to be equal.
    """
    batches, rejected = _changes(stream.name, records, position)
    base = in_columns(rows, stream.columns)
    if not batches:
        return MirrorAt([base], [], rejected)
    reading = pa.array(_READING[initial:], pa.uint8())
    if any(pc.any(pc.is_in(batch.rows.column("_op"), reading)).as_py() for batch in batches):
        raise UserError(
            f"table {stream.name!r} is being read anew just now",
            hint="headwater snapshot shows how far; then try again",
        )
    emptied = any(pc.any(pc.equal(batch.rows.column("_op"), int(Op.TRUNCATE))).as_py() for batch in batches)
    if batches[-1].stream.changelog == "upsert":
        return _upserted(stream, base, batches, rejected, emptied=emptied)
    there, gone = _as_sent(stream, batches)
    return MirrorAt(there if emptied else [base, *there], gone, rejected)


def _changes(name: str, records: Iterable[LogRecord], position: int) -> tuple[list[ChangeBatch], frozenset[str]]:
    """The stream's changes that count, and the keys of its rejects."""
    batches: list[ChangeBatch] = []
    rejected: set[str] = set()
    for record in records:
        if record.stream is None:
            own = record.rows.filter(pc.equal(record.rows.column("stream"), name))
            rejected.update(key for key in own.column("key").to_pylist() if key)
        elif record.stream.name == name:
            counted = pc.less(record.rows.column("_commit"), pa.scalar(position, pa.uint64()))
            rows = record.rows.filter(counted)
            if rows.num_rows:
                batches.append(ChangeBatch(record.stream, rows))
    return batches, frozenset(rejected)


def _upserted(
    stream: StreamSchema, base: pa.Table, batches: list[ChangeBatch], rejected: frozenset[str], *, emptied: bool
) -> MirrorAt:
    """Only rows whose keys were named are taken through a normaliser; rows that were out of sight before, which the
    lake does not show, stay unknown to it and so out of sight."""
    key = batches[-1].stream.key
    index = KeyIndex(pa.schema([stream.columns.field(name) for name in key]))
    for batch in batches:
        named = batch.rows.filter(pc.not_equal(batch.rows.column("_op"), int(Op.TRUNCATE)))
        index.find_or_insert(
            in_columns(pa.Table.from_batches([named]), pa.schema([stream.columns.field(k) for k in key]))
        )
    touched = index.find(base) >= 0
    normaliser = Normaliser(batches[0].stream)
    normaliser.apply([marker(batches[0].stream, Op.SNAPSHOT_BEGIN, FIRST, 0, 0)])
    seed = as_read(batches[0].stream, base.filter(pa.array(touched)))
    normaliser.apply([*seed, *batches])
    now = in_columns(normaliser.rows().drop_columns([WEIGHT]), stream.columns)
    untouched = base.slice(0, 0) if emptied else base.filter(pa.array(~touched))
    return MirrorAt([untouched, now], [], rejected | frozenset(normaliser.hidden_keys()))


def _as_sent(stream: StreamSchema, batches: list[ChangeBatch]) -> tuple[list[pa.Table], list[pa.Table]]:
    """Rows that appeared and rows that went since the last TRUNCATE."""
    there: list[pa.Table] = []
    gone: list[pa.Table] = []
    for batch in batches:
        rows = pa.Table.from_batches([batch.rows])
        cuts = np.flatnonzero(rows.column("_op").to_numpy() == int(Op.TRUNCATE))
        if len(cuts):
            there, gone, rows = [], [], rows.slice(int(cuts[-1]) + 1)
        weight = rows.column("_weight")
        there.append(in_columns(rows.filter(pc.greater(weight, 0)), stream.columns))
        gone.append(in_columns(rows.filter(pc.less(weight, 0)), stream.columns))
    return there, gone


def as_read(stream: StreamSchema, rows: pa.Table) -> Iterator[ChangeBatch]:
    """Rows as a snapshot would have brought them."""
    plain = in_columns(rows, stream.columns)
    head = {"_op": int(Op.READ), "_weight": 1, "_commit": 0, "_ordinal": 0, "_time": None, "_unchanged": None}
    schema = log_schema(stream)
    columns = [pa.repeat(pa.scalar(value, schema.field(name).type), len(rows)) for name, value in head.items()]
    whole = pa.table([*columns, *plain.columns], schema=schema)
    for batch in whole.to_batches():
        yield ChangeBatch(stream, batch)


def in_columns(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """The rows in exactly these columns, null where they have none."""
    arrays = [
        rows.column(field.name).cast(field.type) if field.name in rows.column_names else _nulls(len(rows), field.type)
        for field in columns
    ]
    return pa.table(arrays, schema=pa.schema([field.with_nullable(True) for field in columns]))


def _nulls(count: int, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(count, kind)])
