"""T-MY-04: what only some servers write is decoded or stops the source; no event is lost in silence.

MySQL's events are made by an encoder of the tests (`mysql_encoder`), MariaDB's by MariaDB, and one is a recording.
"""

import struct
from pathlib import Path

import binlog_reading as log
import mysql_encoder as encoder
import numpy as np
import pyarrow as pa
import pytest
from test_mysql_types import run

from headwater.capture.mysql import binlog, events, rows
from headwater.capture.mysql.events import EventType
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.table_map import read_table_map
from headwater.capture.mysql.types import describe
from headwater.errors import InvariantBroken, SourceStopped
from headwater.testing.mariadb import MariaDbServer

UUID = "77d1902c-01da-11f1-9a41-908d6e5f6e8d"
INT, JSON, TEXT, VECTOR = (3, b""), (245, b"\4"), (15, b"\x78\0"), (242, b"\4")
MAP = encoder.event(19, encoder.table_map(9, "shop", "t", [INT, JSON, INT]))
DOCUMENTS = Layout(
    Table(
        "shop",
        "t",
        (describe("id", "int", None), describe("doc", "json", None), describe("n", "int unsigned", None)),
        ("id",),
    ),
    (0, 1, 2),
    3,
)


def number(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


def document(value):
    return encoder.blob(encoder.document(value))


def scanned(*whole, checksum=True):
    data = np.frombuffer(b"".join(whole), np.uint8)
    begins, ends = events.split(data)
    assert not whole or ends[-1] == data.size
    return events.scan(data, begins, ends, checksum=checksum)


def read(*whole, layout=DOCUMENTS):
    found = log.decoded(layout, log.gather(scanned(*whole)).rows(0))
    return [
        {name: row[name] for name in ("_op", "_weight", "_unchanged", *layout.table.stream.columns.names)}
        for row in found.batch.rows.to_pylist()
    ]


def row(op, weight, unchanged=None, **columns):
    return {"_op": op, "_weight": weight, "_unchanged": unchanged, **columns}


def test_rows_of_version_2_with_extra_data():
    body = encoder.rows(30, 9, 3, encoder.image([number(1), document({"a": 1}), None]), extra=b"\0\7\1\2")
    assert read(MAP, encoder.event(30, body)) == [row(1, 1, id=1, doc='{"a": 1}', n=None)]


def test_changes_to_documents_are_applied():
    before = encoder.image([number(1), document({"a": 1, "b": "x"}), number(3)])
    changes = encoder.blob(encoder.diff(0, "$.a", encoder.document(2)))
    after = encoder.partial([number(1), changes, number(4)], {0}, 1)
    whole = encoder.partial([number(1), document([]), number(5)], set(), 1)
    plain = encoder.partial([number(1), document([1]), number(6)], (), 0)
    body = encoder.rows(39, 9, 3, before, after, before, whole, before, plain)
    assert read(MAP, encoder.event(39, body)) == [
        row(2, 1, id=1, doc='{"a": 2, "b": "x"}', n=4),
        row(2, 1, id=1, doc="[]", n=5),
        row(2, 1, id=1, doc="[1]", n=6),
    ]


def test_changes_to_a_document_under_a_changed_key():
    before = encoder.image([number(1), document([1]), number(3)])
    after = encoder.partial([number(2), encoder.blob(encoder.diff(2, "$[0]")), number(3)], {0}, 1)
    body = encoder.rows(39, 9, 3, before, after)
    assert read(MAP, encoder.event(39, body)) == [
        row(3, -1, id=1, doc=None, n=None),
        row(2, 1, id=2, doc="[]", n=3),
    ]


def test_changes_to_a_document_that_was_not_sent_stop():
    """binlog_row_image=MINIMAL with PARTIAL_JSON: the document before is not there."""
    before = encoder.image([number(1), None, None], present=[1, 0, 0])
    after = encoder.partial([None, encoder.blob(encoder.diff(2, "$[0]")), None], {0}, 1, present=[0, 1, 0])
    body = encoder.rows(39, 9, 3, before, after, present=[1, 0, 0], after=[0, 1, 0])
    with pytest.raises(SourceStopped, match="binlog_row_image is not FULL"):
        read(MAP, encoder.event(39, body))


def test_changes_that_do_not_fit_their_document_stop():
    before = encoder.image([number(1), document([1]), number(3)])
    after = encoder.partial([number(1), encoder.blob(encoder.diff(2, "$.a")), number(3)], {0}, 1)
    with pytest.raises(SourceStopped, match="changes to a JSON document do not fit it"):
        read(MAP, encoder.event(39, encoder.rows(39, 9, 3, before, after)))


def transaction(compression, inner_checksum=False):
    image = encoder.image([number(1), document({"a": 1}), None])
    inner = [
        encoder.event(2, encoder.query("shop", b"BEGIN"), checksum=inner_checksum),
        encoder.event(19, encoder.table_map(9, "shop", "t", [INT, JSON, INT]), checksum=inner_checksum),
        encoder.event(30, encoder.rows(30, 9, 3, *[image] * 50), checksum=inner_checksum),
        encoder.event(16, struct.pack("<Q", 5), checksum=inner_checksum),
    ]
    return encoder.event(40, encoder.payload(*inner, compression=compression), position=4711)


@pytest.mark.parametrize("compression", (0, 255))
def test_compressed_transactions_are_opened_in_their_place(compression):
    first = encoder.event(33, encoder.gtid(UUID, 5, 1_700_000_000_123_456))
    whole = transaction(compression)
    last = encoder.event(4, struct.pack("<Q", 4) + b"binlog.000002")
    found = scanned(encoder.format_description(), first, whole, last)
    assert found.types.tolist() == [15, 33, 2, 19, 30, 16, 4]
    assert found.inside.tolist() == [False, False, True, True, True, True, False]
    assert found.positions.tolist() == [0, 0, 4711, 4711, 4711, 4711, 0]
    assert found.sizes.tolist()[2:6] == [0, 0, 0, len(whole)] and found.read == 4
    decoded = log.decoded(DOCUMENTS, log.gather(found).rows(0))
    assert len(decoded.batch) == 50 and log.column(decoded, "doc")[49].as_py() == '{"a": 1}'
    assert binlog.read_query(found.body(2)).sql == "BEGIN"
    assert binlog.read_rotate(found.body(6)) == binlog.Rotate("binlog.000002", 4)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (encoder.payload(b"x" * 50)[:-3], "does not have the size"),
        (encoder.payload(b"x" * 50, size=51), "as much as it says"),
        (encoder.payload(b"x" * 50, size=1 << 40), "more than the limit"),
        (encoder.payload(b"x" * 50, compression=7), "unknown compression 7"),
        (encoder.payload(bytes(50)), "smaller than its header"),
        (encoder.payload(b"x" * 50), "middle of an event"),
        (encoder.payload(MAP[:-9]), "middle of an event"),
        (encoder.payload(encoder.event(40, encoder.payload(), checksum=False)), "cannot be in one"),
        (encoder.payload(encoder.format_description(False)), "cannot be in one"),
        (b"\2\1", "cut short"),
    ],
)
def test_payloads_that_are_none_stop(body, why):
    with pytest.raises(SourceStopped, match=why):
        scanned(encoder.event(40, body))


