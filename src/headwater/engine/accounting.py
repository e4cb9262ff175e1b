"""What became of a view's input rows: the identity `read = landed + rejected + filtered + late`, and the rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.change import REJECT_SCHEMA
from headwater.engine.delta import ORIGIN, absolute, has_origin, weights
from headwater.index.kernels import Longs


@dataclass
class Counts:
    """Rows of input by what became of them, each row counted by the absolute value of its weight.

    Each is counted where it happens, so that the identity can be checked: read by `apply`; filtered by filters on the
    way of an input's rows; late by the window operator; rejected where an expression fails; landed at the first
    operator that keeps, merges or shares rows, or at the result.

    Attributes:
        missed_windows: windows of a hop that were closed for rows that still landed in others.
    """

    read: int = 0
    landed: int = 0
    rejected: int = 0
    filtered: int = 0
    late: int = 0
    missed_windows: int = 0

    @property
    def holds(self) -> bool:
        """Whether the identity holds."""
        return self.read == self.landed + self.rejected + self.filtered + self.late


class Ledger:
    """Counts of one view, and its rejects until somebody takes them."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.counts = Counts()
        self.rejects: list[dict[str, str | int | bytes]] = []
        self._inputs: dict[str, pa.Table] = {}

    def read(self, stream: str, delta: pa.Table) -> pa.Table:
        """Notes an input's delta, and counts it."""
        self._inputs[stream] = delta
        self.counts.read += absolute(delta)
        return delta

    def ignore(self, delta: pa.Table) -> None:
        """Counts the rows of an input that the SQL does not read."""
        self.counts.read += absolute(delta)
        self.counts.filtered += absolute(delta)

    def land(self, stream: str, delta: pa.Table | None) -> None:
        """Counts the rows that have come to the end of the direct path of `stream`."""
        self.counts.landed += self.weigh(stream, delta)

    def weigh(self, stream: str, delta: pa.Table | None) -> int:
        """How many input rows a delta on the direct path of `stream` still stands for."""
        if delta is None or not delta.num_rows:
            return 0
        if not has_origin(delta):
            return absolute(delta)
        origins = delta.column(ORIGIN).to_numpy()
        if (origins[1:] > origins[:-1]).all():
            # Each of another row, whose weight it has.
            return absolute(delta)
        given = self._inputs[stream]
        alive = np.zeros(given.num_rows, np.bool_)
        alive[origins] = True
        return int(np.abs(weights(given))[alive].sum())

    def originals(self, stream: str, origins: Longs) -> pa.Table:
        """The input rows of these numbers, as they came."""
        return self._inputs[stream].take(pa.array(origins))

    def reject(self, source: str, rows: pa.Table, stage: str, reasons: Sequence[str], messages: Sequence[str]) -> None:
        """Keeps rows whole, each with its reason and message; `source` is the input's name, or the node's for derived
        rows."""
        given = zip(reasons, messages, weights(rows).tolist(), strict=True)
        for i, (reason, message, weight) in enumerate(given):
            self.rejects.append({
                "stream": f"{self.view}/{source}", "stage": stage, "reason": reason, "message": message,
                "position": "", "key": "", "record": _record(rows.slice(i, 1)), "weight": weight,
            })  # fmt: skip

    def expire(self, stream: str, rows: pa.Table, messages: Sequence[str] | None) -> None:
        """Counts rows that have landed as late instead, and rejects them if there are messages."""
        self.counts.landed -= absolute(rows)
        self.counts.late += absolute(rows)
        if messages is not None:
            self.reject(stream, rows, "late", ["late"] * rows.num_rows, messages)

    def take(self) -> pa.RecordBatch | None:
        """The rejects since the last call, `REJECT_SCHEMA`; None if there are none."""
        taken, self.rejects = self.rejects, []
        return pa.RecordBatch.from_pylist(taken, schema=REJECT_SCHEMA) if taken else None

    def pending(self) -> pa.RecordBatch:
        """The rejects that nobody has taken yet."""
        return pa.RecordBatch.from_pylist(self.rejects, schema=REJECT_SCHEMA)


def _record(row: pa.Table) -> bytes:
    """One row as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_table(row)
    content: bytes = sink.getvalue().to_pybytes()
    return content
