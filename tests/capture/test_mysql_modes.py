"""`snapshot:` of a MySQL source, and what its watcher sees, on a real MariaDB."""

import pytest
from mysql_database import read_to_end
from replay import normalised, read_snapshot, read_until, rows_of

from headwater.capture.mysql.watch import MysqlWatcher
from headwater.capture.request import Request
from headwater.change import Op
from headwater.errors import SchemaChanged, SourceStopped, UserError

T = "CREATE TABLE t (id int PRIMARY KEY, v varchar(9), w int)", "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)"


def read_ids(groups):
    return sorted(row["id"] for row in rows_of(groups, "t") if row["_op"] == Op.READ)


@pytest.mark.parametrize("mode", ["schema_only", "never"])
def test_tables_begin_empty(my, mode):
    my.run(*T, "SET SESSION binlog_row_image = 'MINIMAL'")
    reader = my.open(my.source(snapshot=mode))
    groups = read_snapshot(reader)
    my.run("INSERT INTO t VALUES (3, 'c', 3)", "UPDATE t SET v = 'd' WHERE id = 1")
    groups += read_to_end(reader, my)
    assert not read_ids(groups)
    assert normalised(groups, "t") == [(3, "c", 3)], "of row 1 nobody knows the rest"
    if mode == "never":
        with pytest.raises(UserError, match="never"):
            reader.ask(Request("1", "snapshot", ("t",)))
        my.run("ALTER TABLE t MODIFY v varchar(1)")
        with pytest.raises(SchemaChanged, match="forbids to read"):
            read_until(reader, lambda _: False)
        return
    reader.ask(Request("1", "snapshot", ("*",)))
    groups += read_until(reader, lambda _: all(one.state == "done" for one in reader.progress()))
    assert normalised(groups, "t") == [(1, "d", 1), (2, "b", 2), (3, "c", 3)]


def test_a_table_without_a_key_must_be_read(my):
    my.run("CREATE TABLE bag (v int)")
    with pytest.raises(SourceStopped, match="snapshot: schema_only"):
        my.source(snapshot="schema_only").open(None)


def test_always_reads_everything_again_at_every_start_of_ours(my):
    my.run(*T)
    reader = my.open(my.source(snapshot="always"))
    groups = read_snapshot(reader)
    reader.close()
    source = my.source(snapshot="always")
    reader = my.open(source, groups[-1].boundary.resume)
    groups += read_until(reader, lambda _: all(one.state == "done" for one in reader.progress()))
    assert read_ids(groups) == [1, 1, 2, 2]
    reader.close()
    assert not my.open(source, groups[-1].boundary.resume).progress()


def test_when_needed_begins_again_by_itself(own_mariadb):
    my = own_mariadb
    my.run(*T)
    source = my.source(snapshot="when_needed")
    reader = my.open(source)
    groups = read_snapshot(reader)
    reader.close()
    my.run("RESET MASTER", "DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (9, 'z', 9)")
    reader = my.open(source, groups[-1].boundary.resume)
    groups += read_snapshot(reader)
    assert str(groups[-1].boundary.resume["decided"]).startswith("server_behind:")
    assert normalised(groups, "t") == [(2, "b", 2), (9, "z", 9)]


def test_what_is_asked_during_the_initial_snapshot_is_done_after_it(my):
    my.run(*T)
    reader = my.open(my.source())
    reader.ask(Request("1", "snapshot", ("t",)))
    reader.ask(Request("2", "snapshot", ("nothing",)))
    groups = read_snapshot(reader)
    groups += read_until(reader, lambda _: any(one.state == "done" for one in reader.progress()))
    assert read_ids(groups) == [1, 1, 2, 2]
    assert "no captured table" in next(one.message for one in reader.progress() if one.table == "nothing")


class Hours:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic_s(self):
        return self.now


def test_the_watcher_tells_how_far_behind_we_are_and_before_the_log_is_purged(own_mariadb):
    my = own_mariadb
    my.run(*T, "SET GLOBAL binlog_expire_logs_seconds = 10000")
    source = my.source(log_budget="1 kB")
    reader = my.open(source)
    resume = read_snapshot(reader)[-1].boundary.resume
    clock = Hours()
    watcher = MysqlWatcher("shop", source.settings, clock)
    assert watcher.look(None).figures == {}
    calm = watcher.look(resume)
    assert calm.alarms == () and calm.figures["log_kept_s"] == 10000
    before = calm.figures["log_behind_bytes"]
    my.run("UPDATE t SET v = 'x'", "FLUSH BINARY LOGS", "INSERT INTO t SELECT seq, 'y', 0 FROM seq_10_to_500")
    behind = watcher.look(resume)
    assert [alarm.code for alarm in behind.alarms] == ["log_budget"]
    assert behind.figures["log_behind_bytes"] > before + 1000 and behind.figures["log_behind_files"] == 1
    clock.now = 6000.0
    assert [alarm.code for alarm in watcher.look(resume).alarms] == ["log_budget", "log_nearly_purged"]
    groups = read_to_end(reader, my)
    assert watcher.look(groups[-1].boundary.resume).alarms == ()
    watcher.close()
