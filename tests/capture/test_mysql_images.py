"""Row images and log formats of a real MariaDB: full, minimal and noblob images, changed keys, tables without a key,
compressed logs, checksums off. What the stream says, applied to what was there, equals the table."""

import binlog_reading as log
import numpy as np
import pytest
from test_mysql_types import run

from headwater.capture.mysql import events, rows
from headwater.change import Op
from headwater.errors import SourceStopped
from headwater.testing.mariadb import MariaDbServer

TABLE = "(id int PRIMARY KEY, a int DEFAULT 5, b varchar(20) DEFAULT 'x''y', c text, d decimal(5,2) DEFAULT 1.50)"
CHANGES = (
    "INSERT INTO {} VALUES (1, 1, 'one', 'text', 1), (2, 2, 'two', NULL, 2), (3, NULL, NULL, 'long', NULL)",
    "INSERT INTO {} (id) VALUES (4)",
    "UPDATE {} SET a = a + 1 WHERE id <= 2",
    "UPDATE {} SET c = 'other' WHERE id = 3",
    "UPDATE {} SET id = id + 10 WHERE id = 2",
    "DELETE FROM {} WHERE id = 1",
    "UPDATE {} SET a = 7, b = NULL WHERE id = 12",
)


@pytest.fixture(scope="module")
def connection(mariadb):
    made = mariadb.connect()
    run(made, "CREATE DATABASE images", "FLUSH BINARY LOGS")
    made.select_db("images")
    yield made
    made.close()


def applied(found, width):
    """The table after the changes, by its key, as the normaliser has it: what is unchanged comes from the row before,
    of a changed key from the row of the old key."""
    table, gone = {}, (0, 0, None)
    batch = found.batch.rows
    for row in batch.to_pylist():
        values = [row[name] for name in batch.schema.names[6:]]
        if row["_weight"] < 0:
            gone = row["_commit"], row["_ordinal"], table.pop(values[0])
            continue
        unchanged = int.from_bytes(row["_unchanged"] or b"", "little")
        moved = gone[2] if gone[:2] == (row["_commit"], row["_ordinal"]) else None
        old = moved or table.get(values[0], [None] * width)
        table[values[0]] = [old[i] if unchanged >> i & 1 else value for i, value in enumerate(values)]
    return table


@pytest.mark.parametrize("image", ("FULL", "MINIMAL", "NOBLOB"))
def test_row_images(mariadb, connection, image):
    name = f"image_{image.lower()}"
    run(connection, f"CREATE TABLE {name} {TABLE}", f"SET binlog_row_image = '{image}'")
    run(connection, *(change.format(name) for change in CHANGES), "SET binlog_row_image = 'FULL'")
    layout = log.layout_of(connection, "images", name, ["id"])
    logged = log.read_log(log.newest_log(mariadb)).of(name)
    table = applied(log.decoded(layout, logged), 5)
    snapshot = log.selected(connection, layout).batch.rows
    assert table == {row["id"]: [row[field] for field in snapshot.schema.names[6:]] for row in snapshot.to_pylist()}
    sent = {bytes(logged.buffer[begin + 9 : begin + 10]) for begin in logged.begins.tolist()}
    assert (sent == {b"\x1f"}) == (image == "FULL")


def test_a_default_that_is_not_known_stops(mariadb, connection):
    run(connection, "CREATE TABLE unsaid (id int PRIMARY KEY, a int DEFAULT 5)", "SET binlog_row_image = 'MINIMAL'")
    run(connection, "INSERT INTO unsaid (id) VALUES (1)", "SET binlog_row_image = 'FULL'")
    layout = log.layout_of(connection, "images", "unsaid", ["id"])
    logged = log.read_log(log.newest_log(mariadb)).of("unsaid")
    object.__setattr__(layout.table.columns[1], "default_known", False)
    if logged.buffer[int(logged.begins[0]) + 9] == 3:
        pytest.skip("this server writes all columns of an insert")
    with pytest.raises(SourceStopped, match="leaves out column 'a'") as caught:
        log.decoded(layout, logged)
    assert "binlog_row_image = 'FULL'" in caught.value.hint


