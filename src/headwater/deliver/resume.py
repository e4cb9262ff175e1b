"""After a crash: what the receipt of a call says whose outcomes we never noted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from headwater.deliver.deliveries import Waiting
from headwater.deliver.destination import Batch, Op, Receipt
from headwater.deliver.ledger import Parked
from headwater.deliver.line import Line
from headwater.deliver.outbox import Handed
from headwater.deliver.record import key_texts, record_bytes
from headwater.deliver.selection import Selection, Selector


@dataclass
class Found:
    """What is to be noted of the call."""

    selection: Selection
    delivered: list[int]
    put: list[Waiting] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)


def take_receipt(receipt: Receipt, cursor: int, selector: Selector, line: Line, *, newest: bool, now_us: int) -> Found:
    """Makes of a receipt what noting the call would have written.

    Records of the stretch that the receipt does not name were left for later (queued, or to be retried) or superseded:
    with `newest` if a later one of their key is in the stretch, else they wait and are tried again.
    """
    delivered = [int(seq) for seq in receipt.delivered]
    named = {*delivered, *receipt.refused}
    end = max([cursor, *(seq + 1 for seq in named)])
    none = np.zeros(0, np.int64)
    nothing = Batch(receipt.call, pa.table({}), none.astype(np.uint8), none, none)
    found = Found(Selection(nothing, [], end, late=False), delivered)
    later: set[str] = set()
    for piece in reversed(selector.stretch(cursor, end)):
        _look(piece, receipt, named, selector, found, later, newest, now_us)
    late = [seq for seq in receipt.refused if seq < cursor]
    for kept in selector.store.records(late):
        entry = replace(kept, state="parked", reason=receipt.refused[kept.seq], attempts=kept.attempts + 1)
        found.put.append(entry)
        found.parked.append(_parked(entry))
    if newest:
        found.selection.overtaken = [seq for key in later for seq in line.of_key(key) if seq not in named]
    return found


def _look(
    piece: Handed, receipt: Receipt, named: set[int], selector: Selector, found: Found, later: set[str],
    newest: bool, now_us: int,
) -> None:  # fmt: skip
    """Adds what became of the records of a piece, the last of them first."""
    batch = Batch(receipt.call, piece.rows, piece.op, piece.seq, piece.epoch, piece.before if selector.before else None)
    keys = key_texts(piece.rows, selector.key)
    for at in range(len(piece) - 1, -1, -1):
        seq, key = int(piece.seq[at]), keys[at]
        if seq not in named and newest and key in later:
            found.selection.superseded += 1
        elif seq not in named or seq in receipt.refused:
            refused = seq in receipt.refused
            entry = Waiting(
                seq, key, int(piece.op[at]), int(piece.epoch[at]), "parked" if refused else "queued",
                receipt.refused.get(seq, ""), int(refused), 0, now_us, now_us, record_bytes(batch, at),
            )  # fmt: skip
            found.put.append(entry)
            if refused:
                found.parked.append(_parked(entry))
        later.add(key)


def _parked(entry: Waiting) -> Parked:
    weight = -1 if entry.op == Op.DELETE else 1
    return Parked(entry.seq, entry.epoch, entry.key, "refused", entry.reason, weight, entry.record)
