"""How much memory large state takes, and that state past its budget goes to files with the same answer.

    python bench/memory.py sum  [--rows 20000000]                    # a grouped sum over as many distinct int64 keys
    python bench/memory.py join [--rows 20000000] [--budget-mb 3000] [--folder /var/tmp]
                                                                     # two keyed stores of as many rows, each probed by
                                                                     # the rows of the other as they come

Each prints one line of JSON: seconds, the most anonymous memory the process had (RssAnon, sampled), what was mapped
from files, bytes of state per row, and a checksum of the answer beside the one that is known to be right.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_store import RowStore
from headwater.index.key_index import KeyIndex

BATCH = 100_000
MIB = 1 << 20
SUM = "sum"


class Sampler:
    """Watches, until it is left, the most anonymous memory of the process and the most mapped from files, in bytes."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.most_bytes = self.mapped_bytes = 0

    def __enter__(self) -> Sampler:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.mapped_bytes = max(self.mapped_bytes, self._memory.mapped_bytes)
            status = Path("/proc/self/status").read_text(encoding="ascii")
            now = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) * 1024
            self.most_bytes = max(self.most_bytes, now)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """A permutation of the int64s (the finaliser of splitmix64), so that keys come in no order."""
    x = numbers.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return (x ^ (x >> np.uint64(31))).view(np.int64)


def starts(rows: int) -> Iterator[tuple[int, int]]:
    """The batches' first rows and sizes."""
    return ((start, min(BATCH, rows - start)) for start in range(0, rows, BATCH))


def grouped_sum(rows: int, memory: Memory) -> dict[str, object]:
    """Sums a value per key; every key comes twice."""
    index = KeyIndex(pa.schema([("k", pa.int64())]), memory=memory)
    sums, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for _ in range(2):
        for start, size in starts(rows):
            numbers = np.arange(start, start + size)
            slots, _ = index.find_or_insert(pa.table({"k": mixed(numbers)}))
            sums, counts = memory.grown(sums, index.capacity), memory.grown(counts, index.capacity)
            sums[slots] += numbers
            counts[slots] += 1
    answer = int(sums.sum()), len(index), int(counts[: index.capacity].min())
    wanted = rows * (rows - 1), rows, 2
    state = index.nbytes + sums.nbytes + counts.nbytes
    return {"answer": answer, "right": answer == wanted, "state_bytes_per_row": state / rows}


def join(rows: int, memory: Memory) -> dict[str, object]:
    """Two inputs of one row per key, in different orders; each batch of one meets what the other has by then."""
    columns = pa.schema([("k", pa.int64()), ("v", pa.int64())])
    left, right = (RowStore(columns, ("k",), memory=memory) for _ in range(2))
    pairs, total = 0, 0
    for start, size in starts(rows):
        ahead, back = np.arange(start, start + size), rows - 1 - np.arange(start, start + size)
        for own, other, numbers in ((left, right, ahead), (right, left, back)):
            delta = pa.table({"k": mixed(numbers), "v": numbers, WEIGHT: np.ones(size, np.int64)})
            positions, slots = other.pairs(delta)
            values = other.take(slots, ["v"]).column("v").to_numpy()
            pairs += len(slots)
            total += int((numbers[positions] * 3 + values).sum())
            own.apply(delta)
    answer, wanted = (pairs, total), (rows, 4 * (rows * (rows - 1) // 2))
    state = left.nbytes + right.nbytes
    return {"answer": answer, "right": answer == wanted, "state_bytes_per_row": state / rows / 2}


def main() -> None:
    """Runs one of the two and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sum", "join"])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--budget-mb", type=int, help="of state in RAM; no limit if not given")
    parser.add_argument("--folder", type=Path, help="where what is past the budget goes")
    given = parser.parse_args()
    memory = Memory(None if given.budget_mb is None else given.budget_mb * MIB, given.folder)
    started = time.perf_counter()
    with Sampler(memory) as sampler, np.errstate(over="ignore"):
        result = (grouped_sum if given.what == SUM else join)(given.rows, memory)
    figures = {
        "what": given.what,
        "rows": given.rows,
        "seconds": round(time.perf_counter() - started, 1),
        "anonymous_mb_most": round(sampler.most_bytes / MIB),
        "mapped_mb_most": round(sampler.mapped_bytes / MIB),
        "budget_mb": given.budget_mb,
    }
    sys.stdout.write(json.dumps(figures | result) + "\n")


if __name__ == "__main__":
    main()
