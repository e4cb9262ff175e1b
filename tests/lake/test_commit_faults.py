"""T-IC-02: answers that are lost, late or errors, before and after the server applied, on every request of a commit.

Between the table and a real S3 server and a real REST catalog stands a proxy. Whatever it does, there is exactly one
table snapshot per epoch, all files of the table are there, and no row is lost or doubled. `HEADWATER_FAULT_RUNS`
repeats each case (1 in the suite; `make faults SIZE=night` more).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lake_model import KEYED, changed, delta, live_paths, rows_of
from object_store import Place

from headwater.errors import CommitUnknown, StorageFailed
from headwater.lake.iceberg import catalog as catalogs
from headwater.lake.iceberg import handle as handles
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.table import IcebergTable
from headwater.testing.http_proxy import Fault, HttpProxy
from headwater.testing.lake_servers import LakeServers

pytestmark = pytest.mark.xdist_group("lake_servers")

RUNS = int(os.environ.get("HEADWATER_FAULT_RUNS", "1"))
SPEC = replace(KEYED, properties={"headwater.snapshots.keep": "1000"})
ATTEMPTS = 12

PATIENCE_S = 1.5
"""How long the writer waits for answers: longer than a busy machine takes to give one."""

CODES = (409, 500, 502, 503, 504) if RUNS > 1 else (409, 500, 503)
STATUSES = [f"{status}{when}" for status in CODES for when in ("", "_after")]
KINDS = ["reset", "reset_after", "end", "end_after", "silence", "silence_after", *STATUSES]
OUT_OF_ORDER = ["late", "later"]

COMMIT = ("rest", "POST", r"/namespaces/[^/]+/tables/[^/?]+$")
MANIFEST = ("rest", "PUT", r"/metadata/[^/]+\.avro")
DATA = ("rest", "PUT", r"/data/[^/]+\.parquet")
METADATA = ("sqlite", "PUT", r"/metadata/[^/]+\.metadata\.json")
TARGETS = {"catalog POST": COMMIT, "manifest PUT": MANIFEST, "metadata PUT": METADATA}
if RUNS > 1:
    TARGETS["data PUT"] = DATA


@pytest.fixture
def s3_proxy(lake_servers: LakeServers) -> Iterator[HttpProxy]:
    with HttpProxy(lake_servers.s3_port, silent_s=1) as proxy:  # PyArrow's least patience is longer
        yield proxy


@pytest.fixture
def rest_proxy(lake_servers: LakeServers) -> Iterator[HttpProxy]:
    with HttpProxy(lake_servers.rest_port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogs, "ANSWER_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(handles, "FIRST_WAIT_S", 0.005)


class Writer:
    """Commits epochs as the runtime does: after a failure it opens the table anew and asks which epoch it holds."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.state: Counter[tuple[object, ...]] = Counter()
        self.epoch = 0
        self._lake: IcebergLake | None = None
        self._table: IcebergTable | None = None

    def table(self) -> IcebergTable:
        if self._table is None:
            self._lake = self.place.open()
            self._table = self._lake.table(SPEC)
        return self._table

    def drop(self) -> None:
        """As if the process had died."""
        if self._lake is not None:
            self._lake.close()
        self._lake = self._table = None

    def commit(self) -> None:
        """One epoch: a new row, and every third time one that goes."""
        self.epoch += 1
        change = [((self.epoch, f"n{self.epoch}", None), 1)]
        if self.epoch % 3 == 0:
            change.append((next(iter(self.state)), -1))
        for attempt in range(ATTEMPTS):
            try:
                table = self.table()
                held = table.committed()
                if attempt == 0 or held is None or held.epoch < self.epoch:
                    table.commit(self.epoch, delta(change), {"offset": str(self.epoch)})
                self.state = changed(self.state, change)
                return
            except (StorageFailed, CommitUnknown):
                self.drop()
        raise AssertionError(f"epoch {self.epoch} was not committed in {ATTEMPTS} attempts")

    def check(self) -> None:
        """Exactly one table snapshot per epoch, every live file there, every row once; seen past the proxies."""
        lake = self.place.around()
        held = lake.catalog.load_table((self.place.namespace, SPEC.name))
        epochs = [int(snapshot.summary["headwater.epoch"]) for snapshot in held.metadata.snapshots]
        assert epochs == list(range(1, self.epoch + 1))
        data, deletes = live_paths(lake, SPEC.name)
        assert {held.metadata_location, *data, *deletes} <= self.place.objects()
        assert rows_of(held.scan().to_arrow()) == self.state
        lake.close()


def warm_up(place: Place) -> None:
    """The servers' first answers are slow ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogs, "ANSWER_TIMEOUT_S", 60)
        Writer(place).commit()


@pytest.mark.parametrize("target", TARGETS)
def test_one_snapshot_per_epoch_whatever_becomes_of_the_answers(
    lake_servers: LakeServers, s3_proxy: HttpProxy, rest_proxy: HttpProxy, target: str
) -> None:
    catalog, method, path = TARGETS[target]
    place = Place(lake_servers, catalog, s3_url=s3_proxy.url, rest_url=rest_proxy.url, timeout_s=PATIENCE_S)
    proxy = rest_proxy if method == "POST" else s3_proxy
    warm_up(Place(lake_servers, catalog))
    writer, chance = Writer(place), random.Random(7)
    writer.commit()
    for run in range(RUNS):
        for kind in [*KINDS, *(OUT_OF_ORDER if method == "POST" else ())]:
            fault = Fault(method, path, kind, times=1 if run == 0 else chance.choice([1, 1, 2, 3, 8]))
            proxy.inject(fault)
            writer.commit()
            assert fault.hits > 0, f"{kind} met no request"
            if chance.random() < 0.3:
                writer.drop()
            writer.commit()
            proxy.inject(None)
        writer.check()
    writer.drop()


@pytest.mark.parametrize("kind", OUT_OF_ORDER)
def test_a_commit_of_an_earlier_run_that_arrives_late(
    lake_servers: LakeServers, rest_proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = Place(lake_servers, "rest", rest_url=rest_proxy.url)
    warm_up(Place(lake_servers, "rest"))
    writer = Writer(place)
    writer.commit()
    with monkeypatch.context() as patch:
        patch.setattr(handles, "SENDINGS", 1)
        _, method, path = COMMIT
        rest_proxy.inject(Fault(method, path, kind))
        with pytest.raises(CommitUnknown):
            writer.table().commit(2, delta([((2, "n2", None), 1)]), {"offset": "2"})
    writer.drop()
    writer.commit()
    writer.check()
    rest_proxy.inject(None)
    writer.commit()
    writer.check()
    writer.drop()
