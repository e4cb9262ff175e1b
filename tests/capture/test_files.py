"""Files as a source: formats, encodings, long and partial records, compressed files, containers, decisions."""

from __future__ import annotations

import gzip
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from avro_containers import contained
from following import Following

from headwater.capture.request import Request
from headwater.errors import PositionLost, UserError

LOG = {"log": {"paths": "app.log*"}}


def test_lines_with_their_file_and_place(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"one\r\ntwo\n\nfour")
    follow = Following(tmp_path, LOG).drain(3)
    assert follow.values() == ["one", "two", ""]
    assert [(row["_partition"], row["_offset"]) for row in follow.rows["log"]] == [
        ("app.log", 0),
        ("app.log", 5),
        ("app.log", 9),
    ]
    follow.drain(10)
    assert follow.values()[-1] == "four"  # taken for whole after five quiet seconds


def test_a_partial_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntw")
    follow = Following(tmp_path, LOG).drain(3)
    with path.open("ab") as file:
        file.write(b"o\nthr")
    follow.drain(3)
    assert follow.values() == ["one", "two"]
    assert follow.reader is not None and follow.reader.lag_bytes() == 3
    never = Following(tmp_path, {"log": {"paths": "app.log", "unfinished_after_s": None}}).drain(20)
    assert never.values() == ["one", "two"]
    assert never.reader is not None and never.reader.lag_bytes() == 0


def test_compressed_files_are_read_to_their_last_line(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(50_000)]
    text = "\n".join(lines).encode()
    (tmp_path / "app.log.2.gz").write_bytes(gzip.compress(text[:300_000]) + gzip.compress(text[300_000:]))
    (tmp_path / "app.log.1.zst").write_bytes(pa.compress(b"a\nb", codec="zstd", asbytes=True))
    follow = Following(tmp_path, LOG).drain(3)
    by_file = {
        name: [r["value"] for r in follow.rows["log"] if r["_partition"] == name]
        for name in ("app.log.2.gz", "app.log.1.zst")
    }
    assert by_file == {"app.log.2.gz": lines, "app.log.1.zst": ["a", "b"]}
    follow.open()
    follow.drain(3)
    assert len(follow.rows["log"]) == 50_002


def test_a_compressed_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    text = "".join(f"line {number * 7919}\n" for number in range(100_000)).encode()
    whole = gzip.compress(text)
    path = tmp_path / "app.log.gz"
    path.write_bytes(whole[: len(whole) // 2])
    follow = Following(tmp_path, LOG).drain(3)
    before = len(follow.rows["log"])
    assert 0 < before < 100_000
    with path.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    assert follow.drain(3).values() == text.decode().splitlines()


def test_a_compressed_file_that_stays_broken_is_a_loss(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"line %d\n" % (n * 7919) for n in range(100_000)))
    (tmp_path / "app.log.gz").write_bytes(whole[:-5000])
    follow = Following(tmp_path, LOG)
    with pytest.raises(PositionLost, match="cannot be read on") as raised:
        follow.drain(70)
    assert raised.value.cause == "file_damaged"
    follow.open(Request("r1", "accept_gap", cause="file_damaged", reason="the disk broke"))
    follow.drain(70)
    assert [row["stage"] for row in follow.rejects] == ["gap"] and b"the disk broke" in follow.rejects[0]["record"]


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-8", b"\xef\xbb\xbf")]
)
def test_byte_order_marks_say_the_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    path = tmp_path / "app.log"
    lines = ["héllo", "wörld 😀", "", "日本"]
    path.write_bytes(mark + "".join(line + "\r\n" for line in lines).encode(encoding))
    follow = Following(tmp_path, LOG).drain(3)
    assert follow.values() == lines
    raw = path.read_bytes()
    for row in follow.rows["log"]:
        assert raw[row["_offset"] :].decode(encoding).startswith(row["value"])
    with path.open("ab") as file:
        file.write("später\r\n".encode(encoding))
    follow.open()
    assert follow.drain(3).values() == [*lines, "später"]