def test_a_payload_is_no_larger_than_its_limit():
    data = np.frombuffer(transaction(0), np.uint8)
    begins, ends = events.split(data)
    with pytest.raises(SourceStopped, match="more than the limit of 1000"):
        events.scan(data, begins, ends, checksum=True, limit=1000)


def test_gtids_of_mysql():
    at = 1_700_000_000_123_456
    assert binlog.read_gtid(encoder.gtid(UUID, 7, at)) == binlog.Gtid(f"{UUID}:7", UUID, 7, at)
    assert binlog.read_gtid(encoder.gtid(UUID, 7, at, original=at - 5)).commit_time_us == at
    assert binlog.read_gtid(encoder.gtid(UUID, 7, at)[:42]).commit_time_us == 0
    anonymous = binlog.read_anonymous_gtid(encoder.gtid(UUID, 0, at))
    assert (anonymous.text, anonymous.commit_time_us) == ("", at)
    tagged = binlog.read_tagged_gtid(encoder.tagged_gtid(UUID, "jobs", 1 << 40, at))
    assert tagged == binlog.Gtid(f"{UUID}:jobs:{1 << 40}", f"{UUID}:jobs", 1 << 40, at)


def test_a_recorded_tagged_gtid():
    """The body of an event of Percona Server 8.4.11 (published in the tests of its binlog streamer)."""
    body = bytes.fromhex(
        "027c00000202ee45034102580269032 2c50369028241023502dcbedc3502040406"
        "10746573745f74616708000a040c7f003e8900fa5b061045051 2dbd009".replace(" ", "")
    )
    found = binlog.read_tagged_gtid(body)
    assert found.text == f"{UUID}:test_tag:1"
    assert 1_770_000_000_000_000 < found.commit_time_us < 1_800_000_000_000_000
    with pytest.raises(SourceStopped, match="tagged_gtid event"):
        binlog.read_tagged_gtid(body[:-1])


