"""MySQL source on a real MariaDB: snapshot and stream, resuming anywhere, statements that change tables."""

import threading

import pytest
from mysql_database import read_to_end
from replay import Mirror, brief, normalised, positions, read_changes, read_snapshot, read_until, rows_of

from headwater.change import Op
from headwater.errors import SourceStopped

ORDERS = "CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, name varchar(40), price decimal(10,2), n bigint)"


def begin(my, **settings):
    """A reader past its snapshot, and the snapshot's groups."""
    reader = my.open(my.source(**settings))
    return reader, read_snapshot(reader)


def test_snapshot_then_stream_equal_the_table(my):
    my.run(ORDERS, "INSERT INTO orders (name, price) SELECT concat('n', seq), seq / 3 FROM seq_1_to_5000")
    reader, groups = begin(my)
    my.run(
        "UPDATE orders SET price = price + 1 WHERE id % 3 = 0",
        "DELETE FROM orders WHERE id % 7 = 0",
        "UPDATE orders SET id = id + 100000 WHERE id % 11 = 0",
        "REPLACE INTO orders (id, name) VALUES (5, 'replaced'), (200000, 'new')",
        "INSERT INTO orders (id, name) VALUES (5, 'x') ON DUPLICATE KEY UPDATE name = 'twice'",
    )
    groups += read_to_end(reader, my)
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")
    found = positions(groups)
    assert found == sorted(found)
    assert reader.lag_bytes() == 0


