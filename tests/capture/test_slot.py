"""What can be wrong with a server, role, publication or slot: each has a named error and the command that mends it."""

import pytest
from replay import read_changes, read_snapshot, read_until, rows_of

from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.postgres.resume import lsn_of
from headwater.errors import SourceStopped, SourceUnavailable
from headwater.testing.postgres import PostgresServer

TABLE = "CREATE TABLE orders (id int PRIMARY KEY)"


def stopped(call, *arguments):
    """The SourceStopped that the call raises."""
    with pytest.raises(SourceStopped) as caught:
        call(*arguments)
    assert caught.value.hint
    return caught.value


def captured_once(db, **settings):
    """A source whose snapshot is through, closed again, and where it stood."""
    db.run(TABLE, "INSERT INTO orders VALUES (1)")
    source = db.source(**settings)
    reader = db.open(source)
    boundary = read_snapshot(reader)[-1].boundary
    reader.close()
    return source, boundary


def test_check_says_what_opening_will_do(db):
    db.run(TABLE, "CREATE TABLE history (x int)")
    source = db.source()
    said = "\n".join(source.check())
    assert "public.history, public.orders" in said and "CREATE PUBLICATION" in said and "will be made" in said
    assert "history has no primary key" in said and "REPLICA IDENTITY FULL" in said
    read_snapshot(db.open(source))
    assert "will be made" not in "\n".join(source.check())
    assert [stream.name for stream in source.discover()] == ["history", "orders"]


def test_dropped_slot(db):
    source, boundary = captured_once(db)
    db.run(f"SELECT pg_drop_replication_slot('{source.slot}')")
    error = stopped(source.open, boundary.resume)
    assert "is gone" in error.message and "headwater source resnapshot shop" in error.hint


