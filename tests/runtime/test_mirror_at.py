"""A table brought to a position: what counts, what a TRUNCATE takes, and rows that are out of sight."""

import pyarrow as pa
import pytest

from headwater.change import Op, log_schema
from headwater.errors import UserError
from headwater.log.cursor import LogRecord
from headwater.position import Boundary, Position
from headwater.runtime.mirror_at import mirror_at
from headwater.schema import StreamSchema

COLUMNS = pa.schema([("id", pa.int16()), ("v", pa.string())])
KEYED = StreamSchema("t", COLUMNS, ("id",), "upsert")
FULL = StreamSchema("t", COLUMNS, (), "full")
LAKE = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "v": ["a", "b", "c"]})


def record(stream, *changes):
    rows = [
        {"_op": int(op), "_weight": weight, "_commit": commit, "_ordinal": at, "id": key, "v": v, "_unchanged": bits}
        for at, (commit, op, weight, key, v, bits) in enumerate(changes)
    ]
    return LogRecord(0, stream, pa.RecordBatch.from_pylist(rows, log_schema(stream)), Boundary(Position(9)))


def held(stream, *changes, position=100, initial=False):
    mirror = mirror_at(stream, LAKE, [record(stream, *changes)], position, initial=initial)
    there = [row for table in mirror.there for row in table.to_pylist()]
    for row in (row for table in mirror.gone for row in table.to_pylist()):
        there.remove(row)
    return sorted((row["id"], row["v"]) for row in there), mirror.rejected


def test_changes_below_the_position_count_and_no_others():
    update, late = (99, Op.UPDATE, 1, 2, "B", None), (100, Op.UPDATE, 1, 3, "C", None)
    assert held(KEYED, update, late, (101, Op.INSERT, 1, 4, "d", None))[0] == [(1, "a"), (2, "B"), (3, "c")]


@pytest.mark.parametrize("stream", [KEYED, FULL])
def test_a_truncate_takes_all_that_was_there(stream):
    changes = (1, Op.INSERT, 1, 8, "x", None), (2, Op.TRUNCATE, -1, None, None, None), (3, Op.INSERT, 1, 9, "y", None)
    assert held(stream, *changes)[0] == [(9, "y")]


def test_rows_without_a_key_are_added_and_taken_away():
    changes = (1, Op.UPDATE, -1, 2, "b", None), (1, Op.UPDATE, 1, 2, "B", None), (2, Op.INSERT, 1, 1, "a", None)
    assert held(FULL, *changes)[0] == [(1, "a"), (1, "a"), (2, "B"), (3, "c")]


def test_a_row_that_is_out_of_sight_is_told_as_rejected():
    misfit, unsent = (1, Op.UPDATE, 1, 1, None, bytes([0b1000])), (2, Op.UPDATE, 1, 7, None, bytes([0b10]))
    assert held(KEYED, misfit, unsent) == ([(2, "b"), (3, "c")], {'["1"]', '["7"]'})


def test_a_table_that_is_being_read_anew_is_refused():
    read = (1, Op.READ, 1, 5, "e", None)
    assert held(KEYED, read, initial=True)[0] == [(1, "a"), (2, "b"), (3, "c"), (5, "e")]
    with pytest.raises(UserError, match="read anew"):
        held(KEYED, read)
    with pytest.raises(UserError, match="read anew"):
        held(KEYED, (1, Op.SNAPSHOT_BEGIN, -1, None, None, None), initial=True)
