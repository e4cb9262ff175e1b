"""Debezium's envelope in Avro: what happened to the row, by the schema that the message names."""

from __future__ import annotations

import json
from datetime import date

import avro_cases
import pyarrow as pa
import pytest

from headwater.change import Op
from headwater.formats.decoder import make_decoder
from headwater.formats.schema_source import SchemaText
from headwater.formats.settings import DebeziumAvroFormat
from headwater.registry.store import SchemaStore

DAY = {"type": "int", "connect.version": 1, "connect.name": "io.debezium.time.Date"}


def envelope(*more):
    fields = [{"name": "id", "type": "long"}, {"name": "born", "type": ["null", DAY], "default": None}, *more]
    row = {"type": "record", "name": "Value", "namespace": "shop.public.customers", "fields": fields}
    source = {
        "type": "record",
        "name": "Source",
        "namespace": "io.debezium",
        "fields": [{"name": "lsn", "type": "long"}],
    }
    return {
        "type": "record", "name": "Envelope", "namespace": "shop.public.customers",
        "fields": [
            {"name": "before", "type": ["null", row], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "source", "type": source},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": None},
        ],
    }  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = SchemaStore(tmp_path)
    yield made
    made.close()


def events(store, schema, *changes):
    identifier = store.register("shop.public.customers-value", SchemaText(0, "AVRO", json.dumps(schema)))
    name = "shop.public.customers.Value"
    values = [
        {
            "op": op,
            "before": before and (name, before),
            "after": after and (name, after),
            "source": {"lsn": 1},
            "ts_ms": 5,
        }
        for op, before, after in changes
    ]
    return [b"\0" + identifier.to_bytes(4, "big") + each for each in avro_cases.written(schema, values)]


def test_envelopes_of_two_schemas_become_changes(store):
    one, two, nobody = {"id": 1, "born": 3}, {"id": 1, "born": None}, {"id": 9, "born": None}
    old = events(store, envelope(), ("r", None, one), ("u", one, two), ("x", None, one), ("d", nobody, None))
    note = {"name": "note", "type": "string", "default": ""}
    new = events(store, envelope(note), ("c", None, {"id": 2, "born": 0, "note": "n"}))
    found = make_decoder(DebeziumAvroFormat(), store).decode(pa.array([*old, None, b"\0\0\0\0\x63", *new], pa.binary()))
    assert found.message.tolist() == [0, 1, 3, 6]
    assert found.ops.tolist() == [Op.READ, Op.UPDATE, Op.DELETE, Op.INSERT]
    columns = {}
    for name, values in zip(found.rows.schema.names, found.rows.columns, strict=True):
        columns[name] = [
            a if a is not None else b for a, b in zip(values.to_pylist(), columns.get(name, [None] * 4), strict=True)
        ]
    assert columns == {
        "id": [1, 1, 9, 2],
        "born": [date(1970, 1, 4), None, None, date(1970, 1, 1)],
        "note": [None, None, None, "n"],
    }
    assert [(each.message, each.reason) for each in found.bad] == [(2, "no_envelope"), (5, "unknown_schema")]