def test_single_byte_encodings_are_declared(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes("naïve\ncafé\n".encode("latin-1"))
    assert Following(tmp_path, {"log": {"paths": "app.log", "encoding": "latin-1"}}).drain(3).values() == [
        "naïve",
        "café",
    ]
    for bad in ("shift_jis", "utf-7", "utf-16", "nothing"):
        with pytest.raises(ValueError, match=r"encoding|told apart"):
            Following(tmp_path, {"log": {"paths": "app.log", "encoding": bad}})


def test_bytes_that_are_no_text_are_rejects_and_the_rest_flows(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"good\n\xff\xfe\xfd\nnul \0 here\n")
    follow = Following(tmp_path, LOG).drain(3)
    assert follow.values() == ["good", "nul \0 here"]
    assert [row["reason"] for row in follow.rejects] == ["bad_utf8"]
    with pytest.raises(UserError, match="not UTF-8"):
        follow.source.decode(follow.rejects[0]["record"])


def test_a_record_that_is_too_long_is_rejected_whole_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    long, longer = b"x" * 10_000, b"y" * 9_000_000
    path.write_bytes(b"a\n" + long + b"\nb\n" + longer)
    stream = {"log": {"paths": "app.log", "longest_record": 4096}}
    follow = Following(tmp_path, stream).drain(3)
    with path.open("ab") as file:
        file.write(b"z\nc\n")
    follow.open()  # inside of the longer one
    assert follow.drain(3).values() == ["a", "b", "c"]
    assert {row["reason"] for row in follow.rejects} == {"too_long"}
    assert b"".join(row["record"].split(b"}", 1)[1] for row in follow.rejects) == long + longer + b"z"


TRACE = """2026-11-22 01:02:03 ERROR boom
java.lang.IllegalStateException: x
\tat org.example.A.b(A.java:1)
Caused by: y
2026-11-22 01:02:04 INFO fine
2026-11-22 01:02:05 WARN last
\tmore
"""


@pytest.mark.parametrize("how", [{"begins": r"^\d{4}-"}, {"continues": r"^(\s|java|Caused by)"}])
def test_events_of_several_lines(tmp_path: Path, how: dict[str, str]) -> None:
    path = tmp_path / "app.log"
    stream = {"log": {"paths": "app.log", "multiline": how}}
    first, second = TRACE[:100], TRACE[100:]
    path.write_text(first)
    follow = Following(tmp_path, stream).drain(3)
    with path.open("a") as file:
        file.write(second)
    follow.open()
    expected = TRACE.replace("\n2026", "\0" + "2026").rstrip("\n").split("\0")
    assert follow.drain(3).values() == expected[:2]
    assert follow.drain(10).values() == expected


def test_csv_with_a_header_and_newlines_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,name\n1,"two\nlines"\n2,5" pipe\n')
    (tmp_path / "b.csv").write_bytes(b"name,id,more\nx,3,y\n")
    stream = {"log": {"paths": "*.csv", "format": "csv", "columns": {"id": "BIGINT"}}}
    follow = Following(tmp_path, stream).drain(3)
    rows = sorted((row["id"], row["name"], row.get("more")) for row in follow.rows["log"])
    assert rows == [(1, "two\nlines", None), (2, '5" pipe', None), (3, "x", "y")]
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(b"4,four\nfive,5\n")
    follow.open()
    follow.drain(3)
    assert [(row["id"], row["name"]) for row in follow.rows["log"]][-1] == (4, "four")
    (reject,) = follow.rejects
    assert reject["reason"] == "bad_value"
    follow.settings = follow.settings.model_copy()
    loose = Following(tmp_path, {"log": {"paths": "*.csv", "format": "csv"}})
    (row,) = loose.source.decode(reject["record"]).rows.to_pylist()
    assert (row["id"], row["name"], row["_partition"]) == ("five", "5", "a.csv")


def test_ndjson_and_grok(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('{"a": 1}\n\n{"a": 2, "b": "x"}\nnot json\n')
    follow = Following(tmp_path, {"log": {"paths": "e.json", "format": "ndjson"}}).drain(3)
    assert [(row["a"], row.get("b")) for row in follow.rows["log"]] == [(1, None), (2, "x")]
    assert len(follow.rejects) == 1
    (tmp_path / "app.log").write_text("10.0.0.1 7\nnot a line\n")
    grok = {"log": {"paths": "app.log", "format": {"type": "grok", "pattern": "%{IP:ip} %{INT:n:int}"}}}
    follow = Following(tmp_path, grok)
    (stream,) = follow.source.discover()
    assert stream.columns.names == ["_partition", "_offset", "ip", "n"]
    follow.drain(3)
    assert [(row["ip"], row["n"]) for row in follow.rows["log"]] == [("10.0.0.1", 7)]
    assert [row["reason"] for row in follow.rejects] == ["no_match"]


def test_the_first_records_say_what_a_stream_is_like(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('{"a": 1, "b": "x"}\n')
    follow = Following(tmp_path, {"log": {"paths": "*.json", "format": "json"}})
    (stream,) = follow.source.discover()
    assert stream.columns.names == ["_partition", "_offset", "a", "b"]
    assert follow.source.check() == ["reads 1 file of log, and those that come: *.json"]


def test_parquet_files_are_read_by_rows_when_they_are_complete(tmp_path: Path) -> None:
    table = pa.table(
        {"id": list(range(150_000)), "t": pa.array([f"t{i % 7}" for i in range(150_000)]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "whole", row_group_size=70_000)
    raw = (tmp_path / "whole").read_bytes()
    path = tmp_path / "a.parquet"
    path.write_bytes(raw[:1000])
    follow = Following(tmp_path, {"log": {"paths": "*.parquet", "format": "parquet"}}).drain(3)
    assert not follow.rows["log"]
    path.write_bytes(raw)
    follow.step()
    follow.step()
    follow.open()  # in the middle of the file
    follow.drain(3)
    assert [row["id"] for row in follow.rows["log"]] == list(range(150_000))
    assert follow.rows["log"][-1]["_offset"] == 149_999


def test_avro_container_files(tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "id", "type": "long"}, {"name": "s", "type": ["null", "string"]}],
    }
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"id": 1, "s": None}, {"id": 2, "s": "x"}])
    follow = Following(tmp_path, {"log": {"paths": "*.avro", "format": "avro-files"}}).drain(3)
    assert [(row["id"], row["s"]) for row in follow.rows["log"]] == [(1, None), (2, "x")]


