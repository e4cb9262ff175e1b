"""What streams are like, read from the registry by confluent-kafka's own client and deserializer."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from headwater.formats.schema_source import SchemaText
from headwater.registry.store import SchemaStore
from headwater.schema import StreamSchema

VALUE = SerializationContext("orders", MessageField.VALUE)
LATEST = {"auto.register.schemas": False, "use.latest.version": True}
LONG = SchemaText(0, "AVRO", '{"type": "long"}')


def orders(**columns):
    return StreamSchema("orders", pa.schema(columns), ("id",), "upsert")


@pytest.fixture
def client(url):
    with SchemaRegistryClient({"url": url}) as made:
        yield made


def test_a_streams_history_is_a_subject_that_confluents_deserializer_reads(store, client):
    store.keep(orders(id=pa.int64()))
    old = AvroSerializer(client, conf=LATEST)({"id": 1}, VALUE)
    store.describe(orders(id=pa.int64()))  # as it was: no version
    store.keep(orders(id=pa.int64(), note=pa.string()))
    client.clear_latest_caches()
    new = AvroSerializer(client, conf=LATEST)({"id": 2, "note": "x"}, VALUE)
    assert client.get_subjects() == ["orders-value"]
    assert client.get_versions("orders-value") == [1, 2]
    first, last = client.get_version("orders-value", 1), client.get_latest_version("orders-value")
    assert [f["name"] for f in json.loads(first.schema.schema_str)["fields"]] == ["id"]
    assert (last.version, last.schema_id) == (2, int.from_bytes(new[1:5], "big"))
    assert [(v.subject, v.version) for v in client.get_schema_versions(first.schema_id)] == [("orders-value", 1)]
    read = AvroDeserializer(client)
    assert [read(message, VALUE) for message in (old, new)] == [{"id": 1}, {"id": 2, "note": "x"}]
    reader = AvroDeserializer(client, last.schema.schema_str)  # evolution: the old message by the new schema
    assert reader(old, VALUE) == {"id": 1, "note": None}


def test_versions_and_ids_are_there_after_a_restart(store):
    for columns in ({"id": pa.int64()}, {"id": pa.int64(), "at": pa.date32()}):
        store.describe(orders(**columns))
    before = store.versions("orders-value", streams=True)
    store.close()
    again = SchemaStore(store.path.parent)
    again.describe(orders(id=pa.int64(), at=pa.date32()))
    assert again.versions("orders-value", streams=True) == before
    assert [each.version for each in before] == [1, 2]
    again.describe(orders(id=pa.int64()))  # as it was at first: a version, and no new schema
    assert again.versions("orders-value", streams=True)[2].schema.id == before[0].schema.id
    again.close()


def test_names_and_types_that_avro_has_no_place_for(store):
    odd = pa.schema({"order id": pa.int64(), "order-id": pa.string(), "2nd": pa.duration("s"), "": pa.bool_()})
    store.describe(StreamSchema("2 orders", odd))
    (version,) = store.versions("2 orders-value", streams=True)
    made = json.loads(version.schema.text)
    assert made["name"] == "_2_orders"
    assert [(field["name"], field["column"]) for field in made["fields"]] == [
        ("order_id", "order id"), ("order_id_", "order-id"), ("_2nd", "2nd"), ("_", "")
    ]  # fmt: skip
    assert (made["fields"][2]["type"], made["fields"][2]["doc"]) == (["null", "string"], "duration[s]")


def test_a_streams_subject_is_only_read(store, client):
    store.describe(orders(id=pa.int64()))
    for refused in (lambda: client.delete_subject("orders-value"), lambda: client.delete_version("orders-value", 1)):
        with pytest.raises(SchemaRegistryError, match="read-only") as caught:
            refused()
        assert (caught.value.http_status_code, caught.value.error_code) == (422, 42205)
    assert client.get_versions("orders-value") == [1]


def test_who_registers_under_the_subject_has_it(store, client):
    """A sync to a topic of the stream's name, say: it is not held against what the stream is like."""
    store.describe(orders(id=pa.int64()))
    (mine,) = store.versions("orders-value", streams=True)
    theirs = client.register_schema("orders-value", Schema(LONG.text, "AVRO"))
    store.describe(orders(id=pa.int64(), note=pa.string()))
    assert client.get_versions("orders-value") == [1]
    assert client.get_latest_version("orders-value").schema_id == theirs
    assert json.loads(client.get_schema(mine.schema.id).schema_str) == json.loads(mine.schema.text)
    assert client.delete_subject("orders-value") == [1]
    assert client.get_subjects() == []
