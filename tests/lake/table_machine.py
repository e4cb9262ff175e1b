"""One table driven at random beside a model in memory: changes, other columns, large epochs, other writers, stops,
crashes at any failpoint, the past, tags, rollbacks. PyIceberg's own scan is the judge."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lake_model import NAMESPACE, open_lake
from pyiceberg.table.snapshots import Snapshot

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.errors import StorageFailed
from headwater.lake.iceberg.past import lineage, resolve
from headwater.lake.iceberg.refs import release, rollback, set_ref
from headwater.lake.maintenance import Policy
from headwater.lake.moment import Moment
from headwater.lake.table_format import TableSpec
from headwater.schema import with_column_id

KINDS = {
    "int": (pa.int32(), [0, 1, -7]),
    "long": (pa.int64(), [0, 1, 2**40]),
    "float": (pa.float32(), [0.5, -1.0]),
    "double": (pa.float64(), [0.5, 1e300]),
    "text": (pa.string(), ["", "a", "ab"]),
    "struct": (pa.struct([("x", pa.int32())]), [{"x": 1}, {"x": None}]),
    "wider struct": (pa.struct([("x", pa.int64()), ("y", pa.string())]), [{"x": 2**40, "y": "s"}, {"x": 1, "y": None}]),
    "list": (pa.list_(pa.int32()), [[], [1, None]]),
}
WIDER = {"int": "long", "float": "double", "struct": "wider struct"}
NAMES = ["a", "b", "c", "d"]
INSTANTS = [
    "lake.commit.before_data_file",
    "lake.commit.after_data_file",
    "lake.commit.before_catalog",
    "lake.commit.after_catalog",
]
Cells = dict[int, object]


class Crash(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Column:
    """A column of the model: `uid` is what it is, whatever it is called."""

    uid: int
    name: str
    kind: str

    @property
    def field(self) -> pa.Field:
        """As a stream has it."""
        return with_column_id(pa.field(self.name, KINDS[self.kind][0]), str(self.uid))


KEY = Column(0, "id", "long")


def fits(value: object, before: str, after: str) -> object:
    """A value of one kind in a wider one."""
    if (before, after) == ("struct", "wider struct") and isinstance(value, dict):
        return {"x": value["x"], "y": None}
    return value


def hashable(value: object) -> object:
    return repr(value) if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a commit, at which passing of which instant."""

    what: str
    instant: str
    passing: int


FAULTS = st.one_of(
    st.none(),
    st.none(),
    st.builds(Fault, st.sampled_from(["crash", "crash", "eio"]), st.sampled_from(INSTANTS), st.integers(1, 2)),
)
WRITES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=6)


@dataclass(frozen=True)
class Aside:
    """A table that was rolled back: the pipeline goes on without it.

    Attributes:
        columns, rows: what readers see.
        epoch: what the snapshot that they see holds.
        last: the epoch that was committed last, before it was rolled back.
    """

    columns: list[Column]
    rows: list[Cells]
    epoch: int
    last: int