def test_slot_dropped_while_streaming(db):
    source, boundary = captured_once(db)
    reader = db.open(source, boundary.resume)
    db.run(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{source.slot}'")
    with pytest.raises(SourceUnavailable):
        read_changes(reader, 1)
    db.run(f"SELECT pg_drop_replication_slot('{source.slot}')")
    assert "is gone" in stopped(source.open, boundary.resume).message


def test_slot_ahead_of_the_log(db):
    source, boundary = captured_once(db)
    db.run("INSERT INTO orders VALUES (2)")
    db.run(f"SELECT pg_replication_slot_advance('{source.slot}', pg_current_wal_lsn())")
    error = stopped(source.open, boundary.resume)
    assert "ahead of the log" in error.message and "headwater source accept-gap shop" in error.hint


def test_server_behind_the_log(db):
    source, boundary = captured_once(db)
    resume = {**boundary.resume, "lsn": lsn_text(lsn_of(boundary.resume) + (1 << 40))}
    assert "restored from a backup" in stopped(source.open, resume).message


def test_another_cluster_or_database(db):
    source, boundary = captured_once(db)
    assert "another database" in stopped(source.open, {**boundary.resume, "system": "1"}).message
    assert "another database" in stopped(source.open, {**boundary.resume, "snapshot": "running", "system": "1"}).message


def test_slot_of_another_plugin(db):
    source, boundary = captured_once(db)
    db.run(f"SELECT pg_drop_replication_slot('{source.slot}')")
    db.run(f"SELECT pg_create_logical_replication_slot('{source.slot}', 'test_decoding')")
    assert "not ours" in stopped(source.open, boundary.resume).message


def test_slot_in_use(db, monkeypatch):
    monkeypatch.setattr("headwater.capture.postgres.source.SLOT_FREE_WAIT_S", 0.2)
    source, boundary = captured_once(db)
    db.open(source, boundary.resume)
    with pytest.raises(SourceUnavailable, match="another process"):
        source.open(boundary.resume)


def test_invalidated_slot():
    with PostgresServer(
        settings={"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    ) as server:
        from source_database import make_database

        db = make_database(server)
        source, boundary = captured_once(db)
        for _ in range(4):
            db.run(
                "SELECT pg_switch_wal()",
                "CREATE TABLE IF NOT EXISTS w (x int)",
                "INSERT INTO w VALUES (1)",
                "CHECKPOINT",
            )
        error = stopped(source.open, boundary.resume)
        assert "gave replication slot" in error.message and "max_slot_wal_keep_size" in error.hint
        db.close()


def test_existing_slot_of_the_users_choice(db):
    db.run(TABLE, "SELECT pg_create_logical_replication_slot('mine_" + db.name + "', 'pgoutput')")
    name = f"mine_{db.name}"
    error = stopped(db.source(slot=name).open, None)
    assert "exists already" in error.message and f"pg_drop_replication_slot('{name}')" in error.hint
    assert "exists already" in stopped(db.source(identity="", slot=name).open, None).message
    db.run(f"SELECT pg_drop_replication_slot('{name}')")


def test_missing_table(db):
    db.run(TABLE)
    error = stopped(db.source(tables=("public.oders",)).check)
    assert "public.oders" in error.message and "did you mean 'public.orders'?" in error.hint
    assert "has no tables" in stopped(db.source(tables=("nope.*",), url=db.server.url("template1")).check).hint
    assert "every table is excluded" in stopped(db.source(tables=("*", "!orders")).check).message


def test_captured_table_gone(db):
    source, boundary = captured_once(db)
    db.run("CREATE TABLE order2 (id int)")
    db.run("ALTER TABLE orders RENAME TO purchases")
    assert "renamed to public.purchases" in stopped(source.open, boundary.resume).message
    db.run("DROP TABLE purchases")
    error = stopped(source.open, boundary.resume)
    assert "public.orders is gone" in error.message and "did you mean 'public.order2'?" in error.hint
    db.run("ALTER PUBLICATION " + source.publication + " ADD TABLE order2", TABLE)
    assert "dropped and made again" in stopped(source.open, boundary.resume).message


def test_publication_gone_or_lacking(db):
    source, boundary = captured_once(db)
    db.run(f"CREATE TABLE other (id int PRIMARY KEY); ALTER PUBLICATION {source.publication} SET TABLE other")
    error = stopped(source.open, boundary.resume)
    assert "does not publish captured table public.orders" in error.message and "accept-gap" in error.hint
    db.run(f"DROP PUBLICATION {source.publication}")
    assert "is gone" in stopped(source.open, boundary.resume).message
    db.run("CREATE PUBLICATION mine FOR TABLE other")
    assert "ADD TABLE" in stopped(db.source(publication="mine").check).hint
    db.run("CREATE PUBLICATION part FOR TABLE orders, other WITH (publish = 'insert')")
    assert "SET (publish" in stopped(db.source(publication="part").check).hint


def test_what_will_be_done_about_a_new_table_is_told(db):
    source, _ = captured_once(db)
    db.run("CREATE TABLE later (id int PRIMARY KEY)")
    assert "ADD TABLE" in "\n".join(source.check())


def test_two_tables_for_one_stream(db):
    db.run("CREATE TABLE sales_orders (id int)", "CREATE SCHEMA sales", "CREATE TABLE sales.orders (id int)")
    assert "both feed the stream 'sales_orders'" in stopped(db.source(tables=("*.*",)).check).message
    db.run("DROP TABLE sales_orders", "CREATE TABLE odd (_op int)")
    assert "'_op'" in stopped(db.source(tables=("*.*",)).check).message


def test_unlogged_table(db):
    db.run("CREATE UNLOGGED TABLE fast (id int)")
    assert "SET LOGGED" in stopped(db.source().check).hint


def test_missing_rights(db):
    user = f"weak_{db.name}"
    db.run(TABLE, f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    url = db.url.replace("postgres@", f"{user}:secret@")
    assert f'ALTER ROLE "{user}" REPLICATION' in stopped(db.source(url=url).check).hint
    db.run(f"ALTER ROLE {user} REPLICATION")
    assert "GRANT SELECT ON" in stopped(db.source(url=url).check).hint
    db.run(f"GRANT SELECT ON orders TO {user}")
    assert 'CREATE PUBLICATION "headwater_' in stopped(db.source(url=url).check).hint
    db.run(f"CREATE PUBLICATION headwater_{db.name}_shop FOR TABLE orders")
    assert db.source(url=url).check()
    assert rows_of(read_snapshot(db.open(db.source(url=url))), "orders") == []
    db.run("CREATE TABLE hidden (id int)", f"GRANT SELECT ON hidden TO {user}")
    assert "ADD TABLE" in stopped(db.source(url=url).check).hint


def test_wal_level():
    with PostgresServer(settings={"wal_level": "replica"}) as server:
        from source_database import make_database

        db = make_database(server)
        db.run(TABLE)
        error = stopped(db.source().check)
        assert "wal_level is 'replica'" in error.message and "ALTER SYSTEM SET wal_level = 'logical'" in error.hint
        db.close()


def test_refused_connections_never_show_the_password(db):
    db.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'", f"CREATE ROLE p_{db.name} LOGIN PASSWORD 'right'")
    port = db.server.port
    hba = db.server.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"host all p_{db.name} 127.0.0.1/32 scram-sha-256\n" + before)
    db.run("SELECT pg_reload_conf()")
    try:
        wrong = f"postgresql://p_{db.name}:hunter2@127.0.0.1:{port}/{db.name}"
        for url in (wrong, wrong.replace(db.name + "?", "x"), f"postgresql://postgres:hunter2@127.0.0.1:{port}/nodb"):
            error = stopped(db.source(url=url).check)
            assert "hunter2" not in repr(error) + str(error) + error.hint
        assert "authentication failed" in stopped(db.source(url=wrong).check).message
        bad = stopped(db.source(url="postgresq://u:hunter2@h/x").check)
        assert "hunter2" not in str(bad) and bad.__cause__ is None
        with pytest.raises(SourceUnavailable) as refused:
            db.source(url="postgresql://u:hunter2@127.0.0.1:1/x").check()
        assert "hunter2" not in str(refused.value)
    finally:
        hba.write_text(before)
        db.run("SELECT pg_reload_conf()")


def test_the_lag_counts_what_the_server_has_not_begun_to_send(db):
    source, boundary = captured_once(db)
    db.run("INSERT INTO orders SELECT generate_series(2, 200000)")
    reader = db.open(source, boundary.resume)
    assert reader.lag_bytes() > 200_000 * 30
    groups = read_changes(reader, 199_999)
    assert len(rows_of(groups, "orders")) == 199_999
    read_until(reader, lambda _: reader.lag_bytes() == 0)
