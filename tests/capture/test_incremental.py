"""The window of an incremental snapshot against a model of a source, by its own account and through the normaliser.

The model is PostgreSQL's as to what is hard: a transaction's commit is in the log before others see its rows, so two
transactions may become visible in another order than they commit in; and an update may leave a long value out.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.incremental import COMPLETE, FIRST, GIVEN_UP, PART, WHOLE, Window, left_out, marker
from headwater.capture.request import Request
from headwater.capture.worklist import Task, Worklist, is_taken
from headwater.change import ChangeBatch, Op, log_schema
from headwater.engine.normalise import Normaliser
from headwater.errors import InvariantBroken, UserError
from headwater.schema import StreamSchema

COLUMNS = pa.schema([pa.field("k", pa.string(), False), ("v", pa.int64()), ("long", pa.string())])
STREAM = StreamSchema("t", COLUMNS, ("k",), "upsert")
LONG = 2


def batch(rows):
    return ChangeBatch(STREAM, pa.RecordBatch.from_pylist(rows, log_schema(STREAM)))


@dataclass
class Source:
    """A table, its log of commits, and what readers see of it."""

    table: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    hidden: set = field(default_factory=set)
    seen: dict = field(default_factory=dict)
    history: list = field(default_factory=lambda: [{}])

    def commit(self, operations, *, hidden):
        """One transaction. It waits (does nothing) where it would need a row that a hidden one has locked."""
        locked = {key for commit in self.hidden for key in self.log[commit - 1][0]}
        operations = [operation for operation in operations if operation[1] not in locked]
        if not operations:
            return
        rows = []
        for ordinal, (kind, key, value, unsent) in enumerate(operations):
            before = self.table.get(key)
            place = {"_commit": len(self.log) + 1, "_ordinal": ordinal}
            if kind == "delete":
                rows.append({"_op": Op.DELETE, "_weight": -1, "k": key, **place})
                self.table.pop(key, None)
                continue
            unsent = unsent and before is not None
            long = before[1] if unsent else f"long {value}"
            bits = (1 << LONG).to_bytes(1, "little") if unsent else None
            values = {"k": key, "v": value, "long": None if unsent else long, "_unchanged": bits}
            rows.append({"_op": Op.UPDATE if before else Op.INSERT, "_weight": 1, **values, **place})
            self.table[key] = (value, long)
        self.log.append(({key for _, key, _, _ in operations}, rows))
        self.history.append(dict(self.table))
        if hidden:
            self.hidden.add(len(self.log))
        else:
            self.show(self.log[-1][0])

    def show(self, keys):
        for key in keys:
            self.seen.pop(key, None)
            if key in self.table:
                self.seen[key] = self.table[key]

    def show_all(self):
        for commit in self.hidden:
            self.show(self.log[commit - 1][0])
        self.hidden = set()

    def read(self, after, count):
        """A chunk in the order of keys, and the commits that it does not see."""
        keys = [key for key in sorted(self.seen) if after is None or key > after][:count]
        rows = [
            {"_op": Op.READ, "_weight": 1, "_commit": 0, "_ordinal": 0, "k": k, "v": self.seen[k][0],
             "long": self.seen[k][1]}
            for k in keys
        ]  # fmt: skip
        return rows, (keys[-1] if len(keys) == count else None), set(self.hidden), len(self.log)


class Follower:
    """A reader of the model's log that takes an incremental snapshot of it, and what comes of it."""

    def __init__(self, source, rows, size):
        self.source, self.size = source, size
        self.normaliser, self.window = Normaliser(STREAM), Window()
        self.normaliser.apply([batch([row]) for row in rows])
        self.read_to, self.after, self.chunk, self.again = 0, None, None, []
        self.done = False

    def begin(self, aim):
        self.normaliser.apply([marker(STREAM, Op.SNAPSHOT_BEGIN, aim, 0, 0)])

    def follow(self, count):
        for _, rows in self.source.log[self.read_to : self.read_to + count]:
            self.read_to += 1
            self.window.touch(batch(rows))
            self.normaliser.apply([batch(rows)])
        self.hand_over()

    def ask(self):
        """Reads the next chunk, or keys of former ones once more."""
        if self.chunk is not None or self.done:
            return
        if self.again:
            rows = [row for row in self.source.read(None, 1000)[0] if row["k"] in self.again]
            self.chunk = (rows, self.after, set(self.source.hidden), len(self.source.log), True)
        else:
            self.chunk = (*self.source.read(self.after, self.size), False)
        _, _, hidden, high = self.chunk[:4]
        self.counts = lambda commits: np.isin(commits, list(hidden)) | (commits > high)
        self.hand_over()

    def hand_over(self):
        if self.chunk is None or self.read_to < self.chunk[3]:
            return
        rows, after, _, _, again = self.chunk
        survivors = self.window.survivors(batch(rows), self.counts)
        self.normaliser.apply([survivors.batch])
        now = self.source.history[self.read_to]
        assert all(now[row["k"]] == (row["v"], row["long"]) for row in survivors.batch.rows.to_pylist())
        self.window.forget(self.counts)
        self.chunk, self.again = None, survivors.again.column("k").to_pylist()
        if not again:
            self.after, self.last = after, after is None
        if self.last and not self.again:
            self.normaliser.apply([marker(STREAM, Op.SNAPSHOT_END, COMPLETE, 0, 0)])
            self.done = True

    last = False

    def finish(self):
        self.source.show_all()
        while not self.done:
            self.ask()
            self.follow(1000)
        self.follow(1000)

    def content(self):
        return {row["k"]: (row["v"], row["long"]) for row in self.normaliser.rows().to_pylist()}