class TableMachine(RuleBasedStateMachine):
    """See the module. Subclasses say whether the table has a key."""

    keyed = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="headwater-machine-"))
        self.epoch = 0
        self.uids = 1
        self.columns = [KEY, Column(1, "a", "int")]
        self.rows: list[Cells] = []
        self.past: dict[int, tuple[list[Column], list[Cells]]] = {}
        self.named: dict[str, tuple[list[Column], list[Cells]]] = {}
        self.disturbed: set[int] = set()
        self.aside: Aside | None = None
        self.foreign = 1000

    @initialize()
    def open(self) -> None:
        """The first process."""
        self._open()

    def _open(self) -> None:
        self.lake = open_lake(self.folder / "lake")
        spec = TableSpec("t", self._schema(self.columns), ("id",) if self.keyed else ())
        self.table = self.lake.table(spec, as_held=True)

    def teardown(self) -> None:
        """Removes everything."""
        if hasattr(self, "lake"):
            self.lake.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _schema(columns: list[Column]) -> pa.Schema:
        return pa.schema([column.field for column in columns])

    # -- what is done to it

    @rule(writes=WRITES, fault=FAULTS)
    def change(self, writes: list[tuple[int, int]], fault: Fault | None) -> None:
        """An epoch."""
        self._epoch([self._delta(self.rows, writes)], self.columns, fault)

    @rule(parts=st.lists(WRITES, min_size=2, max_size=3), replaced=st.booleans(), fault=FAULTS)
    def large_epoch(self, parts: list[list[tuple[int, int]]], replaced: bool, fault: Fault | None) -> None:
        """An epoch that is written in parts."""
        rows, deltas = [] if replaced else self.rows, []
        for writes in parts:
            deltas.append(self._delta(rows, writes))
            rows = self._after(rows, deltas[-1])
        self._epoch(deltas, self.columns, fault, replaced=replaced)

    @rule(writes=WRITES, fault=FAULTS)
    def replace(self, writes: list[tuple[int, int]], fault: Fault | None) -> None:
        """All rows are others."""
        self._epoch([self._delta([], writes)], self.columns, fault, replaced=True)

    @rule(
        what=st.sampled_from(["add", "drop", "rename", "widen", "places", "retype"]),
        number=st.integers(0, 9),
        remove=st.booleans(),
        writes=WRITES,
        fault=FAULTS,
    )
    def other_columns(
        self, what: str, number: int, remove: bool, writes: list[tuple[int, int]], fault: Fault | None
    ) -> None:
        """An epoch that comes with other columns."""
        columns = self._other(what, number)
        if columns is None:
            return
        anew = what == "retype"
        rows = [] if anew else self._carried(self.rows, columns)
        former, self.columns = self.columns, columns
        try:
            delta = self._delta(rows, writes)
        finally:
            self.columns = former
        self._epoch([delta], columns, fault, replaced=anew, remove=remove or not self.keyed)

    @precondition(lambda self: self.aside is None)
    @rule(writes=WRITES)
    def staged_and_forgotten(self, writes: list[tuple[int, int]]) -> None:
        """A part of an epoch that is begun again."""
        self._show(self.columns, anew=False, remove=False)
        self.table.stage(self.epoch + 1, self._weighted(self._delta(self.rows, writes), self.columns))
        self.table.forget_staged()

    @rule()
    def stop(self) -> None:
        """The process ends and another one begins."""
        self.lake.close()
        self._open()

    @precondition(lambda self: self.epoch)
    @rule(times=st.integers(1, 2))
    def another_writer(self, times: int) -> None:
        """Another engine appends rows."""
        columns = self.aside.columns if self.aside is not None else self.columns
        held = self.lake.catalog.load_table((NAMESPACE, "t"))
        if held.schema().fields[0].name is None or any(c.name not in held.schema().column_names for c in columns):
            return
        for _ in range(times):
            self.foreign += 1
            cells: Cells = {column.uid: KINDS[column.kind][1][0] for column in columns} | {0: self.foreign}
            schema = pa.schema([pa.field(c.name, KINDS[c.kind][0]) for c in columns])
            self.lake.catalog.load_table((NAMESPACE, "t")).append(
                pa.Table.from_pylist([{c.name: cells[c.uid] for c in columns}], schema=schema)
            )
            if self.aside is not None:
                self.aside = replace(self.aside, rows=[*self.aside.rows, cells])
            else:
                self.rows = [*self.rows, cells]
        self.disturbed.add(self.aside.epoch if self.aside is not None else max(self.past))

    @precondition(lambda self: self.epoch)
    @rule(keep=st.sampled_from([3, 100]))
    def maintain(self, keep: int) -> None:
        """Files are merged, deletes applied, old table snapshots go."""
        policy = Policy(fanout=2, most_deleted=0.2, keep_snapshots=keep)
        for task in self.table.maintenance().plan(policy):
            self.table.maintenance().carry_out(task, policy)

    @precondition(lambda self: self.past)
    @rule(number=st.integers(0, 99))
    def look_back(self, number: int) -> None:
        """An epoch's rows, with the columns of then."""
        epoch = sorted(self.past)[number % len(self.past)]
        line = set(lineage(self.lake.catalog.load_table((NAMESPACE, "t")).metadata))
        own, kept = self._kept(), {one.epoch for one in self.lake.open_table("t").snapshots() if one.snapshot in line}
        if epoch in own or (epoch in kept and epoch not in self.disturbed):
            self._require(Moment(epoch=epoch), *self.past[epoch])

    @precondition(lambda self: self.past)
    @rule(number=st.integers(0, 99), name=st.sampled_from(["one", "two"]))
    def tag(self, number: int, name: str) -> None:
        """A moment is named, and kept from then on."""
        found = self._snapshot(number)
        if found is not None:
            epoch, snapshot = found
            set_ref(self.table.handle, "tag", name, snapshot)
            self.named[name] = self.past[epoch]

    @precondition(lambda self: self.named)
    @rule(number=st.integers(0, 9))
    def look_at_a_tag(self, number: int) -> None:
        """It is what it was, whatever has been expired or rolled back since."""
        name = sorted(self.named)[number % len(self.named)]
        self._require(Moment(ref=name), *self.named[name])

    @precondition(lambda self: self.past)
    @rule(number=st.integers(0, 99))
    def roll_back(self, number: int) -> None:
        """The project is stopped, and readers see the table as of an epoch; the pipeline goes on without it."""
        found = self._snapshot(number)
        if found is None:
            return
        epoch, snapshot = found
        self.lake.close()
        lake = open_lake(self.folder / "lake")
        rollback(lake.open_table("t").handle, snapshot, f"rolled back to {epoch}")
        lake.close()
        last = self.aside.last if self.aside is not None else self.epoch
        self.aside = Aside(*self.past[epoch], epoch, last)
        self.past = {former: held for former, held in self.past.items() if former <= epoch}
        self._open()

    @precondition(lambda self: self.aside is not None)
    @rule(remove=st.booleans(), fault=FAULTS)
    def resume(self, remove: bool, fault: Fault | None) -> None:
        """It is released, is as old as what it shows, and is built anew."""
        assert self.aside is not None
        release(self.lake.open_table("t").handle)
        committed = self.table.committed()
        assert committed is not None and (committed.epoch, committed.held) == (self.aside.epoch, None)
        self.aside = None
        self.lake.close()
        self._open()
        whole = [(row, 1) for row in self.rows]
        self._epoch([whole], self.columns, fault, replaced=True, remove=remove or not self.keyed)

    def _kept(self) -> dict[int, Snapshot]:
        """By epoch, its own snapshot, if it is kept and leads to the present."""
        metadata = self.lake.catalog.load_table((NAMESPACE, "t")).metadata
        line, found = set(lineage(metadata)), {}
        for one in self.lake.open_table("t").snapshots():
            if one.epoch in self.past and not one.maintenance and one.snapshot in line:
                snapshot = resolve(metadata, Moment(snapshot=one.snapshot), "t")
                assert snapshot is not None
                found[one.epoch] = snapshot
        return found

    def _snapshot(self, number: int) -> tuple[int, Snapshot] | None:
        kept = sorted(self._kept().items())
        return kept[number % len(kept)] if kept else None

    def _require(self, at: Moment, columns: list[Column], rows: list[Cells]) -> None:
        found = self.lake.open_table("t").dataset(at).to_table()
        assert self._counted(found.to_pylist(), columns) == self._expected(columns, rows)

    # -- what must hold

    @invariant()
    def all_readers_agree(self) -> None:
        """PyIceberg's scan, and our own."""
        if not hasattr(self, "lake") or not self.epoch:
            return
        columns, rows, last, held = self.columns, self.rows, self.epoch, None
        if self.aside is not None:
            columns, rows, last = self.aside.columns, self.aside.rows, self.aside.last
            held = f"rolled back to {self.aside.epoch}"
        expected = self._expected(columns, rows)
        scanned = self.lake.catalog.load_table((NAMESPACE, "t")).scan().to_arrow().to_pylist()
        assert self._counted(scanned, columns) == expected
        assert self._counted(self.lake.open_table("t").read().to_pylist(), columns) == expected
        committed = self.table.committed()
        assert committed is not None
        assert (committed.epoch, committed.properties, committed.held) == (last, {"n": str(last)}, held)

    # -- the model

    def _delta(self, rows: list[Cells], writes: list[tuple[int, int]]) -> list[tuple[Cells, int]]:
        """Upserts and deletes of a table with a key; otherwise rows that come, and some of those there that go."""
        held = list(rows)
        delta: list[tuple[Cells, int]] = []
        for key, choice in writes:
            own = [row for row in held if row[0] == key] if self.keyed else held[: choice % 2]
            for row in own:
                held.remove(row)
                delta.append((row, -1))
            if choice:
                new: Cells = {c.uid: KINDS[c.kind][1][choice % len(KINDS[c.kind][1])] for c in self.columns}
                new[0] = key if self.keyed else key % 2
                held.append(new)
                delta.append((new, 1))
        return delta

    def _after(self, rows: list[Cells], delta: list[tuple[Cells, int]]) -> list[Cells]:
        after = list(rows)
        for row, weight in delta:
            if weight > 0:
                after.append(row)
            else:
                after.remove(row)
        return after

    def _other(self, what: str, number: int) -> list[Column] | None:
        columns, at = list(self.columns), 1 + number % max(len(self.columns) - 1, 1)
        free = [name for name in NAMES if name not in {c.name for c in columns}]
        if what == "add" and free:
            self.uids += 1
            kind = list(KINDS)[number % len(KINDS)]
            columns.insert(number % (len(columns) + 1), Column(self.uids, free[number % len(free)], kind))
        elif what == "places":
            columns = columns[number % len(columns) :] + columns[: number % len(columns)]
        elif at >= len(columns) or columns[at].uid == 0:
            return None
        elif what == "drop":
            del columns[at]
        elif what == "rename" and free:
            columns[at] = Column(columns[at].uid, free[number % len(free)], columns[at].kind)
        elif what == "widen" and columns[at].kind in WIDER:
            columns[at] = Column(columns[at].uid, columns[at].name, WIDER[columns[at].kind])
        elif what == "retype":
            columns[at] = Column(columns[at].uid, columns[at].name, list(KINDS)[number % len(KINDS)])
        return columns

    def _carried(self, rows: list[Cells], columns: list[Column]) -> list[Cells]:
        before = {column.uid: column.kind for column in self.columns}
        return [
            {c.uid: fits(row.get(c.uid), before[c.uid], c.kind) if c.uid in before else None for c in columns}
            for row in rows
        ]

    def _expected(self, columns: list[Column], rows: list[Cells]) -> Counter[tuple[object, ...]]:
        return Counter(tuple(hashable(row.get(column.uid)) for column in columns) for row in rows)

    def _counted(self, rows: list[dict[str, object]], columns: list[Column]) -> Counter[tuple[object, ...]]:
        return Counter(tuple(hashable(row[column.name]) for column in columns) for row in rows)

    def _weighted(self, delta: list[tuple[Cells, int]], columns: list[Column]) -> pa.Table:
        schema = self._schema(columns)
        rows = pa.Table.from_pylist([{c.name: row.get(c.uid) for c in columns} for row, _ in delta], schema=schema)
        return rows.append_column(WEIGHT, pa.array([weight for _, weight in delta], pa.int64()))

    # -- an epoch, and what may go wrong in it

    def _epoch(
        self,
        parts: list[list[tuple[Cells, int]]],
        columns: list[Column],
        fault: Fault | None,
        *,
        replaced: bool = False,
        remove: bool = False,
    ) -> None:
        rows = [] if replaced else self._carried(self.rows, columns)
        for part in parts:
            rows = self._after(rows, part)
        if self.aside is not None:  # the table is left alone
            self.epoch, self.columns, self.rows = self.epoch + 1, columns, rows
            return
        deltas = [self._weighted(part, columns) for part in parts]

        def run() -> None:
            self._show(columns, anew=replaced, remove=remove)
            for number, delta in enumerate(deltas[:-1]):
                self.table.stage(self.epoch + 1, delta, replace=replaced and not number)
            self.table.commit(
                self.epoch + 1, deltas[-1], {"n": str(self.epoch + 1)}, replace=replaced and len(deltas) == 1
            )

        self._with_fault(run, fault, again_from_disk=len(parts) > 1)
        self.epoch, self.columns, self.rows = self.epoch + 1, columns, rows
        self.past[self.epoch] = (columns, rows)

    def _show(self, columns: list[Column], *, anew: bool, remove: bool) -> None:
        self.table.evolve(self._schema(columns), anew=anew, remove=remove)

    def _with_fault(self, run: Callable[[], None], fault: Fault | None, *, again_from_disk: bool) -> None:
        """Runs an epoch until the table holds it, whatever happens on the way."""
        reach, passings = failpoint.reach, [0]
        copy = self.folder / "copy"

        def reached(name: str) -> None:
            if fault is None or name != fault.instant:
                return
            passings[0] += 1
            if passings[0] != fault.passing:
                return
            if fault.what == "eio":
                raise OSError(5, "Input/output error", name)
            shutil.copytree(self.folder / "lake", copy)
            raise Crash

        failpoint.reach = reached
        try:
            run()
        except Crash:
            failpoint.reach = reach
            self.lake.close()
            shutil.rmtree(self.folder / "lake")
            copy.rename(self.folder / "lake")
            self._open()
        except StorageFailed:
            if again_from_disk:
                self.lake.close()
                self._open()
        finally:
            failpoint.reach = reach
        committed = self.table.committed()
        if committed is None or committed.epoch <= self.epoch:
            run()


class MultisetMachine(TableMachine):
    """A table without a key."""

    keyed = False
