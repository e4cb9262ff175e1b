"""Streams taken over from the lake: where no checkpoint can be read, each stream's rows are those of its table as of
one epoch, and the log is read on from the very offset that this epoch's table snapshots name.

All tables are read as of the same epoch, so that the streams stand at one moment. Models are then built from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import ChangeBatch, Op, log_schema
from headwater.engine.evolution import align
from headwater.errors import UserError
from headwater.lake.moment import TableSnapshot
from headwater.lake.table_format import Lake
from headwater.log.partition import Partition
from headwater.runtime.capture_job import Partitions
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.intake import boundary_after
from headwater.runtime.nodes import StreamNode
from headwater.runtime.state_store import CheckpointRecord, StateStore
from headwater.schema import StreamSchema

OFFSET = "source.{source}.offset"
"""Property of a table snapshot: the log offset that its epoch goes up to."""

STATE = "state"
"""Property of a table snapshot: the identity of the state folder in whose log the offsets count."""

_ANEW = "move the state folder away and run again: the sources are then read anew, and the tables rebuilt"


def hand_over(flow: Dataflow, partitions: Partitions, lake: Lake, store: StateStore, identity: str) -> CheckpointRecord:
    """Fills the streams of `flow`, which have no rows yet; returns what a checkpoint as of then would say. Tables that
    it does not name hold more than the streams do now, and have to be replaced.

    Args:
        flow: no model of it has a view yet.
        partitions: the log.
        lake: the tables.
        store: says which epoch was done last; if it is as new as can be, the tables alone say which was whole.
        identity: of the state folder.

    Raises:
        UserError: a stream's rows are in no table, or not as of that epoch; or it was being read anew then.
    """
    epoch, offsets = store.last_done()
    kept, top = epoch > 0, epoch
    if not kept:
        epoch, offsets, top = _last_whole(flow, lake, identity)
    rows = {}
    for name, node in flow.streams.items():
        partition, offset = partitions[node.source], offsets.get(node.source, 0)
        if name in flow.checks.nodes and flow.checks.nodes[name].gated:
            aside = f"checks set rows of {name!r} aside, so that no table holds all of the stream"
            raise UserError(aside, hint=_ANEW)
        _require_readable(name, node, partition, offset)
        rows[name] = _fill(node, partition, offset, lake, epoch, store)
    tables = _held(flow, lake, epoch) if kept else {}
    sources = {name: node.source for name, node in flow.streams.items()}
    return CheckpointRecord(top, offsets, rows=rows, sources=sources, tables=tables)


def _held(flow: Dataflow, lake: Lake, epoch: int) -> dict[str, int]:
    """The epochs that the streams' tables hold, of those up to `epoch`."""
    there, held = lake.names(), {}
    for table in (table for node in flow.streams.values() for table in node.tables if table.name in there):
        committed = lake.open_table(table.name).committed()
        held[table.name] = min(committed.epoch, epoch) if committed is not None else 0
    return held


def _mirror(node: StreamNode) -> str | None:
    """The table that holds a stream's rows, no more and no less; None if none does."""
    return next((table.name for table in node.tables if table.kind == "mirror" and not table.soft), None)


def _last_whole(flow: Dataflow, lake: Lake, identity: str) -> tuple[int, Mapping[str, int], int]:
    """The last epoch that every table surely holds, the log offsets that it goes up to, and the last that any holds.

    An epoch begins when the one before is in all tables, so only the last may be in some and not in others.
    """
    there = lake.names()
    defined = [table for node in flow.streams.values() for table in node.tables]
    past = [table.name for table in defined if table.traced and table.name in there]
    if past:
        message = f"the state is lost, and table {past[0]!r} holds a past that only the state could go on with"
        raise UserError(message, hint="put back the state folder's state.db and checkpoints from a backup")
    defined += [table for model in flow.models.values() for table in model.tables]
    tables = [table.name for table in defined if table.name in there]
    sources = {node.source for node in flow.streams.values()}
    epochs: dict[int, TableSnapshot] = {}
    for name in tables:
        for snapshot in lake.open_table(name).snapshots():
            epoch = None if snapshot.maintenance else snapshot.epoch
            if epoch is not None and snapshot.properties.get(STATE) == identity:
                epochs.setdefault(epoch, snapshot)
    last = max(epochs, default=0)
    whole = last if len(tables) == 1 else max((epoch for epoch in epochs if epoch < last), default=0)
    if not whole:
        raise UserError("the state is lost, and no table says from which offset of the log to go on", hint=_ANEW)
    properties = epochs[whole].properties
    offsets = {source: int(properties.get(OFFSET.format(source=source), 0)) for source in sources}
    return whole, offsets, last


