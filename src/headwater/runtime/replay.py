"""Which rejects an epoch takes in again, and which have become moot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.source import Source
from headwater.change import ChangeBatch, Op, key_text, marks
from headwater.errors import UserError
from headwater.project.definition import Model
from headwater.quality.rejects import Ledger, Reject
from headwater.runtime.checks.withheld import STAGE
from headwater.runtime.intake import Intake
from headwater.runtime.replay_rows import as_text
from headwater.runtime.state_store import Replay, StateStore

MOST = 5000
"""So many rejects does one epoch take in again."""


def requested_replays(
    store: StateStore, sources: Mapping[str, Source], models: Mapping[str, Model], now_us: int
) -> tuple[Replay, ...]:
    """Makes ready the rejects whose replay was asked for, the oldest `MOST` of them; those that nothing can take in now
    are open again.

    Args:
        store: the state store.
        sources: by stream name, the source that feeds it.
        models: by name.
        now_us: for the ledger.
    """
    ready: dict[tuple[object, ...], list[tuple[Reject, pa.RecordBatch]]] = {}
    failed: dict[int, str] = {}
    for reject in store.ledger.entries(("requested",), limit=MOST):
        if reject.stage == "delivery":
            continue  # its sync sends it again by itself
        try:
            rows, together = _prepare(reject, sources, models)
        except UserError as error:
            failed[reject.id] = error.message
        else:
            group = (reject.stream, rows.schema.serialize().to_pybytes()) if together else (reject.id,)
            ready.setdefault(group, []).append((reject, rows))
    if failed:
        with store.transaction():
            store.ledger.settle((), failed, now_us)
    return tuple(
        Replay(
            tuple(one.id for one, _ in found), found[0][0].stage, found[0][0].stream, as_text(rows for _, rows in found)
        )
        for found in ready.values()
    )


def superseded(ledger: Ledger, intakes: Iterable[Intake], healed: Mapping[str, Sequence[str]]) -> list[int]:
    """Open decode rejects that are moot: in what this epoch took in, their key has changed since, and the change says
    it all (or its own reject does), or their stream was emptied, or their row is whole again, or went, which is how its
    end was rejected."""
    open_keys = ledger.open_keys()
    moot = [
        reject for stream, keys in open_keys.items() for key in healed.get(stream, ()) for reject in keys.get(key, ())
    ]
    for intake in intakes if open_keys else ():
        for stream, keys in open_keys.items():
            moot += _superseded(ledger, intake, stream, keys)
    return moot


def _superseded(ledger: Ledger, intake: Intake, stream: str, keys: Mapping[str, Sequence[int]]) -> list[int]:
    """Of one stream's open rejects, by key."""
    moot: list[int] = []
    for batch in intake.batches.get(stream, ()):
        for key, position in _keys(batch):
            moot += [reject for reject in keys.get(key, ()) if position > _position(ledger.entry(reject))]
        emptied = _emptied(batch)
        moot += [reject for of in keys.values() for reject in of if emptied > _position(ledger.entry(reject))]
    for key, position in _ends(intake, stream):
        moot += [reject for reject in keys.get(key, ()) if position >= _position(ledger.entry(reject))]
    return moot


def _emptied(batch: ChangeBatch) -> tuple[int, int]:
    """Position of the last TRUNCATE; before all others if there is none."""
    last = batch.rows.filter(pc.equal(batch.rows.column("_op"), int(Op.TRUNCATE)))[-1:]
    return (last["_commit"][0].as_py(), last["_ordinal"][0].as_py()) if last.num_rows else (-1, -1)


def _ends(intake: Intake, stream: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Key and position of the rejects of rows that go."""
    for batch in intake.rejects:
        gone = pc.and_(pc.less(batch.column("weight"), 0), pc.equal(batch.column("stream"), stream))
        for row in batch.filter(pc.and_(gone, pc.equal(batch.column("stage"), "decode"))).to_pylist():
            yield row["key"], _place(row["position"])


def _prepare(reject: Reject, sources: Mapping[str, Source], models: Mapping[str, Model]) -> tuple[pa.RecordBatch, bool]:
    """The rows that a reject stands for, and whether they may be taken in together with those of others."""
    if reject.stage == STAGE:
        told = reject.message.partition("; nothing has")[0]
        raise UserError(
            f"{told}; nothing has changed: mend the row where it comes from, or the check {reject.reason!r}"
        )
    if reject.stage != "decode":
        _require_reader(reject, models)
        return pa.ipc.open_stream(reject.record).read_next_batch(), False
    if reject.stream not in sources:
        raise UserError(f"stream {reject.stream!r} is not captured any more")
    batch = sources[reject.stream].decode(reject.record)
    return batch.rows, batch.stream.changelog == "append"


def _require_reader(reject: Reject, models: Mapping[str, Model]) -> None:
    name, _, entry = reject.stream.partition("/")
    if name not in models:
        raise UserError(f"the model {name!r} is there no more: discard the reject, or put the model back")
    if entry not in models[name].inputs:
        raise UserError(f"the row was computed inside {name!r} and cannot be fed to it: change the model's SQL")


def _keys(batch: ChangeBatch) -> Iterator[tuple[str, tuple[int, int]]]:
    """Key as in `REJECT_SCHEMA` and position of each change with no column left out; only called while there are open
    rejects."""
    partly = np.zeros(len(batch), np.bool_)
    for mask in marks(batch)[0].values():
        partly |= mask
    rows = batch.rows.filter(pa.array(~partly))
    columns = [key_text(rows.column(name)) for name in batch.stream.key]
    places = zip(*(rows.column(name).to_pylist() for name in ("_commit", "_ordinal")), strict=True)
    for values, position in zip(zip(*columns, strict=True), places, strict=False):
        yield json.dumps(list(values)), position


def _position(reject: Reject) -> tuple[int, int]:
    return _place(reject.position)


def _place(position: str) -> tuple[int, int]:
    commit, _, ordinal = position.partition(":")
    return int(commit), int(ordinal or 0)
