"""A table as of a place of the binary log, beside what the stream gives up to that place."""

import pytest
from mysql_database import read_to_end
from replay import Mirror, read_snapshot, rows_of

from headwater.digest import digests, total
from headwater.errors import UserError


def test_a_table_at_a_place_equals_the_changes_before_it(my):
    my.run("CREATE TABLE t (id int PRIMARY KEY, f float, d date, s varchar(20) CHARACTER SET latin1)")
    my.run("INSERT INTO t SELECT seq, seq / 7, '2024-02-29', concat('é', seq) FROM seq_1_to_3000")
    reader = my.open(my.source())
    groups = read_snapshot(reader)
    my.run("UPDATE t SET f = -f WHERE id % 3 = 0", "DELETE FROM t WHERE id % 5 = 0", "FLUSH BINARY LOGS")
    seen = my.source().table_at("t", groups[-1].boundary.resume)
    my.run("DELETE FROM t")
    groups += read_to_end(reader, my)
    assert seen.stream.key == ("id",)
    before = [g for g in groups if g.boundary.position.commit < seen.position] or groups[:1]
    kept = {row["id"]: row for row in rows_of(groups, "t") if row["_commit"] < seen.position}
    expected = {key: row for key, row in kept.items() if row["_weight"] > 0}
    rows = [row for part in seen.rows(16, range(16)) for row in part.to_pylist()]
    assert {row["id"]: row["f"] for row in rows} == {key: row["f"] for key, row in expected.items()}
    whole = total(seen.digests(16))
    assert whole.rows == len(expected) == 2400
    parts = list(seen.rows(16, range(16)))
    assert total(digests(parts[0], ("id",), 16)).rows == parts[0].num_rows
    assert Mirror().apply(before).tables["t"]
    seen.close()
    seen.close()


def test_a_table_that_is_not_captured_cannot_be_seen(my):
    with pytest.raises(UserError, match="is not captured"):
        my.source().table_at("nothing")