def _require_readable(name: str, node: StreamNode, partition: Partition, offset: int) -> None:
    """A stream whose rows the lake has, whole.

    Raises:
        UserError: it has not.
    """
    if offset < partition.base or offset > partition.head:
        raise UserError(
            f"the tables go on from offset {offset} of the log of {node.source!r}, which holds {partition.base} to"
            f" {partition.head}",
            hint=_ANEW,
        )
    if name not in partition.counts_at(offset):
        return
    if _mirror(node) is None:
        raise UserError(
            f"no checkpoint can be read, the log of {node.source!r} begins at offset {partition.base}, and the rows of"
            f" stream {name!r} are in no table to begin from (mirror: false)",
            hint=f"{_ANEW}; with `mirror: true` the next time its table is what it begins from",
        )
    boundary = boundary_after(partition, offset)
    if boundary is None or boundary.snapshot or _ends_a_reading(partition, name, offset):
        raise UserError(
            f"no checkpoint can be read, and stream {name!r} was being read anew where the tables stand", hint=_ANEW
        )


def _ends_a_reading(partition: Partition, name: str, offset: int) -> bool:
    """Whether a reading of the stream ends beyond the offset that had begun before it."""
    for record in partition.read(offset, partition.head):
        if record.stream is not None and record.stream.name == name:
            ops = record.rows.column("_op").to_numpy()
            marks = ops[np.isin(ops, [int(Op.SNAPSHOT_BEGIN), int(Op.SNAPSHOT_END)])]
            if len(marks):
                return bool(marks[0] == int(Op.SNAPSHOT_END))
    return False


def _fill(node: StreamNode, partition: Partition, offset: int, lake: Lake, epoch: int, store: StateStore) -> int:
    """Gives a stream the rows of its table; returns their number."""
    name = node.stream.name
    counts = partition.counts_at(offset).get(name)
    if counts is None:
        return 0
    taken = counts.changes + counts.rejects
    node.landed = taken - store.ledger.totals().get((name, "decode"), 0)
    mirror = _mirror(node)
    if mirror is None or mirror not in lake.names():
        return 0
    table = lake.open_table(mirror)
    node.normaliser.apply(list(_as_read(node.stream, table.read(epoch), table.spec.columns)))
    whole = node.normaliser.rows()
    node.observe(whole)
    return int(whole.num_rows)


def _as_read(stream: StreamSchema, rows: pa.Table, held: pa.Schema) -> Iterable[ChangeBatch]:
    """A table's rows as a snapshot of the source would have brought them, column by column by its id.

    Raises:
        UserError: what the lake holds in place of a type that it lacks cannot be turned back.
    """
    try:
        plain = align(rows, StreamSchema(stream.name, held), stream.columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"the rows of stream {stream.name!r} cannot be taken from its table: {error}", hint=_ANEW
        ) from (error)
    head = {"_op": int(Op.READ), "_weight": 1, "_commit": 0, "_ordinal": 0, "_time": None, "_unchanged": None}
    schema = log_schema(stream)
    columns = [pa.repeat(pa.scalar(value, schema.field(name).type), rows.num_rows) for name, value in head.items()]
    whole = pa.Table.from_arrays([*columns, *plain.columns], schema=schema)
    ordinals = pc.cast(pa.array(np.arange(rows.num_rows)), schema.field("_ordinal").type)
    whole = whole.set_column(schema.get_field_index("_ordinal"), schema.field("_ordinal"), ordinals)
    for batch in whole.to_batches():
        yield ChangeBatch(stream, batch)
