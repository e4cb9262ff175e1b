"""The workers of a view and the threads on which they work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import fields

import pyarrow as pa

from headwater.engine.accounting import Counts
from headwater.engine.state.memory import Memory
from headwater.engine.worker import Worker

Task = Callable[[Worker], None]


class Crew:
    """One or more workers. Their DuckDB connections, Arrow and the kernels release the GIL, so that they work at once.

    Args:
        workers: numbered from 0.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        others = len(self.workers) - 1
        self._pool = ThreadPoolExecutor(others, "headwater-worker") if others else None

    def __len__(self) -> int:
        return len(self.workers)

    def run(self, task: Task, *, together: bool) -> None:
        """Has every worker do a task: at once, or one after the other on this thread, which costs less where there is
        little to do. All have ended when this returns or raises.

        Raises:
            Exception: what a worker raised; of several, that of the one with the lowest number.
        """
        if self._pool is None or not together:
            for worker in self.workers:
                task(worker)
            return
        others: list[Future[None]] = [self._pool.submit(task, worker) for worker in self.workers[1:]]
        try:
            task(self.workers[0])
        finally:
            wait(others)
        for other in others:
            other.result()

    @property
    def memory(self) -> Memory:
        """Where all of them keep what they keep."""
        return self.workers[0].memory

    @property
    def counts(self) -> Counts:
        """What became of the input rows, of all workers together."""
        own = [worker.ledger.counts for worker in self.workers]
        return Counts(**{field.name: sum(getattr(counts, field.name) for counts in own) for field in fields(Counts)})

    def take_rejects(self) -> pa.RecordBatch | None:
        """The rejects since the last call, `REJECT_SCHEMA`, in the workers' order; None if there are none."""
        found = [batch for worker in self.workers if (batch := worker.ledger.take()) is not None]
        return pa.concat_batches(found) if found else None

    def pending_rejects(self) -> pa.RecordBatch:
        """The rejects that nobody has taken yet."""
        return pa.concat_batches([worker.ledger.pending() for worker in self.workers])

    def close(self) -> None:
        """Gives the threads and the DuckDB connections up."""
        if self._pool is not None:
            self._pool.shutdown()
        for worker in self.workers:
            worker.session.close()
