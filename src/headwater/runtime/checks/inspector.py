"""Judges the checks at the end of an epoch: keeps the results, tells the ledger, and stops what must not be."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater import failpoint
from headwater.errors import CheckFailed
from headwater.quality.checks import Result
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.journal import Journal, Level
from headwater.runtime.state_store import StateStore


class Inspector:
    """The checks of an open project at the ends of its epochs. Used by the epoch thread.

    Args:
        store: keeps the results.
        flow: has the checks.

    Attributes:
        results: how the checks stand; replaced whole.
        journal: told when a check begins to fail, and when it is well again.
    """

    def __init__(self, store: StateStore, flow: Dataflow) -> None:
        self._store, self._flow = store, flow
        self.results: Sequence[Result] = ()
        self.journal: Journal | None = None
        self._told: dict[str, str] = {}
        self._begun = False

    def renew(self) -> None:
        """Takes note that the checks may be others than before."""
        self._begun = False

    def inspect(self, epoch: int, now_us: int, *, enforced: bool, free: bool) -> None:
        """Judges an epoch that is about to be committed.

        Args:
            epoch: its number.
            now_us: the time.
            enforced: it may still be stopped: no table holds it.
            free: it has had no effect at all, so that its plan may be struck: a later one takes in what it would have,
                and what has come since.

        Raises:
            CheckFailed: a check of severity `stop` fails; the results are kept.
        """
        if not self._flow.checks.checks:
            return
        self.results = self._judged(epoch, now_us)
        stopping = [one for one in self.results if one.check.severity == "stop" and one.state == "fail"]
        if not stopping or not enforced:
            return
        failpoint.reach("check.stop.before")
        with self._store.transaction():
            self._store.checks.save(self.results)
            if free:
                self._store.withdraw(epoch)
        failpoint.reach("check.stop.after")
        self._tell()
        raise _error(stopping, epoch)

    def settle(self, epoch: int, now_us: int) -> list[pa.RecordBatch]:
        """Enters results at the end of an epoch, inside the transaction that says it is done, and holds the ledger
        against rows that were computed anew; returns the entries that are to be made."""
        checks = self._flow.checks
        if not self._begun:
            self._store.checks.keep_only({check.id for check in checks.checks})
            self._store.withheld.let_go({name for name, node in checks.nodes.items() if node.gated})
            self._begun = True
        appeared = checks.appeared()
        for check in checks.checks:
            if check.kind == "volume":
                period = now_us // check.every_us
                self._store.checks.add_volume(check.id, period, appeared[check.id], check.history + 2)
        self._store.checks.save(self.results)
        entered: list[pa.RecordBatch] = []
        for told in checks.settle(self._flow):
            if told.anew:
                entered += self._store.withheld.reconcile(told.node, told.entries, told.passing)
            else:
                entered += told.entries
        return entered

    def release(self) -> None:
        """Inside the same transaction, after the entries were made: closes those of rows that have gone since."""
        for node, gone in self._flow.checks.gone.items():
            self._store.withheld.release(node, gone)
        self._flow.checks.gone = {}

    def look(self, epoch: int, now_us: int) -> Sequence[Result]:
        """How the checks stand now: what goes by the time may have changed without an epoch. Only what changes its
        state is entered."""
        if not self._flow.checks.checks:
            return ()
        before = {one.check.id: one.state for one in self.results}
        self.results = self._judged(epoch, now_us)
        changed = [one for one in self.results if before.get(one.check.id) != one.state]
        if changed and epoch:
            with self._store.transaction():
                self._store.checks.save(changed)
        self._tell()
        return self.results

    def _judged(self, epoch: int, now_us: int) -> list[Result]:
        return self._flow.checks.judged(self._flow, epoch, now_us, self._store.checks.volumes)

    def _tell(self) -> None:
        for one in self.results:
            before, self._told[one.check.id] = self._told.get(one.check.id, "ok"), one.state
            bad = one.state in ("warn", "fail")
            if self.journal is None or bad == (before in ("warn", "fail")):
                continue
            name, severity = "check.failing" if bad else "check.ok", one.check.severity
            level: Level = "warning" if bad else "info"
            self.journal.write(name, level, check=one.check.id, severity=severity, what=one.message)


def _error(stopping: Sequence[Result], epoch: int) -> CheckFailed:
    """Names the checks, the rows and the mend."""
    told = "; ".join(
        f"{one.check.id}: {one.message}" + (f" (e.g. {one.example})" if one.example else "") for one in stopping
    )
    first = stopping[0].check
    return CheckFailed(
        f"epoch {epoch} was not committed: {told}",
        hint=f"mend the rows where they come from: what has come since is taken in with them; or edit {first.place}"
        " (severity: reject sets such rows aside, warn only tells) and run again. `headwater checks` shows all",
    )
