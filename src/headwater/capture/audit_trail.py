"""The audit trail: every change of a stream kept as a row, and every transaction, so that "who changed this, when and
why" is a SELECT. Source-neutral: it adds batches to the groups of a source before they go into the log.

`<stream>_audit` has the stream's columns behind these:

| column          | type                  | meaning |
|---|---|---|
| `change_op`     | text                  | insert, update, delete, truncate |
| `change_weight` | int8                  | +1: the row as it is after; -1: as it was before, or what was deleted |
| `change_commit` | int64                 | `Position.commit`: joins with `<source>_transactions` |
| `change_ordinal`| int64                 | number of the change in its transaction |
| `change_time`   | timestamp[us, UTC]    | commit time |
| `change_unsent` | list of text          | columns that are null here only because the source did not send them, |
|                 |                       | or their value cannot be held; null if there are none |

`<source>_transactions` has `commit` int64, `transaction_id` text, `committed_at` timestamp[us, UTC] and `context` text:
what the application said of it (for PostgreSQL `pg_logical_emit_message(true, 'headwater.context', '...')`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.errors import SourceStopped
from headwater.schema import StreamSchema

CONTEXT_PREFIX = "headwater.context"
"""Prefix of the messages that say why a transaction is made."""

_TIME = pa.timestamp("us", tz="UTC")
_CHANGE = pa.schema(
    [
        pa.field("change_op", pa.string()),
        pa.field("change_weight", pa.int8()),
        pa.field("change_commit", pa.int64()),
        pa.field("change_ordinal", pa.int64()),
        pa.field("change_time", _TIME),
        pa.field("change_unsent", pa.list_(pa.string())),
    ]
)
_TRANSACTION = pa.schema(
    [
        pa.field("commit", pa.int64()),
        pa.field("transaction_id", pa.string()),
        pa.field("committed_at", _TIME),
        pa.field("context", pa.string()),
    ]
)
_KEPT = {Op.INSERT: "insert", Op.UPDATE: "update", Op.DELETE: "delete", Op.TRUNCATE: "truncate"}
_CHANGES = pa.array([int(op) for op in _KEPT], pa.uint8())
_NAMES = pa.array([_KEPT.get(Op(op)) if op in set(Op) else None for op in range(max(Op) + 1)], pa.string())


def audited(stream: StreamSchema) -> StreamSchema:
    """The stream that keeps every change of `stream`.

    Raises:
        SourceStopped: a column has the name of one of ours.
    """
    taken = sorted(set(_CHANGE.names).intersection(stream.columns.names))
    if taken:
        raise SourceStopped(
            f"stream {stream.name!r} has a column {taken[0]!r}, a name that its audit trail needs for itself",
            hint=f"rename the column, or leave {stream.name!r} out of the source's audit:",
        )
    columns = [field.with_nullable(True).remove_metadata() for field in stream.columns]
    return StreamSchema(f"{stream.name}_audit", pa.schema([*_CHANGE, *columns]))


def transactions_of(source: str) -> StreamSchema:
    """The stream that keeps a source's transactions."""
    return StreamSchema(f"{source}_transactions", _TRANSACTION)


def transactions_batch(
    source: str,
    commits: np.ndarray,
    ids: Sequence[str | None],
    times_us: Sequence[int | None] | np.ndarray,
    contexts: Sequence[str | None],
) -> ChangeBatch:
    """Rows of `transactions_of(source)`.

    Args:
        source: name of the source.
        commits: uint64 `Position.commit` of each transaction.
        ids: what the source calls it; None if it does not say.
        times_us: commit times, microseconds since 1970 UTC.
        contexts: what the application said of it; None if nothing.
    """
    times = pa.array(times_us, pa.int64()).cast(_TIME)
    count = len(commits)
    stream = transactions_of(source)
    own = [pa.array(commits.astype(np.int64)), pa.array(ids, pa.string()), times, pa.array(contexts, pa.string())]
    return ChangeBatch(
        stream,
        pa.RecordBatch.from_arrays(
            [
                pa.array(np.full(count, Op.INSERT, np.uint8)), pa.array(np.ones(count, np.int8)),
                pa.array(commits.astype(np.uint64)), pa.array(np.zeros(count, np.int64)), times,
                pa.nulls(count, pa.binary()), *own,
            ],
            schema=log_schema(stream),
        ),
    )  # fmt: skip


