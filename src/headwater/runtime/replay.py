"""Which rejects an epoch takes in again, and which have become moot."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

import pyarrow as pa

from headwater.capture.source import Source
from headwater.change import ChangeBatch
from headwater.errors import UserError
from headwater.quality.rejects import Ledger, Reject
from headwater.runtime.intake import Intake
from headwater.runtime.state_store import Replay, StateStore


def requested_replays(store: StateStore, sources: Mapping[str, Source], now_us: int) -> tuple[Replay, ...]:
    """Makes ready the rejects whose replay was asked for; those that still cannot be decoded are open again.

    Args:
        store: the state store.
        sources: by stream name, the source that feeds it.
        now_us: for the ledger.
    """
    ready: list[Replay] = []
    failed: dict[int, str] = {}
    for reject in store.ledger.entries(("requested",)):
        try:
            ready.append(_prepare(reject, sources))
        except UserError as error:
            failed[reject.id] = error.message
    if failed:
        with store.transaction():
            store.ledger.settle((), failed, now_us)
    return tuple(ready)


def superseded(ledger: Ledger, intake: Intake) -> list[int]:
    """Open decode rejects whose key has changed since, in what this epoch took in: the later change says it all."""
    moot: list[int] = []
    for stream, keys in ledger.open_keys().items():
        for batch in intake.batches.get(stream, ()):
            for key, commit in _keys(batch):
                moot += [reject for reject in keys.get(key, ()) if commit > _commit(ledger.entry(reject).position)]
    return moot


def _prepare(reject: Reject, sources: Mapping[str, Source]) -> Replay:
    if reject.stage != "decode":
        return Replay(reject.id, reject.stage, reject.stream, base64.b64encode(reject.record).decode())
    if reject.stream not in sources:
        raise UserError(f"stream {reject.stream!r} is not captured any more")
    batch = sources[reject.stream].decode(reject.record)
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, batch.rows.schema) as writer:
        writer.write_batch(batch.rows)
    return Replay(reject.id, reject.stage, reject.stream, base64.b64encode(buffer.getvalue()).decode())


def _keys(batch: ChangeBatch) -> Iterator[tuple[str, int]]:
    """Key as in `REJECT_SCHEMA` and commit position of each change; only called while there are open rejects."""
    columns = [batch.rows.column(name).cast(pa.string()).to_pylist() for name in batch.stream.key]
    commits = batch.rows.column("_commit").to_pylist()
    for values, commit in zip(zip(*columns, strict=True), commits, strict=False):
        yield json.dumps(list(values)), commit


def _commit(position: str) -> int:
    return int(position.partition(":")[0])