def test_writers_do_not_disturb_a_snapshot(my):
    """Rows written while the snapshot is read are in the stream or in the snapshot, never in both or neither."""
    my.run(ORDERS, "CREATE TABLE nokey (a int)", "INSERT INTO orders (n) SELECT seq FROM seq_1_to_20000")
    stop = threading.Event()

    def write():
        with my.server.connect(my.name) as connection, connection.cursor() as cursor:
            at = 0
            while not stop.is_set():
                at += 1
                cursor.execute("INSERT INTO orders (n) VALUES (%s)", (at,))
                cursor.execute("INSERT INTO nokey VALUES (%s)", (at,))
                cursor.execute("UPDATE orders SET n = -n WHERE id = %s", (at % 20000,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reader, groups = begin(my, snapshot_connections=3)
        groups += read_changes(reader, 50)
    finally:
        stop.set()
        writer.join()
    groups += read_to_end(reader, my)
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")
    held = sorted(row["a"] * row["_weight"] for row in rows_of(groups, "nokey"))
    assert held == sorted(row[0] for row in my.run("SELECT a FROM nokey"))


def test_every_row_of_a_large_event_is_read_once_wherever_reading_begins_again(my):
    """T-MY-02: groups end at commits only, so that no reading begins inside an event of many rows."""
    my.run(ORDERS)
    reader, snapshot = begin(my)
    for size in (1, 7, 300):
        my.run(
            "START TRANSACTION",
            f"INSERT INTO orders (n) SELECT seq FROM seq_1_to_{size}",
            "UPDATE orders SET n = n + 1",
            "COMMIT",
        )
    groups = read_to_end(reader, my)
    whole = positions(groups)
    for cut in [snapshot[-1], *groups]:
        again = my.open(my.source(), cut.boundary.resume)
        rest = read_to_end(again, my)
        again.close()
        read = [place for place in whole if place > cut.boundary.position]
        assert positions(rest)[: len(read)] == read


@pytest.mark.parametrize("position", ["gtid", "file"])
def test_rotation_at_every_transaction_and_restarts_lose_nothing(own_mariadb, position):
    """T-MY-01: a new file for every few events, table ids begin again after a restart, the server is killed."""
    my = own_mariadb
    my.run(ORDERS)
    reader, groups = begin(my, position=position)
    for at in range(12):
        my.run("INSERT INTO orders (n) SELECT seq FROM seq_1_to_20", "FLUSH BINARY LOGS", f"UPDATE orders SET n = {at}")
        if at % 4 == 3:
            groups += read_to_end(reader, my)
            reader.close()
            my.run("INSERT INTO orders (name) VALUES ('while away')")
            my.server.pause(immediate=at % 8 == 3)
            my.server.start()
            my.connect()
            reader = my.open(my.source(position=position), groups[-1].boundary.resume)
    groups += read_to_end(reader, my)
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")
    found = positions(groups)
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_the_position_moves_with_the_files_of_a_quiet_server(my):
    my.run(ORDERS)
    reader, groups = begin(my, heartbeat_s=0.1)
    before = groups[-1].boundary
    my.run("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    last = read_until(reader, lambda found: bool(found))[-1].boundary
    assert last.position > before.position
    assert str(last.resume["file"]) > str(before.resume["file"])


def test_a_large_transaction_comes_in_parts_that_end_with_it(my, monkeypatch):
    monkeypatch.setattr("headwater.capture.mysql.transactions.PART_BYTES", 200_000)
    my.run(ORDERS)
    reader, _ = begin(my)
    my.run(
        "START TRANSACTION",
        "INSERT INTO orders (name, n) SELECT repeat('x', 40), seq FROM seq_1_to_60000",
        "UPDATE orders SET n = -n",
        "COMMIT",
    )
    groups = read_until(reader, lambda found: bool(found) and not found[-1].more, confirm=False)
    assert len(groups) > 3
    assert [group.more for group in groups] == [True] * (len(groups) - 1) + [False]
    rows = rows_of(groups, "orders")
    assert len({row["_commit"] for row in rows}) == 1
    assert len(rows) == 120000
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")


def test_statements_that_change_tables_are_followed_between_their_rows(my):
    my.run(ORDERS, "INSERT INTO orders (name) VALUES ('before')")
    reader, groups = begin(my)
    my.run(
        "INSERT INTO orders (name) VALUES ('old')",
        "ALTER TABLE orders ADD COLUMN note varchar(10) AFTER id, DROP COLUMN price",
        "INSERT INTO orders (name, note) VALUES ('added', 'n')",
        "ALTER TABLE orders RENAME COLUMN note TO remark, MODIFY n varchar(20)",
        "INSERT INTO orders (name, remark, n) VALUES ('renamed', 'r', 'text now')",
        "CREATE TABLE fresh (k int PRIMARY KEY, v text)",
        "INSERT INTO fresh VALUES (1, 'one')",
        "CREATE TABLE copy LIKE orders",
        "INSERT INTO copy SELECT * FROM orders",
        "TRUNCATE fresh",
        "INSERT INTO fresh VALUES (2, 'two')",
        "DROP TABLE copy",
    )
    groups += read_to_end(reader, my)
    orders = [batch for group in groups for batch in group.batches if batch.stream.name == "orders"]
    inserts = [batch for batch in orders if Op.INSERT in batch.rows["_op"].to_pylist()]
    assert [batch.stream.columns.names for batch in inserts] == [
        ["id", "name", "price", "n"],
        ["id", "note", "name", "n"],
        ["id", "remark", "name", "n"],
    ]
    last = inserts[-1].rows.to_pylist()[0]
    assert (last["name"], last["remark"], last["n"]) == ("renamed", "r", "text now")
    assert normalised(groups, "fresh") == [(2, "two")]
    assert normalised(groups, "copy") == []
    names = {stream.name for stream in my.source().discover(groups[-1].boundary.resume)}
    assert names == {"orders", "fresh", "marker"}


def test_the_history_goes_on_from_the_resume_point_not_from_now(my):
    """Rows written under a definition that is gone by the time they are read."""
    my.run(ORDERS)
    reader, groups = begin(my)
    reader.close()
    my.run(
        "INSERT INTO orders (name) VALUES ('then')",
        "ALTER TABLE orders DROP COLUMN name, ADD COLUMN label int",
        "INSERT INTO orders (label) VALUES (7)",
        "ALTER TABLE orders DROP COLUMN label",
    )
    again = my.open(my.source(), groups[-1].boundary.resume)
    rows = rows_of(read_to_end(again, my), "orders")
    assert [row.get("name", row.get("label")) for row in rows] == ["then", 7]


def test_a_change_outside_of_the_binary_log_stops_with_the_table_named(my):
    """T-MY-04: sql_log_bin = 0."""
    my.run(ORDERS)
    reader, _ = begin(my)
    my.run("SET sql_log_bin = 0", "ALTER TABLE orders ADD COLUMN hidden int", "SET sql_log_bin = 1")
    my.run("INSERT INTO marker VALUES ()", "INSERT INTO orders (name) VALUES ('x')")
    with pytest.raises(
        SourceStopped, match=r"orders is not what the schema history says: rows have 5 columns"
    ) as error:
        read_until(reader, lambda groups: False)
    assert "resnapshot" in error.value.hint


def test_rows_before_what_stops_us_are_handed_over(my):
    my.run(ORDERS)
    reader, _ = begin(my)
    my.run("INSERT INTO orders (name) VALUES ('kept')", "SET SESSION binlog_format = 'STATEMENT'")
    my.run("INSERT INTO orders (name) VALUES ('as a statement')")
    my.run("SET SESSION binlog_format = 'ROW'")
    groups = []
    with pytest.raises(SourceStopped, match="changed by a statement that the binlog holds instead of the rows"):
        while True:
            group = reader.poll(1.0)
            groups += [group] if group else []
    assert brief(rows_of(groups, "orders"), "name") == [("INSERT", 1, "kept")]


def test_savepoints_and_rollbacks(my):
    my.run(ORDERS, "CREATE TABLE slow (a int) ENGINE = MyISAM")
    reader, groups = begin(my)
    my.run(
        "START TRANSACTION",
        "INSERT INTO orders (name) VALUES ('stays')",
        "SAVEPOINT here",
        "INSERT INTO orders (name) VALUES ('goes')",
        "INSERT INTO slow VALUES (1)",
        "ROLLBACK TO here",
        "INSERT INTO orders (name) VALUES ('stays too')",
        "COMMIT",
        "START TRANSACTION",
        "INSERT INTO orders (name) VALUES ('never')",
        "INSERT INTO slow VALUES (2)",
        "ROLLBACK",
    )
    groups += read_to_end(reader, my)
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")
    assert sorted(row["a"] for row in rows_of(groups, "slow")) == [1, 2]


def test_xa_transactions_count_when_they_are_committed(my):
    my.run(ORDERS)
    reader, groups = begin(my)

    def prepared(name, value):
        other = my.server.connect(my.name)
        with other.cursor() as cursor:
            for statement in (
                f"XA START '{name}'",
                f"INSERT INTO orders (name) VALUES ('{value}')",
                f"XA END '{name}'",
            ):
                cursor.execute(statement)
            cursor.execute(f"XA PREPARE '{name}'")
        other.close()

    prepared("one", "committed late")
    prepared("two", "rolled back")
    my.run("INSERT INTO orders (name) VALUES ('between')")
    groups += read_to_end(reader, my)
    assert [row["name"] for row in rows_of(groups, "orders")] == ["between"]
    again = my.open(my.source(server_id=77), groups[-1].boundary.resume)
    my.run("XA COMMIT 'one'", "XA ROLLBACK 'two'", "INSERT INTO orders (name) VALUES ('after')")
    for one in (reader, again):
        late = read_to_end(one, my)
        assert [row["name"] for row in rows_of(late, "orders")] == ["committed late", "after"]
        assert Mirror().apply([*groups, *late]).tables["orders"] == my.rows("orders")


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_minimal_row_images_leave_out_what_did_not_change(my, image):
    my.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text, c varchar(9) DEFAULT 'none')",
        "CREATE TABLE k (a int, b text)",
    )
    reader, groups = begin(my)
    my.run(
        f"SET SESSION binlog_row_image = '{image}'",
        "INSERT INTO t (id, a, b) VALUES (1, 1, 'long'), (2, 2, 'other')",
        "UPDATE t SET a = 10 WHERE id = 1",
        "UPDATE t SET id = 3 WHERE id = 2",
        "INSERT INTO k VALUES (1, 'x'), (2, 'y')",
        "UPDATE k SET a = 5 WHERE a = 1",
        "DELETE FROM k WHERE a = 2",
        "DELETE FROM t WHERE id = 3",
        "SET SESSION binlog_row_image = 'FULL'",
    )
    groups += read_to_end(reader, my)
    assert Mirror().apply(groups).tables["t"] == my.rows("t")
    held = {}
    for row in rows_of(groups, "k"):
        held[row["a"], row["b"]] = held.get((row["a"], row["b"]), 0) + row["_weight"]
    assert {key for key, count in held.items() if count} == {(5, "x")}


def test_sequences_and_views_are_no_tables(my):
    my.run(ORDERS, "CREATE SEQUENCE numbers")
    reader, groups = begin(my)
    my.run("CREATE SEQUENCE more", "SELECT nextval(numbers), nextval(more)", "CREATE VIEW v AS SELECT 1")
    groups += read_to_end(reader, my)
    assert {batch.stream.name for group in groups for batch in group.batches} == {"marker"}


def test_a_snapshot_whose_place_is_lost_begins_again(own_mariadb):
    """What the log holds of the first attempt is emptied, at positions that go on rising."""
    my = own_mariadb
    my.run(ORDERS, "INSERT INTO orders (n) SELECT seq FROM seq_1_to_1000")
    reader = my.open(my.source())
    first = reader.poll(1.0)
    reader.close()
    my.run("DELETE FROM orders WHERE id <= 500", "RESET MASTER")
    again = my.open(my.source(), first.boundary.resume)
    groups = [first, *read_snapshot(again), *read_to_end(again, my)]
    assert Mirror().apply(groups).tables["orders"] == my.rows("orders")
    assert Op.TRUNCATE in {row["_op"] for row in rows_of(groups, "orders")}
    assert positions(groups) == sorted(positions(groups))
