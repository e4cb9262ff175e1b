"""A running project over a scripted source: no server, every fault at will."""

import io
import json
import threading
from contextlib import contextmanager

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from headwater.change import Op
from headwater.clock import SystemClock
from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.state_store import StateStore
from headwater.runtime.supervisor import Supervisor
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import ScriptedSource, scripted_group

DEADLINE_S = 240.0
"""So long is waited for a condition: a machine may be twenty times as slow as one that has nothing else to do."""

ORDERS = StreamSchema(
    "orders",
    pa.schema([pa.field("id", pa.int64(), nullable=False), ("status", pa.string()), ("amount", pa.string())]),
    ("id",),
    "upsert",
)
EVENTS = StreamSchema("events", pa.schema([("happened", pa.timestamp("us", tz="UTC")), ("n", pa.int64())]))

PROJECT = """
name: shop
sources:
  shop:
    type: postgres
    url: postgresql://nowhere/shop
    streams:
      events:
        watermark: {column: happened, delay: 1 seconds}
run: {epoch_interval: 20 ms, checkpoint_interval: 200 ms, log_segment: 4 KiB}
"""


def order(number, status="new", amount="10"):
    """A row of `orders`."""
    return {"id": number, "status": status, "amount": amount}


def inserts(commit, *numbers, **row):
    """One transaction that inserts orders."""
    return scripted_group(commit, [(ORDERS, Op.INSERT, order(number, **row)) for number in numbers], time_us=commit)


class Shop:
    """A project folder with a scripted source; run it as often as you like."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "models").mkdir(parents=True, exist_ok=True)
        (folder / "headwater.yml").write_text(PROJECT)
        self.source = ScriptedSource("shop", [ORDERS, EVENTS])
        self.log = io.StringIO()
        self.clock = SystemClock()

    def model(self, name, text):
        """Writes a model."""
        (self.folder / "models" / f"{name}.sql").write_text(text)

    @property
    def project(self):
        """The project as written."""
        return load(self.folder, environment={})

    @property
    def state(self):
        """The state folder."""
        return self.folder / ".headwater"

    def supervisor(self, *, once=False):
        """A supervisor over the scripted source."""
        journal = Journal(self.log, as_json=True)
        return Supervisor(
            self.project,
            journal,
            self.clock,
            once=once,
            sources={self.source.name: self.source},
            reload=lambda: self.project,
        )

    def run_once(self):
        """Runs until the script is in the tables; raises what stopped it."""
        error = self.supervisor(once=True).run()
        if error is not None:
            raise error

    @contextmanager
    def running(self):
        """Runs in a thread; yields the supervisor, stops it at the end."""
        supervisor = self.supervisor()
        ended = []
        thread = threading.Thread(target=lambda: ended.append(supervisor.run()))
        thread.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        supervisor.error = ended[0]

    def status(self):
        """The status as written."""
        return json.loads((self.state / "status.json").read_text())

    def account(self, name):
        """The account of a stream or model."""
        status = self.status()
        entries = [stream for source in status["sources"] for stream in source["streams"]] + status["models"]
        return next(entry for entry in entries if entry["name"] == name)

    def rows(self, table):
        """A table's rows, read by PyIceberg alone, sorted."""
        catalog = SqlCatalog("headwater", uri=f"sqlite:///{self.folder}/lake/catalog.db", init_catalog_tables="false")
        found = catalog.load_table(("shop", table)).scan().to_arrow().to_pylist()
        return sorted(found, key=lambda row: json.dumps(row, default=str))

    def epochs(self, table):
        """Epochs that were committed to a table, oldest first; maintenance, which carries them on, left out."""
        catalog = SqlCatalog("headwater", uri=f"sqlite:///{self.folder}/lake/catalog.db", init_catalog_tables="false")
        found = [one.summary.additional_properties for one in catalog.load_table(("shop", table)).snapshots()]
        return [int(summary["headwater.epoch"]) for summary in found if "headwater.maintenance" not in summary]

    def events(self, name):
        """Journal entries of one kind."""
        entries = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [entry for entry in entries if entry["event"] == name]


def wait_until(condition, what="the condition"):
    """Waits for `condition`, at most `DEADLINE_S`; a condition that cannot be looked at yet is not met."""
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic_s() + DEADLINE_S
    while clock.monotonic_s() < end:
        try:
            if condition():
                return
        except (OSError, KeyError, StopIteration, ValueError):
            pass
        clock.wait(never, 0.02)
    raise AssertionError(f"{DEADLINE_S:.0f} s have gone and {what} is not met")


def landed(shop, table, count):
    """Waits until a table has so many rows."""
    wait_until(lambda: {one["name"]: one["rows"] for one in shop.status()["tables"]}[table] == count)


def lose_newest_checkpoint(shop):
    """As if the last run had been killed before its checkpoint: its epochs are run again."""
    store = StateStore(shop.state)
    newest, before = store.checkpoints()[:2]
    with store.transaction():
        store._connection.execute("DELETE FROM checkpoints WHERE epoch = ?", (newest.epoch,))
    store.close()
    assert newest.epoch > before.epoch


def ids(shop, table="orders"):
    """The ids of a table's rows."""
    return sorted(row["id"] for row in shop.rows(table))


def run_with(shop, *groups):
    """Lengthens the script and runs it to its end."""
    shop.source.add(*groups)
    shop.run_once()