def test_vectors_and_unsigned_numbers():
    table = Table("shop", "v", (describe("id", "int", None), describe("v", "vector(3)", None)), ("id",))
    data = encoder.blob(np.array([1.5, -0.0, 3e38], "<f4").tobytes())
    images = [encoder.image([number(1), data]), encoder.image([number(2), None]), encoder.image([number(3), data[:-1]])]
    images[2] = encoder.image([number(3), encoder.blob(b"abc")])
    body = encoder.rows(30, 4, 2, *images)
    whole = encoder.event(19, encoder.table_map(4, "shop", "v", [INT, VECTOR])), encoder.event(30, body)
    found = log.decoded(Layout(table, (0, 1), 2), log.gather(scanned(*whole)).rows(0))
    assert log.column(found, "v").type == pa.list_(pa.float32())
    assert log.column(found, "v").to_pylist() == [[1.5, -0.0, np.float32(3e38)], None, None]
    assert [reject["key"] for reject in found.rejects] == ['["3"]']


def test_the_optional_metadata():
    columns = [(3, b""), (8, b""), (15, b"\x50\0"), (254, b"\xf7\1"), (254, b"\xf8\1"), (254, b"\xfe\x28")]
    optional = encoder.tlv(1, b"\x40") + encoder.tlv(2, encoder.lenenc(255) + encoder.lenenc(1) + encoder.lenenc(8))
    optional += encoder.tlv(4, encoder.strings(b"id", "naïve".encode(), b"c", b"e", b"s", b"x"))
    optional += encoder.tlv(5, b"\2" + encoder.strings(b"x", b"y")) + encoder.tlv(6, b"\1" + encoder.strings(b"a"))
    optional += (
        encoder.tlv(9, b"\0\0\2\5") + encoder.tlv(10, b"\x2d") + encoder.tlv(12, b"\xff") + encoder.tlv(99, b"?")
    )
    found = read_table_map(encoder.table_map(1 << 40, "db", "t", columns, optional))
    assert (found.table_id, found.database, found.table) == (1 << 40, "db", "t")
    assert found.types == (3, 8, 15, 247, 248, 254) and found.metas == (0, 0, 80, 1, 1, 40)
    assert found.unsigned == (False, True, False, False, False, False)
    assert found.collations == (0, 0, 255, 45, 45, 8)
    assert found.names == ("id", "naïve", "c", "e", "s", "x")
    assert found.values == ((), (), (), (b"a",), (b"x", b"y"), ()) and found.key == (0, 2)


def test_a_long_char_hides_its_length():
    """CHAR(255) of utf8mb4 is 1020 bytes; two bits of that stand inverted in the type (MySQL's bug #37426)."""
    found = read_table_map(encoder.table_map(1, "d", "t", [(254, bytes([0xFE ^ 0x30, 1020 & 0xFF]))]))
    assert found.types == (254,) and found.metas == (1020,)


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (encoder.event(26, b"\1\0\4LOST"), "the server reports an INCIDENT"),
        (encoder.event(172, b"whatever"), "unknown binlog event of type 172"),
        (encoder.event(18, b"LOAD DATA"), "EXECUTE_LOAD_QUERY .* logged as a statement"),
        (encoder.event(20, b"rows of 5.1.15"), "unknown binlog event of type 20"),
        (MAP[:-1] + bytes([MAP[-1] ^ 1]), "fails its checksum"),
        (MAP[:30] + bytes([MAP[30] ^ 1]) + MAP[31:], "fails its checksum"),
        (encoder.event(30, b"short"), "is cut short"),
    ],
)
def test_what_cannot_be_decoded_stops(whole, why):
    with pytest.raises(SourceStopped, match=why) as caught:
        scanned(encoder.format_description(), whole)
    assert caught.value.hint


def test_an_unknown_event_that_may_be_ignored_is_told_as_such():
    found = scanned(encoder.event(172, b"whatever", flags=0x80))
    assert found.types.tolist() == [EventType.IGNORABLE] and EventType.IGNORABLE in events.SILENT