def test_a_changed_key_is_a_deletion_and_a_new_row(mariadb, connection):
    run(connection, f"CREATE TABLE moved {TABLE}", "INSERT INTO moved (id) VALUES (1), (2)")
    run(connection, "UPDATE moved SET id = id + 10 ORDER BY id DESC")
    layout = log.layout_of(connection, "images", "moved", ["id"])
    found = log.decoded(layout, log.read_log(log.newest_log(mariadb)).of("moved"))
    ops = [(row["_op"], row["_weight"], row["id"], row["_ordinal"]) for row in found.batch.rows.to_pylist()[2:]]
    assert ops == [
        (Op.DELETE, -1, 2, 0),
        (Op.UPDATE, 1, 12, 0),
        (Op.DELETE, -1, 1, 1),
        (Op.UPDATE, 1, 11, 1),
    ]
    assert found.records == 4


@pytest.mark.parametrize("image", ("FULL", "MINIMAL", "NOBLOB"))
def test_a_table_without_a_key_has_both_rows_whole(mariadb, connection, image):
    name = f"keyless_{image.lower()}"
    run(connection, f"CREATE TABLE {name} (a int, b varchar(9), c text)", f"SET binlog_row_image = '{image}'")
    run(connection, f"INSERT INTO {name} VALUES (1, 'x', 'y'), (1, 'x', 'y')", f"UPDATE {name} SET a = 2 LIMIT 1")
    run(connection, f"DELETE FROM {name} WHERE a = 1", "SET binlog_row_image = 'FULL'")
    layout = log.layout_of(connection, "images", name, [])
    found = log.decoded(layout, log.read_log(log.newest_log(mariadb)).of(name)).batch.rows.to_pylist()
    assert [(row["_weight"], row["a"], row["b"], row["c"]) for row in found] == [
        (1, 1, "x", "y"),
        (1, 1, "x", "y"),
        (-1, 1, "x", "y"),
        (1, 2, "x", "y"),
        (-1, 1, "x", "y"),
    ]


def test_a_compressed_log_and_one_without_checksums_read_the_same():
    settings = {"log-bin-compress": "ON", "log-bin-compress-min-len": "10", "binlog-checksum": "NONE"}
    with MariaDbServer(settings=settings) as server, server.connect() as connection:
        run(connection, "CREATE DATABASE images")
        connection.select_db("images")
        run(connection, f"CREATE TABLE t {TABLE}", *(change.format("t") for change in CHANGES))
        run(connection, "INSERT INTO t (id, c) SELECT seq + 100, REPEAT('z', 100) FROM seq_1_to_5000")
        data = log.newest_log(server)
        buffer = np.frombuffer(data, np.uint8)
        begins, _ = events.split(buffer, 4)
        raw = set(buffer[begins + 4].tolist())
        assert {165, 166, 167, 168} <= raw
        found = events.scan(buffer, *events.split(buffer, 4), checksum=False)
        assert set(found.types.tolist()) & raw == raw - {165, 166, 167, 168}
        assert int(found.sizes.sum()) == len(data) - 4
        layout = log.layout_of(connection, "images", "t", ["id"])
        table = applied(log.decoded(layout, log.gather(found).of("t")), 5)
        snapshot = log.selected(connection, layout).batch.rows
        assert len(table) == 5003
        assert table == {row["id"]: [row[field] for field in snapshot.schema.names[6:]] for row in snapshot.to_pylist()}


def test_a_table_of_another_width_stops(mariadb, connection):
    run(connection, "CREATE TABLE narrow (id int PRIMARY KEY)", "INSERT INTO narrow VALUES (1)")
    logged = log.read_log(log.newest_log(mariadb)).of("narrow")
    run(connection, "ALTER TABLE narrow ADD COLUMN a int")
    with pytest.raises(SourceStopped, match="has 2 columns here and 1 in the binlog"):
        log.decoded(log.layout_of(connection, "images", "narrow", ["id"]), logged)


def test_a_truncation_is_one_record():
    batch = rows.truncation(log.Layout(log.Table("d", "t", (log.describe("a", "int", None),)), (0,), 1), 7, 3, None)
    assert batch.rows.select(["_op", "_weight", "_commit", "_ordinal"]).to_pylist() == [
        {"_op": Op.TRUNCATE, "_weight": -1, "_commit": 7, "_ordinal": 3}
    ]