def audit_batch(batch: ChangeBatch) -> ChangeBatch | None:
    """The changes of a batch as rows of its audit stream; None if it has none (rows of a snapshot are no
    changes)."""
    rows = batch.rows
    kept = rows.filter(pc.is_in(rows.column("_op"), _CHANGES))
    if not kept.num_rows:
        return None
    stream = audited(batch.stream)
    own = [
        _NAMES.take(kept.column("_op")),
        kept.column("_weight"),
        kept.column("_commit").cast(pa.int64()),
        kept.column("_ordinal"),
        kept.column("_time"),
        _unsent(kept.column("_unchanged"), batch.stream.columns.names),
    ]
    count = kept.num_rows
    change = [
        pa.array(np.full(count, Op.INSERT, np.uint8)), pa.array(np.ones(count, np.int8)), kept.column("_commit"),
        kept.column("_ordinal"), kept.column("_time"), pa.nulls(count, pa.binary()),
    ]  # fmt: skip
    columns = [kept.column(field.name) for field in batch.stream.columns]
    return ChangeBatch(stream, pa.RecordBatch.from_arrays([*change, *own, *columns], schema=log_schema(stream)))


def _unsent(marks: pa.Array, names: Sequence[str]) -> pa.Array:
    """The columns that each mark of `_unchanged` names; few marks are different ones."""
    coded = marks.dictionary_encode()
    lists = [None if mark is None else _named(mark, names) for mark in coded.dictionary.to_pylist()]
    return pa.array(lists, pa.list_(pa.string())).take(coded.indices)


def _named(mark: bytes, names: Sequence[str]) -> list[str] | None:
    bits = np.flatnonzero(np.unpackbits(np.frombuffer(mark, np.uint8), bitorder="little"))
    return [names[at] for at in sorted({int(bit) % len(names) for bit in bits if bit < 2 * len(names)})] or None


class AuditTrail:
    """The audit trail of one source.

    Args:
        source: its name.
        patterns: the streams whose every change is kept, with * and ?.
        told: the source's own groups carry rows of its transactions.
    """

    def __init__(self, source: str, patterns: Sequence[str], *, told: bool) -> None:
        self._source = source
        self._patterns = tuple(patterns)
        self._told = told
        self._parted: dict[int, int | None] = {}

    def streams(self, fed: Iterable[StreamSchema]) -> list[StreamSchema]:
        """The streams that the trail of a source that feeds `fed` consists of.

        Raises:
            SourceStopped: a column has the name of one of ours.
        """
        return [*(audited(stream) for stream in fed if self._keeps(stream.name)), transactions_of(self._source)]

    def begin(self) -> None:
        """The source is opened anew: what is open comes again."""
        self._parted.clear()

    def added(self, group: Group) -> Group:
        """A group with the trail of its changes, and its transactions if the source does not tell of them.

        Groups come in order.
        """
        audits = [audit_batch(batch) for batch in group.batches if self._keeps(batch.stream.name)]
        more = [batch for batch in audits if batch is not None]
        if not self._told:
            more += self._transactions(group)
        return replace(group, batches=(*group.batches, *more)) if more else group

    def _keeps(self, stream: str) -> bool:
        return any(fnmatchcase(stream, pattern) for pattern in self._patterns)

    def _transactions(self, group: Group) -> list[ChangeBatch]:
        """The transactions of the changes, by their commit times; one in parts is told with its last."""
        for batch in group.batches:
            changes = batch.rows.filter(pc.is_in(batch.rows.column("_op"), _CHANGES))
            commits, first = np.unique(changes.column("_commit").to_numpy(), return_index=True)
            times = changes.column("_time").take(first).cast(pa.int64()).to_pylist()
            self._parted.update(zip(commits.tolist(), times, strict=True))
        if group.more or not self._parted:
            return []
        told = sorted(self._parted.items())
        self._parted.clear()
        nothing = [None] * len(told)
        commits = np.array([commit for commit, _ in told], np.uint64)
        return [transactions_batch(self._source, commits, nothing, [time for _, time in told], nothing)]
