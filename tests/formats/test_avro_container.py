"""Avro container files, block by block: what fastavro wrote, and what nobody should believe."""

from __future__ import annotations

import io
import json
import random

import avro_cases
import fastavro
import pytest
from avro_containers import contained, long

from headwater.errors import UserError
from headwater.formats.avro.container import CODECS, AvroContainer, DamagedContainer, TooMuch, cut

ROW = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}, {"name": "s", "type": "string"}]}
RECORD = b"\x02\x02a"
MOST = 1 << 20


def opened(data):
    return AvroContainer(io.BytesIO(data))


def rows(data, most=MOST):
    """All rows of a file, and what its blocks said to be bad."""
    file, found, bad = opened(data), [], []
    for block in file.blocks():
        made = cut(file.program, file.unpacked(block, most), block.count)
        assert len(made.offsets) == made.rows.num_rows + bool(made.bad) + 1
        found += made.rows.to_pylist()
        bad += [made.bad.reason] if made.bad else []
    return found, bad


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_unpacked(codec):
    data = contained(ROW, [RECORD * 300, RECORD], codec, counts=[300, 1])
    assert rows(data) == ([{"id": 1, "s": "a"}] * 301, [])


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2"])
def test_what_fastavro_writes_is_read_as_its_records_are(codec):
    for seed in range(20):
        maker = avro_cases.Maker(random.Random(seed))
        schema = maker.record(3)
        pairs = [maker.value(schema) for _ in range(30)]
        written = io.BytesIO()
        fastavro.writer(written, schema, [given for given, _ in pairs], codec=codec, sync_interval=100)
        found, bad = rows(written.getvalue())
        assert bad == []
        alone = [avro_cases.written(schema, [given])[0] for given, _ in pairs]
        assert found == rows(contained(schema, alone))[0] and len(found) == 30


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_that_is_cut_off_anywhere_is_told_so(codec):
    whole = contained(ROW, [RECORD, RECORD], codec)
    ends = {len(contained(ROW, [RECORD] * blocks, codec)) for blocks in range(3)}
    for size in range(len(whole) + 1):
        if size in ends:
            assert rows(whole[:size])[1] == []
        else:
            with pytest.raises(DamagedContainer):
                rows(whole[:size])


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_bomb_is_not_unpacked(codec):
    data = contained(ROW, [bytes(4 << 20)], codec, counts=[1000])
    with pytest.raises(TooMuch):
        rows(data)


def test_a_block_that_is_packed_badly_or_whose_sum_is_wrong():
    for codec in CODECS[1:]:
        data = bytearray(contained(ROW, [RECORD * 50], codec, counts=[50]))
        data[-18] ^= 0xFF  # within the checksum, or the end of the stream
        with pytest.raises(DamagedContainer):
            rows(bytes(data))


@pytest.mark.parametrize(
    ("block", "count", "reason"),
    [
        (RECORD + b"\x02\x02\xff" + RECORD, 3, "bad_utf8"),
        (RECORD + b"\x02\x7fa", 2, "bad_length"),
        (RECORD + b"\x02\x7e" + b"a", 2, "ends_early"),
        (RECORD * 3, 2, "trailing_bytes"),
    ],
)
def test_what_is_left_of_a_block_from_a_bad_record_on_is_one_message(block, count, reason):
    file = opened(contained(ROW, [block], counts=[count]))
    made = cut(file.program, block, count)
    assert (made.bad.reason, made.bad.message, made.rows.to_pylist()) == (reason, 1, [{"id": 1, "s": "a"}])
    assert made.offsets.tolist() == [0, 3, len(block)]


@pytest.mark.parametrize("count", [1 << 62, 100_000_000, 3])
def test_more_records_than_there_are_bytes_for_are_not_believed(count):
    with pytest.raises(DamagedContainer, match="cannot be in"):
        rows(contained(ROW, [RECORD + b"\x02"], counts=[count]))


def test_records_that_take_no_bytes_are_bounded_too():
    wide = {"type": "record", "name": "r", "fields": [{"name": f"f{n}", "type": "null"} for n in range(1000)]}
    assert len(rows(contained(wide, [b""], counts=[20]))[0]) == 20
    with pytest.raises(DamagedContainer, match="cannot be in"):
        rows(contained(wide, [b""], counts=[1_000_000]))


def test_many_small_records_of_far_more_items_than_bytes():
    """Each alone may have thousands of items of nothing: not all of them together."""
    items = {"type": "record", "name": "i", "fields": [{"name": "b", "type": "boolean"}] + [
        {"name": f"n{n}", "type": "null"} for n in range(400)]}  # fmt: skip
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": items}}]}
    record = long(10) + bytes(10) + b"\0"
    found, bad = rows(contained(schema, [record * 3000], counts=[3000]))
    assert bad == ["too_large"] and len(found) < 3000


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"Obj\x02", "does not begin"),
        (b"Obj\x01", "ends in a number"),
        (b"Obj\x01" + b"\xff" * 10, "64 bits"),
        (b"Obj\x01" + long(1 << 60), "entries"),
        (b"Obj\x01" + long(1) + long(1 << 40), "ends in its header"),
        (b"Obj\x01" + long(1) + long(-5), "ends in its header"),
        (b"Obj\x01\0" + bytes(15), "ends in its header"),
        (contained(ROW, [], "lzma"), "'lzma'"),
        (contained(ROW, [b""] * 1001, counts=[0] * 1001), "without records"),
        (contained(b"{", [RECORD]), "not JSON"),
        (contained(b"\xff", [RECORD]), "not text"),
        (contained({"type": "record", "name": "r", "fields": [{"name": "r", "type": "r"}]}, [b"\0"]), "itself"),
    ],
)  # fmt: skip
def test_headers_that_are_none(head, says):
    with pytest.raises(UserError, match=says):
        rows(head)


def test_a_schema_in_the_header_is_as_it_was_written():
    assert json.loads(opened(contained(ROW, [])).schema) == ROW
