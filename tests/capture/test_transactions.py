"""The assembler alone, on messages made by hand: what a server cannot easily be brought to send."""

import pytest
import wire_messages as wm
from replay import positions

from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing, boundary_before, confirmable, lsn_of
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.types import Column
from headwater.capture.postgres.wire import Frames
from headwater.errors import InvariantBroken
from headwater.position import Position

STANDING = Standing("1", 1, "shop", "slot", {"public.t": 7})
RELATION = wm.relation(7, "t", [("id", 23, True)])


@pytest.fixture
def heard():
    return []


@pytest.fixture
def assembler(heard):
    table = Table(7, "public", "t", (Column("id", 23, -1, 23, -1, "integer"),), ("id",))
    relations = Relations([table], (), lambda *_: pytest.fail("no type is unknown"))

    def observe(transactions, messages):
        heard.append((transactions.xids.tolist(), [(m.position, m.prefix, m.content) for m in messages]))
        return ()

    return Assembler(relations, STANDING, 200, observer=observe)


def feed(assembler, *messages):
    assembler.feed(Frames.of([each if each[:1] == b"k" else wm.enveloped(each) for each in messages]))


def insert(text, **options):
    return wm.insert(7, text, **options)


def ids(group):
    return [row["id"] for batch in group.batches for row in batch.rows.to_pylist()]


def test_transactions_that_the_log_holds_are_passed_over(assembler):
    feed(assembler, wm.begin(150), RELATION, insert(b"1"), wm.commit(150, 200))
    assert not assembler.complete and assembler.lsn == 200
    feed(assembler, wm.begin(200), insert(b"2"), wm.commit(200, 260))
    group = assembler.take()
    assert ids(group) == [2]
    assert (lsn_of(group.boundary.resume), group.boundary.position.commit) == (260, 200)


def test_an_open_transaction_is_not_torn(assembler):
    feed(assembler, wm.begin(200), RELATION, insert(b"1"), wm.commit(200, 260), wm.begin(300), insert(b"2"))
    group = assembler.take()
    assert len(group) == 1 and group.boundary.commit_time_us == 946_684_800_000_000
    assert assembler.take() is None
    feed(assembler, insert(b"3"), wm.commit(300, 360))
    assert [position.ordinal for position in positions([assembler.take()])] == [0, 1]


def test_a_commit_at_the_very_boundary_stands_after_it(assembler):
    before = boundary_before(STANDING, 200, 5).position
    heartbeat = assembler.heartbeat(260).boundary.position
    feed(assembler, wm.begin(260), RELATION, insert(b"1"), wm.commit(260, 300))
    assert before < heartbeat < positions([assembler.take()])[0]


def test_no_heartbeat_in_the_middle(assembler):
    feed(assembler, wm.begin(200))
    with pytest.raises(InvariantBroken):
        assembler.heartbeat(300)


@pytest.mark.parametrize(
    "nonsense",
    [
        [b"?"],
        [wm.begin(300), wm.begin(400)],
        [insert(b"1")],
        [wm.commit(300, 360)],
        [wm.begin(300), wm.commit(301, 360)],
        [wm.begin(300), wm.stream_start(9, True)],
        [wm.stream_stop()],
        [wm.stream_start(9, True), wm.begin(300)],
        [wm.stream_commit(9, 300, 360)],
        [wm.prepared(b"K", 300, 360, 9)],
        [wm.truncate(7)],
        [wm.begin(1 << 62) + b"x"],
    ],
)
def test_what_does_not_belong_there_stops_after_what_came_before(assembler, nonsense):
    feed(assembler, wm.begin(200), RELATION, insert(b"1"), wm.commit(200, 260), *nonsense)
    assert assembler.full and ids(assembler.take()) == [1]
    with pytest.raises(InvariantBroken, match="pgoutput"):
        assembler.take()


def test_a_row_that_does_not_fit_its_table(assembler):
    feed(assembler, wm.begin(200), RELATION, insert(b"1")[:-3], wm.commit(200, 260))
    with pytest.raises(InvariantBroken, match="does not fit"):
        assembler.take()


def test_a_streamed_transaction_counts_when_it_commits_without_what_was_rolled_back(assembler):
    relation = wm.relation(7, "t", [("id", 23, True)], xid=9)
    feed(assembler, wm.stream_start(9, True), relation, insert(b"1", xid=9), insert(b"2", xid=10), wm.stream_stop())
    feed(assembler, wm.begin(300), RELATION, insert(b"77"), wm.commit(300, 360), wm.stream_start(9, False))
    feed(assembler, insert(b"3", xid=11), wm.truncate(7, xid=9), wm.stream_stop(), wm.stream_abort(9, 10, 370))
    assert ids(assembler.take()) == [77]
    feed(assembler, wm.stream_commit(9, 400, 460))
    group = assembler.take()
    assert ids(group) == [1, 3, None]
    assert [row["_ordinal"] for batch in group.batches for row in batch.rows.to_pylist()] == [0, 1, 2]
    assert (group.boundary.position, lsn_of(group.boundary.resume)) == (Position(400, 2), 460)
    feed(assembler, wm.stream_start(12, True), insert(b"4", xid=12), wm.stream_stop(), wm.stream_abort(12, 12))
    assert not assembler.complete


def test_a_prepared_transaction_counts_when_it_commits_and_holds_the_slot_back(assembler):
    feed(assembler, wm.begin_prepare(300, 340, 9), RELATION, insert(b"1"), wm.prepared(b"P", 300, 340, 9))
    feed(assembler, wm.begin(350), insert(b"2"), wm.commit(350, 380))
    group = assembler.take()
    assert ids(group) == [2]
    assert (lsn_of(group.boundary.resume), confirmable(group.boundary.resume)) == (380, 300)
    feed(assembler, wm.prepared(b"K", 400, 440, 9), wm.begin_prepare(450, 460, 10), insert(b"3"))
    feed(assembler, wm.prepared(b"P", 450, 460, 10), wm.rollback_prepared(460, 470, 10))
    group = assembler.take()
    assert ids(group) == [1] and group.boundary.position == Position(400, 0)
    assert confirmable(assembler.heartbeat(480).boundary.resume) == 480


def test_logical_messages_have_ordinals_and_are_told_with_their_group(assembler, heard):
    note = wm.message(250, b"who", b"anna")
    feed(assembler, wm.begin(300, xid=5), RELATION, insert(b"1"), note, insert(b"2"), wm.commit(300, 360))
    feed(assembler, wm.message(380, b"alone", b"", transactional=False), wm.begin(390, xid=6), note)
    group = assembler.take()
    assert [row["_ordinal"] for batch in group.batches for row in batch.rows.to_pylist()] == [0, 2]
    expected = [(Position(300, 1), "who", b"anna"), (Position(380), "alone", b"")]
    assert heard == [([5], expected)]
    feed(assembler, wm.commit(390, 400))
    assert assembler.take().boundary.position == Position(390, 0)
    assert heard[1:] == [([6], [(Position(390, 0), "who", b"anna")])]
