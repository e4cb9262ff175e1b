"""Every type of MariaDB at its edges: what the binlog's bytes become equals what a SELECT becomes, bit by bit."""

import binlog_reading as log
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mysql_values import KINDS, Kind, text

from headwater.capture.mysql import rows
from headwater.capture.mysql.types import label_text
from headwater.errors import UserError
from headwater.testing.mariadb import MariaDbServer

pytestmark = pytest.mark.xdist_group("mysql_types")


@pytest.fixture(scope="module")
def connection(mariadb):
    made = mariadb.connect()
    with made.cursor() as cursor:
        cursor.execute("CREATE DATABASE types")
        cursor.execute("SET sql_mode = '', time_zone = '+00:00'")
        cursor.execute("SET NAMES utf8mb4")
        cursor.execute("FLUSH BINARY LOGS")
    made.select_db("types")
    yield made
    made.close()


def run(connection, *statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def fill(connection, number, kind):
    """A table of the kind's values: id 1, 2, ... for the edges, then null, then from 1000 the misfits."""
    name = f"kind_{number}"
    run(connection, f"CREATE TABLE {name} (id int PRIMARY KEY, v {kind.sql})")
    rows = [f"({i}, {value})" for i, value in enumerate((*kind.edges, "NULL"), 1)]
    run(connection, f"INSERT INTO {name} VALUES {', '.join(rows)}")
    for i, value in enumerate(kind.misfits, 1000):
        run(connection, f"INSERT INTO {name} VALUES ({i}, {value})")
    return name


@pytest.fixture(scope="module")
def filled(mariadb, connection):
    """All kinds as tables, and the log that they made."""
    names = [fill(connection, number, kind) for number, kind in enumerate(KINDS)]
    return names, log.read_log(log.newest_log(mariadb))


def raw(array):
    """A column's bits: float and decimal compare by them, so -0 differs from 0."""
    if pa.types.is_float64(array.type):
        return array.view(pa.int64())
    return array.view(pa.int32()) if pa.types.is_float32(array.type) else array


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.sql[:40] for kind in KINDS])
def test_stream_equals_snapshot(filled, connection, number):
    names, logged = filled
    kind = KINDS[number]
    layout = log.layout_of(connection, "types", names[number], ["id"])
    stream, snapshot = log.decoded(layout, logged.of(names[number])), log.selected(connection, layout)
    streamed, read = log.column(stream, "v"), log.column(snapshot, "v")
    assert streamed.type == kind.arrow
    assert raw(streamed).equals(raw(read)), (streamed, read)
    streamed.validate(full=True)
    assert streamed.null_count == 1 + len(kind.misfits)
    assert log.column(stream, "id").to_pylist() == [
        *range(1, len(kind.edges) + 2),
        *range(1000, 1000 + len(kind.misfits)),
    ]
    for found in (stream, snapshot):
        assert [reject["key"] for reject in found.rejects] == [f'["{1000 + i}"]' for i in range(len(kind.misfits))]
        assert found.records == len(kind.edges) + 1 + len(kind.misfits)


@pytest.mark.parametrize("number", [i for i, kind in enumerate(KINDS) if kind.misfits or "decimal" in kind.sql])
def test_as_text_is_what_the_server_prints(filled, connection, number):
    names, logged = filled
    layout = log.layout_of(connection, "types", names[number], ["id"], as_text=["v"])
    stream, snapshot = log.decoded(layout, logged.of(names[number])), log.selected(connection, layout)
    printed = [row[0] for row in run(connection, f"SELECT CAST(v AS CHAR) FROM {names[number]} ORDER BY id")]
    assert log.column(stream, "v").to_pylist() == printed
    assert log.column(snapshot, "v").to_pylist() == printed
    assert not stream.rejects and not snapshot.rejects


def test_rejects_are_whole_and_decode_once_more(filled, connection):
    number = next(i for i, kind in enumerate(KINDS) if kind.sql == "datetime(3)")
    name, logged = filled[0][number], filled[1]
    layout = log.layout_of(connection, "types", name, ["id"])
    as_text = log.layout_of(connection, "types", name, ["id"], as_text=["v"])
    for found in (log.decoded(layout, logged.of(name)), log.selected(connection, layout)):
        (reject, *_) = found.rejects
        assert reject["stage"] == "decode" and reject["reason"] == "value_out_of_range"
        assert f"text_columns: ['{name}.v']" in reject["message"]
        assert rows.as_text(reject["record"]) == [{"id": "1000", "v": "0000-00-00 00:00:00.000", "_weight": 1}]
        again = rows.decode_record(rows.record.unframe(reject["record"]), as_text).rows
        assert again.column("v").to_pylist() == ["0000-00-00 00:00:00.000"]
        assert reject["position"] == f"{again.column('_commit')[0].as_py()}:{again.column('_ordinal')[0].as_py()}"
        with pytest.raises(UserError, match=f"text_columns: \\['{name}.v'\\]"):
            rows.decode_record(rows.record.unframe(reject["record"]), layout)