KEYS = st.sampled_from(["a", "B", "c", "Ä", "é", "z"])
OPERATION = st.tuples(st.sampled_from(["put", "put", "delete"]), KEYS, st.integers(0, 99), st.booleans())
ACTION = st.one_of(
    st.tuples(st.just("commit"), st.lists(OPERATION, min_size=1, max_size=3), st.booleans()),
    st.tuples(st.just("show")),
    st.tuples(st.just("follow"), st.integers(1, 3)),
    st.tuples(st.just("ask")),
)


def act(source, follower, action):
    match action:
        case ("commit", operations, hidden):
            source.commit(operations, hidden=hidden)
        case ("show",):
            source.show_all()
        case ("follow", count):
            follower.follow(count)
        case ("ask",):
            follower.ask()


STRAY = {"_op": Op.INSERT, "_weight": 1, "_commit": 0, "_ordinal": 0, "v": -1, "long": "stray"}


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(KEYS, st.integers(0, 99)), max_size=6),
    st.lists(ACTION, max_size=25),
    st.integers(1, 4),
    st.sampled_from([FIRST, WHOLE]),
)
def test_a_snapshot_under_writers_ends_equal_to_the_source(start, actions, size, aim):
    source = Source()
    source.commit([("put", key, value, False) for key, value in start], hidden=False)
    strays = [{**STRAY, "k": key} for key in ("B", "gone", "é")] if aim == WHOLE else []
    follower = Follower(source, strays, size)
    follower.read_to = len(source.log)
    follower.begin(aim)
    for action in actions:
        act(source, follower, action)
    follower.finish()
    assert follower.content() == source.table


def test_a_change_that_the_chunk_holds_does_not_beat_it_and_one_that_it_lacks_does():
    window = Window()
    for commit, key in ((5, "a"), (6, "b")):
        window.touch(batch([{"_op": Op.UPDATE, "_weight": 1, "_commit": commit, "_ordinal": 0, "k": key, "v": 1}]))
    read = [{"_op": Op.READ, "_weight": 1, "_commit": 0, "_ordinal": 0, "k": key, "v": 0} for key in "abc"]
    survivors = window.survivors(batch(read), lambda commits: commits > 5)
    assert survivors.batch.rows.column("k").to_pylist() == ["a", "c"]
    assert survivors.again.num_rows == 0
    window.forget(lambda commits: commits > 5)
    assert len(window) == 1
    window.touch(marker(STREAM, Op.TRUNCATE, -1, 9, 0))
    assert len(window.survivors(batch(read), lambda commits: commits > 5).batch) == 0


def test_changes_that_a_whole_reading_holds_are_left_out():
    rows = [{"_op": Op.INSERT, "_weight": 1, "_commit": c, "_ordinal": 0, "k": str(c), "v": 1} for c in (1, 2, 3)]
    rest, count = left_out(batch(rows), lambda commits: commits == 2)
    assert (rest.rows.column("k").to_pylist(), count) == (["1", "3"], 1)


def snapshot_of(*tables, id="1", where=""):
    return Request(id, "snapshot", tables, where)


