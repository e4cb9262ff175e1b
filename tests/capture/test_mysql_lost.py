"""T-MY-03 and the ways of losing the place in a binary log: each stops with its name, and both ways out lead on."""

import time

import pytest
from mysql_database import MysqlDatabase, read_to_end
from replay import Mirror, positions, read_snapshot, read_until, rejects_of, rows_of

from headwater.capture.request import Request
from headwater.errors import PositionLost, SourceStopped
from headwater.testing.mariadb import MariaDbServer

T = "CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, n int)"


def begun(my, **settings):
    """A source whose log ends somewhere: its settings' groups so far."""
    my.run(T, "INSERT INTO t (n) VALUES (1), (2), (3)")
    reader = my.open(my.source(**settings))
    groups = read_snapshot(reader)
    my.run("UPDATE t SET n = n + 1")
    groups += read_to_end(reader, my)
    reader.close()
    return groups


@pytest.fixture(params=["gtid", "file"])
def position(request):
    return request.param


def lost(my, resume, **settings):
    """What opening again says, and what `examine` says of it."""
    source = my.source(**settings)
    with pytest.raises(PositionLost) as caught:
        read_until(my.open(source, resume), lambda groups: False)
    assert "headwater source resnapshot shop" in caught.value.hint
    assert "headwater source accept-gap shop" in caught.value.hint
    return caught.value


def both_ways_lead_on(my, groups, cause, **settings):
    """A new snapshot makes the mirror whole; an accepted gap is an entry in the ledger, and reading goes on."""
    resume = groups[-1].boundary.resume
    accepted = my.open(my.source(**settings), resume, Request("d1", "accept_gap", cause=cause))
    my.run("INSERT INTO t (n) VALUES (77)")
    after = read_to_end(accepted, my)
    accepted.close()
    assert [row["stage"] for row in rejects_of(after)] == ["gap"]
    assert rejects_of(after)[0]["reason"] == cause
    assert 77 in [row["n"] for row in rows_of(after, "t")]
    assert positions([*groups, *after]) == sorted(positions([*groups, *after]))
    again = my.open(my.source(**settings), resume, Request("d2", "resnapshot"))
    whole = [*groups, *read_snapshot(again), *read_to_end(again, my)]
    again.close()
    assert Mirror().apply(whole).tables["t"] == my.rows("t")
    assert whole[-1].boundary.resume["decided"] == "d2"
    assert positions(whole) == sorted(positions(whole))


def purge(my):
    """Purges all files but the last, once the server has noticed that we read none of them any more."""
    last = my.run("SHOW BINARY LOGS")[-1][0]
    deadline = time.monotonic() + 60
    while my.run(f"PURGE BINARY LOGS TO '{last}'", "SHOW BINARY LOGS")[0][0] != last:
        assert time.monotonic() < deadline
        my.run("INSERT INTO marker VALUES ()")


def test_purged_binary_logs(own_mariadb, position):
    my = own_mariadb
    groups = begun(my, position=position)
    my.run("UPDATE t SET n = n + 10", "FLUSH BINARY LOGS", "UPDATE t SET n = n + 100", "FLUSH BINARY LOGS")
    purge(my)
    error = lost(my, groups[-1].boundary.resume, position=position)
    assert error.cause == "log_purged"
    both_ways_lead_on(my, groups, "log_purged", position=position)


def test_reset_master(own_mariadb, position):
    my = own_mariadb
    groups = begun(my, position=position)
    my.run("RESET MASTER", "UPDATE t SET n = n + 10")
    assert lost(my, groups[-1].boundary.resume, position=position).cause == "server_behind"
    both_ways_lead_on(my, groups, "server_behind", position=position)


def test_another_server_by_file(own_mariadb):
    my = own_mariadb
    groups = begun(my, position="file")
    with MariaDbServer() as other:
        there = MysqlDatabase(other, my.name)
        there.run("CREATE TABLE marker (id int AUTO_INCREMENT PRIMARY KEY)", T, "INSERT INTO t (n) VALUES (9)")
        error = lost(there, groups[-1].boundary.resume, position="file")
        assert error.cause == "other_server"
        both_ways_lead_on(there, groups, "other_server", position="file")
        there.close()