def test_checksums_may_go_and_come_with_the_format():
    plain = encoder.event(16, struct.pack("<Q", 5), checksum=False)
    checked = encoder.event(16, struct.pack("<Q", 6))
    found = scanned(
        plain, encoder.format_description(), checked, encoder.format_description(False), plain, checksum=False
    )
    assert [binlog.read_xid(found.body(at)) for at in (0, 2, 4)] == [5, 6, 5]
    assert not found.checksum
    assert binlog.read_format(found.body(1)) == binlog.Format(4, "8.4.3", True)
    assert binlog.read_format(found.body(3)) == binlog.Format(4, "8.4.3", False)
    assert binlog.read_format(found.body(3)).flavor == "mysql"


def test_a_statement_is_read_in_its_own_character_set():
    text = "CREATE TABLE café (id int)"
    assert binlog.read_query(encoder.query("d", text.encode("latin-1"), 8)).sql == text
    assert binlog.read_query(encoder.query("d", text.encode("gbk", "replace"), 28)).sql == text
    assert binlog.read_query(encoder.query("d", text.encode("utf-16-be"), 54)).sql == text
    found = binlog.read_query(encoder.query("żółw", b"BEGIN", 255, error_code=1062))
    assert found == binlog.Query("żółw", "BEGIN", 1062, 255)


def test_xa_transactions():
    assert binlog.read_xa_prepare(b"\1" + struct.pack("<III", 1, 2, 1) + b"abc")
    assert not binlog.read_xa_prepare(b"\0" + struct.pack("<III", 1, 2, 1) + b"abc")
    with pytest.raises(SourceStopped):
        binlog.read_xa_prepare(b"\0" + struct.pack("<III", 1, 200, 1) + b"abc")


def test_the_account_finds_an_event_that_nobody_handled():
    found, account = scanned(MAP, MAP, encoder.event(16, struct.pack("<Q", 5))), events.Account()
    account.took(found)
    account.handle(EventType.TABLE_MAP, 2)
    with pytest.raises(InvariantBroken, match="16: 1 in, 0 handled"):
        account.check()
    account.handle(EventType.XID)
    account.check()


def test_every_event_of_a_server_is_known_and_every_row_counted():
    """All that MariaDB writes in a busy life: XA, savepoints, LOAD DATA, cascades, large rows, annotations."""
    settings = {"binlog-annotate-row-events": "ON", "binlog-row-event-max-size": "300"}
    with MariaDbServer(settings=settings) as server, server.connect(local_infile=True) as connection:
        run(connection, "CREATE DATABASE d", "USE d", "CREATE TABLE p (id int PRIMARY KEY, x longtext)")
        run(
            connection,
            "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        )
        run(connection, "CREATE TABLE m (id int) ENGINE=MyISAM", "INSERT INTO m VALUES (1)", "FLUSH BINARY LOGS")
        run(connection, "INSERT INTO p SELECT seq, REPEAT('x', 1000) FROM seq_1_to_50", "INSERT INTO c VALUES (1, 1)")
        run(connection, "BEGIN", "UPDATE p SET x = 'y'", "SAVEPOINT s", "DELETE FROM p", "ROLLBACK TO s", "COMMIT")
        run(connection, "XA START 'a','b'", "UPDATE p SET x = 'z' WHERE id < 9", "XA END 'a','b'", "XA PREPARE 'a','b'")
        run(connection, "XA COMMIT 'a','b'", "REPLACE INTO m VALUES (2)", "DELETE FROM p WHERE id = 1", "TRUNCATE m")
        (Path(server.data) / "d" / "in.txt").write_text("7\n8\n")
        run(
            connection,
            "LOAD DATA INFILE 'in.txt' INTO TABLE m",
            "CREATE TABLE s AS SELECT * FROM m",
            "FLUSH BINARY LOGS",
        )
        names = (server.data / "binlog.index").read_text().split()
        data = [(server.data / Path(name).name).read_bytes() for name in names]
    account, counted = events.Account(), {}
    for part in data:
        logged = log.read_log(part)
        account.took(logged.events)
        for kind in logged.events.types.tolist():
            assert kind in events.ROWS | events.SILENT | {2, 4, 15, 16, 19, 38, 162}
            account.handle(kind)
        for number_, known in enumerate(logged.maps):
            counts = int(rows.count_rows(logged.rows(number_)).sum())
            counted[known.table] = counted.get(known.table, 0) + counts
    account.check()
    assert counted == {"p": 50 + 50 + 8 + 1, "c": 1, "m": 1 + 1 + 2, "s": 2}
    assert {15, 16, 19, 23, 24, 25, 160, 161, 162, 163, 2, 4} <= account.seen.keys()
