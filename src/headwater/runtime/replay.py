"""Which rejects an epoch takes in again, and which have become moot."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

import pyarrow as pa

from headwater.capture.source import Source
from headwater.change import ChangeBatch, key_text
from headwater.errors import UserError
from headwater.project.definition import Model
from headwater.quality.rejects import Ledger, Reject
from headwater.runtime.intake import Intake
from headwater.runtime.state_store import Replay, StateStore


def requested_replays(
    store: StateStore, sources: Mapping[str, Source], models: Mapping[str, Model], now_us: int
) -> tuple[Replay, ...]:
    """Makes ready the rejects whose replay was asked for; those that nothing can take in now are open again.

    Args:
        store: the state store.
        sources: by stream name, the source that feeds it.
        models: by name.
        now_us: for the ledger.
    """
    ready: list[Replay] = []
    failed: dict[int, str] = {}
    for reject in store.ledger.entries(("requested",)):
        try:
            ready.append(_prepare(reject, sources, models))
        except UserError as error:
            failed[reject.id] = error.message
    if failed:
        with store.transaction():
            store.ledger.settle((), failed, now_us)
    return tuple(ready)


def superseded(ledger: Ledger, intake: Intake) -> list[int]:
    """Open decode rejects whose key has changed since, in what this epoch took in: the later change says it all, unless
    it left columns out as unchanged, which may be just those that were rejected."""
    moot: list[int] = []
    for stream, keys in ledger.open_keys().items():
        for batch in intake.batches.get(stream, ()):
            for key, position in _keys(batch):
                moot += [reject for reject in keys.get(key, ()) if position > _position(ledger.entry(reject))]
    return moot


def _prepare(reject: Reject, sources: Mapping[str, Source], models: Mapping[str, Model]) -> Replay:
    if reject.stage != "decode":
        _require_reader(reject, models)
        return Replay(reject.id, reject.stage, reject.stream, base64.b64encode(reject.record).decode())
    if reject.stream not in sources:
        raise UserError(f"stream {reject.stream!r} is not captured any more")
    batch = sources[reject.stream].decode(reject.record)
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, batch.rows.schema) as writer:
        writer.write_batch(batch.rows)
    return Replay(reject.id, reject.stage, reject.stream, base64.b64encode(buffer.getvalue()).decode())


def _require_reader(reject: Reject, models: Mapping[str, Model]) -> None:
    name, _, entry = reject.stream.partition("/")
    if name not in models:
        raise UserError(f"the model {name!r} is there no more: discard the reject, or put the model back")
    if entry not in models[name].inputs:
        raise UserError(f"the row was computed inside {name!r} and cannot be fed to it: change the model's SQL")


def _keys(batch: ChangeBatch) -> Iterator[tuple[str, tuple[int, int]]]:
    """Key as in `REJECT_SCHEMA` and position of each whole change; only called while there are open rejects."""
    rows = batch.rows.filter(batch.rows.column("_unchanged").is_null())
    columns = [key_text(rows.column(name)) for name in batch.stream.key]
    places = zip(*(rows.column(name).to_pylist() for name in ("_commit", "_ordinal")), strict=True)
    for values, position in zip(zip(*columns, strict=True), places, strict=False):
        yield json.dumps(list(values)), position


def _position(reject: Reject) -> tuple[int, int]:
    commit, _, ordinal = reject.position.partition(":")
    return int(commit), int(ordinal or 0)