def test_another_server_by_gtid_lacks_our_transactions(own_mariadb):
    my = own_mariadb
    groups = begun(my, position="gtid")
    with MariaDbServer() as other:
        there = MysqlDatabase(other, my.name)
        assert lost(there, groups[-1].boundary.resume, position="gtid").cause == "server_behind"
        there.close()


def replicate(primary, replica):
    """Lets one server follow another by GTID, and waits until it has caught up."""
    with replica.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='root', "
            "MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1"
        )
        cursor.execute("START SLAVE")
    caught_up(primary, replica)


def caught_up(primary, replica):
    with primary.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@gtid_binlog_pos")
        (wanted,) = cursor.fetchone()
    with replica.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT MASTER_GTID_WAIT(%s, 30)", (wanted,))
        assert cursor.fetchone() == (0,)


def test_failover_to_a_replica_with_other_file_names(own_mariadb):
    my = own_mariadb
    settings = {"server-id": "2", "log-bin": "other-name"}
    with MariaDbServer(settings=settings) as replica:
        replicate(my.server, replica)
        my.run(*["FLUSH NO_WRITE_TO_BINLOG BINARY LOGS"] * 5)
        groups = begun(my)
        my.run("UPDATE t SET n = n * 7", "INSERT INTO t (n) VALUES (100)")
        caught_up(my.server, replica)
        my.server.pause(immediate=True)
        there = MysqlDatabase(replica, my.name)
        there.run("STOP SLAVE", "FLUSH BINARY LOGS", "INSERT INTO t (n) VALUES (200)")
        reader = there.open(there.source(), groups[-1].boundary.resume)
        groups += read_to_end(reader, there)
        assert Mirror().apply(groups).tables["t"] == there.rows("t")
        found = positions(groups)
        assert found == sorted(found)
        assert len(set(found)) == len(found)
        assert str(groups[-1].boundary.resume["file"]).startswith("other-name.")
        there.close()


def test_several_gtid_domains_each_keep_their_place(own_mariadb):
    """Multi-source: transactions of another domain, interleaved; reading begins again between any two of them."""
    my = own_mariadb
    my.run(T)
    reader = my.open(my.source())
    groups = read_snapshot(reader)
    for at in range(6):
        my.run(f"SET SESSION gtid_domain_id = {at % 3}", f"INSERT INTO t (n) VALUES ({at})")
    my.run("SET SESSION gtid_domain_id = 0")
    groups += read_to_end(reader, my)
    reader.close()
    assert str(groups[-1].boundary.resume["gtid"]).count(",") == 2
    for group in groups:
        again = my.open(my.source(), group.boundary.resume)
        rest = read_to_end(again, my)
        again.close()
        before = [row["n"] for row in rows_of(groups, "t") if row["_commit"] <= group.boundary.position.commit]
        assert before + [row["n"] for row in rows_of(rest, "t")] == list(range(6))


def test_a_rival_with_our_server_id_is_named(own_mariadb):
    my = own_mariadb
    my.run(T)
    ours = my.open(my.source(server_id=4711))
    read_snapshot(ours)
    ours.poll(0.1)
    rival = my.open(my.source(name="rival", server_id=4711))
    read_snapshot(rival)
    rival.poll(0.1)
    with pytest.raises(SourceStopped, match="server_id 4711") as caught:
        read_until(ours, lambda groups: False)
    assert "server_id: N" in caught.value.hint


def test_our_own_connection_left_by_a_crash_is_no_rival(own_mariadb):
    my = own_mariadb
    groups = begun(my)
    left = my.open(my.source(), groups[-1].boundary.resume)
    left.poll(0.1)
    again = my.open(my.source(), groups[-1].boundary.resume)
    my.run("INSERT INTO t (n) VALUES (5)")
    assert 5 in [row["n"] for row in rows_of(read_to_end(again, my), "t")]


def test_a_silent_server_is_taken_for_dead(own_mariadb, monkeypatch):
    import os
    import signal

    from headwater.errors import SourceUnavailable

    my = own_mariadb
    monkeypatch.setattr("headwater.capture.mysql.stream.SILENCE_MIN_S", 0.5)
    groups = begun(my)
    reader = my.open(my.source(heartbeat_s=0.2), groups[-1].boundary.resume)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        reader.poll(0.1)  # heartbeats keep it alive
    os.kill(my.server._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(SourceUnavailable, match="not even a heartbeat"):
            read_until(reader, lambda groups: False)
    finally:
        os.kill(my.server._process.pid, signal.SIGCONT)