def test_an_avro_file_is_read_up_to_the_row_that_nobody_can_read(tmp_path: Path) -> None:
    fields = [{"name": "id", "type": "long"}, {"name": "s", "type": "string"}]
    blocks = [b"\x02\x02a", b"\x04\x02b\x06\x02\xff", b"\x08\x02c"]
    schema = {"type": "record", "name": "r", "fields": fields}
    (tmp_path / "a.avro").write_bytes(contained(schema, blocks, "snappy", counts=[1, 2, 1]))
    files = {"log": {"paths": "*.avro", "format": "avro-files", "complete_after_s": 100}}
    follow = Following(tmp_path, files).drain(3)
    assert [(row["id"], row["_offset"]) for row in follow.rows["log"]] == [(1, 0), (2, 1)]
    with pytest.raises(PositionLost, match="row 2: s: its text is not UTF-8"):
        follow.drain(300)


def test_a_row_of_a_container_that_does_not_fit_is_kept_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1", "x"]}), tmp_path / "a.parquet")
    frozen = {"log": {"paths": "*.parquet", "format": "parquet", "columns": {"id": "BIGINT"}}}
    follow = Following(tmp_path, frozen).drain(3)
    assert [row["id"] for row in follow.rows["log"]] == [1]
    (reject,) = follow.rejects
    loose = Following(tmp_path, {"log": {"paths": "*.parquet", "format": "parquet"}})
    assert loose.source.decode(reject["record"]).rows.to_pylist()[0]["id"] == "x"


def test_only_what_comes_after_the_first_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"old\npart")
    follow = Following(tmp_path, LOG, start="end")
    assert follow.step() is not None  # durable before any line: a crash now must not begin at a later end
    follow.crash()
    with path.open("ab") as file:
        file.write(b"ial\nnew\n")
    (tmp_path / "app.log.extra").write_bytes(b"another\n")
    assert sorted(follow.drain(3).values()) == ["another", "new", "partial"]


def test_all_files_are_read_again_when_that_is_asked(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"a\nb\n")
    follow = Following(tmp_path, LOG).drain(3)
    follow.open(Request("again", "resnapshot"))
    follow.drain(3)
    assert follow.values() == ["a", "b"] and follow.resume is not None and follow.resume["decided"] == "again"
    follow.open(Request("again", "resnapshot"))
    assert follow.drain(3).values() == ["a", "b"]


def test_thousands_of_files_take_few_descriptors(tmp_path: Path) -> None:
    for number in range(1_500):
        (tmp_path / f"app.log.{number}x").write_bytes(b"line %d\n" % number)
    follow = Following(tmp_path, LOG).drain(3)
    assert len(set(follow.values())) == len(follow.values()) == 1_500
    assert follow.reader is not None and follow.resume is not None
    assert sum(file.content is not None for file in follow.reader._tail.files.values()) <= 256
    assert len(str(follow.resume["files"])) < 120 * 1_500