def test_a_rejected_row_stays_marked_unless_its_key_is_the_misfit(mariadb, connection):
    run(connection, "CREATE TABLE marked (d date, n int, PRIMARY KEY (d, n), t time)")
    run(connection, "INSERT INTO marked VALUES ('2020-01-01', 1, '-1:00:00'), ('0000-00-00', 2, '01:00:00')")
    run(connection, "UPDATE marked SET d = '2020-05-05' WHERE n = 2", "UPDATE marked SET t = '02:00:00' WHERE n = 1")
    layout = log.layout_of(connection, "types", "marked", ["n", "d"])
    found = log.decoded(layout, log.read_log(log.newest_log(mariadb)).of("marked"))
    assert [reject["key"] for reject in found.rejects] == [
        '["1", "2020-01-01"]',
        '["2", "0000-00-00"]',
        '["2", "0000-00-00"]',
    ]
    assert [reject["weight"] for reject in found.rejects] == [1, 1, -1]
    kept = [(row["n"], row["_weight"], row["_unchanged"], str(row["t"])) for row in found.batch.rows.to_pylist()]
    assert kept == [(1, 1, b"\x20", "None"), (2, 1, None, "01:00:00"), (1, 1, None, "02:00:00")]


def test_temporal_types_of_older_servers(tmp_path_factory):
    """mysql56_temporal_format=OFF writes the types that MariaDB before 10.1 did; so do tables that it made."""
    temporal = [kind for kind in KINDS if kind.sql.split("(")[0].split()[0] in ("time", "datetime", "timestamp")]
    with MariaDbServer(settings={"mysql56-temporal-format": "OFF"}) as server, server.connect() as connection:
        run(connection, "CREATE DATABASE types", "SET sql_mode = '', time_zone = '+00:00'")
        connection.select_db("types")
        names = [fill(connection, number, kind) for number, kind in enumerate(temporal)]
        logged = log.read_log(log.newest_log(server))
        for name, kind in zip(names, temporal, strict=True):
            layout = log.layout_of(connection, "types", name, ["id"])
            assert set(logged.of(name).table_map.types) <= {3, 7, 11, 12}
            stream, snapshot = log.decoded(layout, logged.of(name)), log.selected(connection, layout)
            assert log.column(stream, "v").equals(log.column(snapshot, "v")), kind.sql
            assert len(stream.rejects) == len(kind.misfits)


def test_random_values(mariadb, connection):
    """Numbers and moments drawn by the server itself, all in one table of many rows and events."""
    run(
        connection,
        "CREATE TABLE drawn (id int PRIMARY KEY, a bigint, b decimal(20,5), c double, d datetime(6), e time(4), "
        "f varchar(40) character set latin1, g float, h date, i decimal(50,20))",
        "SET @n = 0",
        "INSERT INTO drawn SELECT seq, (RAND(7)-0.5)*POW(2,64), (RAND()-0.5)*POW(10,14), RAND()*POW(10,300*RAND()),"
        " '1000-01-01' + INTERVAL RAND()*3e11 SECOND + INTERVAL RAND()*1e6 MICROSECOND,"
        " SEC_TO_TIME(RAND()*86399.9999), CONVERT(UNHEX(SHA1(seq)) USING latin1), RAND()*1e10,"
        " '1000-01-01' + INTERVAL RAND()*3280000 DAY, (RAND()-0.5)*POW(10,29) FROM seq_1_to_20000",
    )
    layout = log.layout_of(connection, "types", "drawn", ["id"])
    logged = log.read_log(log.newest_log(mariadb)).of("drawn")
    assert logged.types.size > 50
    stream, snapshot = log.decoded(layout, logged), log.selected(connection, layout)
    assert stream.records == 20000 and not stream.rejects
    for column in layout.table.columns:
        one, other = raw(log.column(stream, column.name)), raw(log.column(snapshot, column.name))
        assert one.equals(other), (column.name, pc.not_equal(one, other))
    assert np.array_equal(rows.count_rows(logged), rows.count_rows(logged, layout))


def test_a_kind_is_not_tested_with_nothing():
    assert all(kind.edges for kind in KINDS)
    assert text("a'b") == ("'a''b'",)
    assert isinstance(KINDS[0], Kind)


def test_labels_are_written_as_the_server_writes_them(filled, connection):
    """What a statement that changes a table says must become what the catalog says."""
    number = next(i for i, kind in enumerate(KINDS) if kind.sql.startswith(r"enum('a\\b'"))
    _, column = log.columns_of(connection, "types", f"kind_{number}")
    assert "enum(" + ",".join(map(label_text, column.labels)) + ")" == column.source_type
