"""Arrow to Avro: fastavro and our own decoder read what was written."""

from __future__ import annotations

import io
import json
import random
from datetime import date, datetime, time
from decimal import Decimal

import avro_cases
import fastavro
import pyarrow as pa
import pytest

from headwater.errors import UserError
from headwater.formats.avro.derived import schema_of
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.decoder import make_decoder
from headwater.formats.encoder import make_encoder
from headwater.registry.store import SchemaStore

ROWS = pa.table({
    "flag": pa.array([True, None, False]),
    "small": pa.array([1, None, -(1 << 31)], pa.int32()),
    "large": pa.array([(1 << 63) - 1, None, -(1 << 63)], pa.int64()),
    "real": pa.array([1.5, None, -0.0], pa.float32()),
    "wide": pa.array([float("inf"), None, 1e-300]),
    "text": ["", None, "日本語"],
    "raw": pa.array([b"", None, b"\x00\xff"], pa.binary()),
    "price": pa.array([Decimal("1.25"), None, Decimal("-99999999.99")], pa.decimal128(10, 2)),
    "day": pa.array([date(1960, 1, 1), None, date(2100, 12, 31)]),
    "clock": pa.array([time(0, 0), None, time(23, 59, 59, 999999)]),
    "at": pa.array([datetime(1960, 1, 1), None, datetime(2100, 1, 1, 0, 0, 0, 1)], pa.timestamp("us", tz="UTC")),
    "local": pa.array([datetime(1960, 1, 1), None, datetime(2100, 1, 1)], pa.timestamp("us")),
    "tags": pa.array([["a", None], None, []], pa.list_(pa.string())),
    "deep": pa.array([[[1], None, []], None, [[2, None]]], pa.list_(pa.list_(pa.int64()))),
    "counts": pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64())),
    "place": pa.array([{"x": 1, "names": ["n"]}, None, {"x": None, "names": None}],
                      pa.struct([("x", pa.int64()), ("names", pa.list_(pa.string()))])),
    "kind": pa.array(["a", None, "a"]).dictionary_encode(),
    "nothing": pa.nulls(3),
})  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = SchemaStore(tmp_path)
    yield made
    made.close()


def test_every_type_comes_back_as_it_was(store):
    encoder = make_encoder(AvroFormat(), store, "shop.orders-value")
    for rows in (ROWS, ROWS.slice(1), ROWS.slice(2, 1), ROWS.slice(0, 0), pa.concat_tables([ROWS, ROWS.slice(1, 1)])):
        messages = encoder.encode(rows)
        found = make_decoder(AvroFormat(), store).decode(messages)
        assert found.bad == ()
        assert found.rows.to_pylist() == rows.to_pylist()
    assert store.subjects() == ["shop.orders-value"]
    assert json.loads(store.version("shop.orders-value", -1).text)["name"] == "orders"


def test_fastavro_reads_it():
    text = schema_of(ROWS.schema, "r")
    parsed = fastavro.parse_schema(json.loads(text))
    messages = make_encoder(AvroFormat(framing="none", schema=text)).encode(ROWS).to_pylist()
    found = [fastavro.schemaless_reader(io.BytesIO(each), parsed) for each in messages]
    wanted = ROWS.to_pylist()
    for row in wanted:
        row["counts"] = row["counts"] if row["counts"] is None else dict(row["counts"])
    assert found == wanted


@pytest.mark.parametrize("seed", range(40))
def test_random_rows_of_a_given_schema_come_back(seed):
    maker = avro_cases.Maker(random.Random(seed))
    schema = maker.record(3)
    settings = AvroFormat(framing="none", schema=json.dumps(schema))
    decoder = make_decoder(settings)
    found = decoder.decode(
        pa.array(avro_cases.written(schema, [maker.value(schema)[0] for _ in range(5)]), pa.binary())
    )
    try:
        messages = make_encoder(settings).encode(pa.Table.from_batches([found.rows]))
    except UserError as error:
        assert "only be read" in str(error) or "only read" in (error.hint or "")
        return
    assert decoder.decode(messages).rows.equals(found.rows)


def test_what_has_no_place_is_refused(store):
    encoder = make_encoder(
        AvroFormat(framing="none", schema='{"type":"record","name":"r","fields":[{"name":"a","type":"int"}]}')
    )
    with pytest.raises(UserError, match="a is null"):
        encoder.encode(pa.table({"a": pa.array([1, None], pa.int32())}))
    with pytest.raises(UserError, match="differ in b"):
        encoder.encode(pa.table({"a": [1], "b": [2]}))
    with pytest.raises(UserError, match="does not fit"):
        encoder.encode(pa.table({"a": [1 << 40]}))
    with pytest.raises(UserError, match="cannot be called"):
        schema_of(pa.schema({"a b": pa.int64()}), "r")
    with pytest.raises(UserError, match="subject"):
        make_encoder(AvroFormat(), store)
    with pytest.raises(UserError, match="registry"):
        make_encoder(AvroFormat(), subject="x")
