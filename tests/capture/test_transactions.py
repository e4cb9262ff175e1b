"""The assembler alone, on messages made by hand: what a server cannot easily be brought to send."""

import struct

import pytest
from replay import positions

from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing, boundary_before, lsn_of
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.types import Column
from headwater.errors import InvariantBroken

STANDING = Standing("1", 1, "shop", "slot", {"public.t": 7})
HEADER = b"w" + bytes(24)
RELATION = (
    HEADER
    + b"R"
    + struct.pack(">I", 7)
    + b"public\0t\0d"
    + struct.pack(">H", 1)
    + b"\x01id\0"
    + struct.pack(">Ii", 23, -1)
)


def begin(lsn):
    return HEADER + b"B" + struct.pack(">QqI", lsn, 0, 1)


def insert(text):
    return (
        HEADER + b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 1) + b"t" + struct.pack(">I", len(text)) + text
    )


def commit(lsn, end):
    return HEADER + b"C\0" + struct.pack(">QQq", lsn, end, 0)


@pytest.fixture
def assembler():
    table = Table(7, "public", "t", (Column("id", 23, -1, 23, -1, "integer"),), ("id",))
    return Assembler(Relations([table], (), lambda *_: pytest.fail("no type is unknown")), STANDING, 200)


def feed(assembler, *messages):
    for message in messages:
        assembler.feed(message)


def test_transactions_that_the_log_holds_are_passed_over(assembler):
    feed(assembler, begin(150), RELATION, insert(b"1"), commit(150, 200), begin(200), insert(b"2"), commit(200, 260))
    group = assembler.take()
    assert [row["id"] for batch in group.batches for row in batch.rows.to_pylist()] == [2]
    assert (lsn_of(group.boundary.resume), group.boundary.position.commit) == (260, 200)


def test_an_open_transaction_is_not_torn(assembler):
    feed(assembler, begin(200), RELATION, insert(b"1"), commit(200, 260), begin(300), insert(b"2"))
    group = assembler.take()
    assert len(group) == 1 and group.boundary.commit_time_us == 946_684_800_000_000
    assert assembler.take() is None
    feed(assembler, insert(b"3"), commit(300, 360))
    assert [position.ordinal for position in positions([assembler.take()])] == [0, 1]


def test_a_commit_at_the_very_boundary_stands_after_it(assembler):
    before = boundary_before(STANDING, 200, 5).position
    heartbeat = assembler.heartbeat(260).boundary.position
    feed(assembler, begin(260), RELATION, insert(b"1"), commit(260, 300))
    assert before < heartbeat < positions([assembler.take()])[0]


def test_no_heartbeat_in_the_middle_and_no_unknown_message(assembler):
    feed(assembler, begin(200))
    with pytest.raises(InvariantBroken):
        assembler.heartbeat(300)
    with pytest.raises(InvariantBroken, match="unknown kind"):
        assembler.feed(HEADER + b"?")


def test_a_row_that_does_not_fit_its_table(assembler):
    feed(assembler, begin(200), RELATION, insert(b"1")[:-3], commit(200, 260))
    with pytest.raises(InvariantBroken, match="does not fit"):
        assembler.take()
