"""The loop from one outbox to its destination, under supervision."""

from __future__ import annotations

from collections.abc import Callable

from headwater.clock import Clock
from headwater.deliver.deliveries import Deliveries
from headwater.deliver.delivery import LOOK_S, Delivery, How, Picture
from headwater.deliver.destination import Sync
from headwater.deliver.outbox import Outbox
from headwater.formats.schema_source import SchemaSource
from headwater.project.definition import Project, SyncDefinition
from headwater.project.destinations import make_destination
from headwater.runtime.delivery_ledger import DeliveryLedger
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal
from headwater.runtime.outboxes import Outboxes, sync_folder

FAILURES_AT_END = 3
"""A run that is to end when all is done gives up on a destination that is down after so many tries."""
PICTURE_S = 0.2


class DeliveryJob(Job):
    """Delivers one sync.

    Args:
        project: whose.
        sync: which.
        outboxes: where its outbox will be.
        ended: says whether nothing more will be handed over, for `--once`.
        schemas: the project's own registry.

    Attributes:
        picture: what the status shows, replaced whole now and then.
    """

    def __init__(
        self, project: Project, sync: SyncDefinition, outboxes: Outboxes, ended: Callable[[], bool], journal: Journal,
        clock: Clock, schemas: SchemaSource | None = None,
    ) -> None:  # fmt: skip
        super().__init__(f"sync:{sync.name}", journal, clock)
        self.sync = sync
        self.picture = Picture()
        self._project, self._outboxes, self._ended = project, outboxes, ended
        self._trouble = ""
        self._schemas = schemas

    def body(self) -> None:
        """Delivers what the outbox has and gets, until it is told to stop; another outbox that takes its place too."""
        while not self.stopping.is_set():
            outbox = self._outboxes.get(self.sync.name)
            if outbox is None:
                if self._ended():
                    return
                self.clock.wait(self.stopping, LOOK_S)
                continue
            sync = sync_of(self._project, self.sync, outbox, self.clock, self._schemas)
            store = Deliveries(sync_folder(self._project.state, self.sync.name))
            version = next((one.fingerprint for one in self._project.models if one.name == self.sync.model), "")
            ledger = DeliveryLedger(
                self._project.state, self._project.name, self.sync.name, outbox.of.id, version, self.clock,
                int(self._project.rejects.max_bytes),
            )  # fmt: skip
            delivery = Delivery(sync, how_of(self.sync), make_destination(self.sync), outbox, store, ledger)
            try:
                if self._deliver(delivery):
                    return
            finally:
                self.picture = delivery.picture()
                delivery.close()
                ledger.close()
                store.close()

    def _deliver(self, delivery: Delivery) -> bool:
        """Whether the job is done; not if another outbox takes over."""
        looked = float("-inf")
        while not self.stopping.is_set():
            if self._outboxes.get(self.sync.name) is not delivery.outbox:
                return False
            ended = self._ended()
            wait = delivery.step()
            now = self.clock.monotonic_s()
            if now - looked >= PICTURE_S or wait:
                looked, self.picture = now, delivery.picture()
                self._tell(delivery)
            if ended and (delivery.caught_up or self.picture.paused or delivery.failures >= FAILURES_AT_END):
                return True
            if ended and delivery.held_up is not None:
                raise delivery.held_up
            if wait:
                self.clock.wait(self.stopping, wait)
        return True

    def _tell(self, delivery: Delivery) -> None:
        """Tells when the destination goes away and when it is back."""
        trouble = delivery.trouble
        if trouble is None:
            self.healthy()
        elif str(trouble) != self._trouble:
            self.state, self.error = "waiting", trouble
            trouble.message = self.journal.secrets.mask(trouble.message)
            self.journal.write("sync.waiting", "warning", job=self.name, error=str(trouble), hint=trouble.hint)
        self._trouble = "" if trouble is None else str(trouble)


def how_of(sync: SyncDefinition) -> How:
    """How a sync delivers."""
    settings = sync.settings
    return How(
        batch_records=settings.batch_records,
        records_per_second=settings.records_per_second,
        attempts=settings.attempts,
        first_wait_s=settings.first_wait.total_seconds(),
        longest_wait_s=settings.longest_wait.total_seconds(),
        send=settings.send,
        keep_s=settings.keep.max_age.total_seconds(),
        keep_bytes=int(settings.keep.max_bytes),
    )


def sync_of(
    project: Project, sync: SyncDefinition, outbox: Outbox, clock: Clock, schemas: SchemaSource | None = None
) -> Sync:
    """What the destination is told of a sync."""
    of = outbox.of
    return Sync(project.name, sync.name, of.id, sync.model, outbox.columns, of.key, project.folder, clock, schemas)