def test_a_worklist_survives_its_text():
    work = Worklist()
    assert work.ask(snapshot_of("s.a", "s.b", where="x > 1"), ["s.a", "s.b"])
    work.put(Task("s.a", PART, "x > 1", "running", begun=True, after=("7", "é"), rows=10, note="{}"))
    again = Worklist.from_text(work.text())
    assert again.text() == work.text()
    assert again.next() == work.next() == work.get("s.a")
    assert not again.ask(snapshot_of("s.a"), ["s.a"]) and is_taken(work.text(), "1")
    assert Worklist().text() == "" and not is_taken("", "1") and Worklist.from_text("").next() is None
    with pytest.raises(InvariantBroken):
        Worklist.from_text('{"tasks": 1}')


def test_snapshots_are_paused_resumed_and_stopped():
    work = Worklist()
    work.ask(snapshot_of("s.a", "s.b"), ["s.a", "s.b"])
    work.ask(Request("2", "pause", ("s.a",)), [])
    assert work.next().table == "s.b"
    work.ask(Request("3", "resume"), [])
    assert work.next().table == "s.a"
    work.put(Task("s.a", state="running", begun=True))
    work.ask(Request("4", "stop"), [])
    assert work.next() is None and [task.table for task in work.to_close()] == ["s.a"]
    assert [progress.state for progress in work.progress()] == ["stopped", "stopped"]
    assert [task.table for task in Worklist.from_text(work.text()).to_close()] == ["s.a"]
    with pytest.raises(UserError, match="no snapshot"):
        work.ask(Request("5", "pause"), [])
    assert not is_taken(work.text(), "5")


def test_a_table_that_lacks_rows_is_filled_whatever_is_asked_of_it_meanwhile():
    work = Worklist([Task("s.a", FIRST, begun=True, after=("5",))])
    work.ask(snapshot_of("s.a", where="x"), ["s.a"])
    assert work.next() == Task("s.a", FIRST, begun=True)
    work = Worklist([Task("s.a", PART, begun=True)])
    work.ask(snapshot_of("s.a"), ["s.a"])
    assert work.next() == Task("s.a", WHOLE)


@pytest.mark.parametrize(("aim", "ended", "left"), [(WHOLE, COMPLETE, {"read"}), (WHOLE, GIVEN_UP, {"old", "read"}),
                                                    (PART, COMPLETE, {"old", "read"})])  # fmt: skip
def test_what_a_snapshot_takes_back(tmp_path, aim, ended, left):
    normaliser = Normaliser(STREAM)
    normaliser.apply([batch([{**STRAY, "k": "old"}])])
    read = [{**STRAY, "_op": Op.READ, "k": "read"}]
    normaliser.apply([marker(STREAM, Op.SNAPSHOT_BEGIN, aim, 0, 0), batch(read)])
    (tmp_path / "checkpoint").mkdir()
    normaliser.checkpoint(tmp_path / "checkpoint")
    normaliser = Normaliser.restore(tmp_path / "checkpoint")
    delta = normaliser.apply([marker(STREAM, Op.SNAPSHOT_END, ended, 0, 0)])
    assert {row["k"] for row in normaliser.rows().to_pylist()} == left
    assert [(row["k"], row["_weight"]) for row in delta.to_pylist()] == ([] if "old" in left else [("old", -1)])


def test_a_value_never_sent_is_waited_for_only_while_rows_are_missing():
    bits = (1 << LONG).to_bytes(1, "little")
    update = [{"_op": Op.UPDATE, "_weight": 1, "_commit": 1, "_ordinal": 0, "k": "a", "v": 2, "_unchanged": bits}]
    normaliser = Normaliser(STREAM)
    normaliser.apply([marker(STREAM, Op.SNAPSHOT_BEGIN, FIRST, 0, 0)])
    assert normaliser.apply([batch(update)]).num_rows == 0
    normaliser.apply([marker(STREAM, Op.SNAPSHOT_END, GIVEN_UP, 0, 0)])
    assert normaliser.apply([batch(update)]).num_rows == 0
    begun, ended = (
        marker(STREAM, op, weight, 0, 0) for op, weight in ((Op.SNAPSHOT_BEGIN, FIRST), (Op.SNAPSHOT_END, COMPLETE))
    )
    with pytest.raises(InvariantBroken, match="did not read it"):
        normaliser.apply([begun, ended])
    normaliser = Normaliser(STREAM)
    normaliser.apply([begun, ended])
    with pytest.raises(InvariantBroken, match="never sent"):
        normaliser.apply([batch(update)])
