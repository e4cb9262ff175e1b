"""confluent-kafka's own client and serializers against our routes on a real server, and our decoders on their bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.message_factory import GetMessageClass

from headwater.errors import UserError
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.decoder import make_decoder
from headwater.formats.protobuf.schema import files_of, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.schema_source import SchemaText
from headwater.registry.client import RegistryClient
from headwater.registry.settings import RegistrySettings

VALUE = SerializationContext("orders", MessageField.VALUE)
ORDER = {"type": "record", "name": "order", "fields": [{"name": "id", "type": "long"}]}
NOTED = {**ORDER, "fields": [*ORDER["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
PROTO = """
syntax = "proto3"; package shop;
import "google/protobuf/timestamp.proto";
message Other { int32 x = 1; }
message Order { int64 id = 1; repeated string tags = 2; google.protobuf.Timestamp at = 3; message In { bool ok = 1; } }
"""


@pytest.fixture
def client(url):
    with SchemaRegistryClient({"url": url}) as made:
        yield made


def avro(schema):
    return Schema(json.dumps(schema), "AVRO")


def decoded(settings, registry, *messages):
    return make_decoder(settings, registry).decode(pa.array(messages, pa.binary()))


def test_avro_serializer(client, store, url):
    messages = [
        AvroSerializer(client, json.dumps(schema))(row, VALUE)
        for schema, row in ((ORDER, {"id": 1}), (NOTED, {"id": 2, "note": "x"}), (ORDER, {"id": 3}))
    ]
    assert store.subjects() == ["orders-value"]
    assert AvroDeserializer(client)(messages[1], VALUE) == {"id": 2, "note": "x"}
    wanted = [{"id": 1, "note": None}, {"id": 2, "note": "x"}, {"id": 3, "note": None}]
    foreign = AvroFormat(registry=RegistrySettings(url=url))
    for found in (decoded(AvroFormat(), store, *messages), decoded(foreign, None, *messages)):
        assert (found.rows.to_pylist(), found.message.tolist(), found.bad) == (wanted, [0, 1, 2], ())


@pytest.mark.parametrize(
    ("name", "row"), [("Order", {"id": 7, "tags": ["a"]}), ("Order.In", {"ok": True}), ("Other", {"x": 1})]
)
def test_protobuf_serializer(client, store, name, row):
    kind = GetMessageClass(message_named(files_of(SchemaText(0, "PROTOBUF", PROTO), None), name))
    conf = {"use.deprecated.format": False}
    data = ProtobufSerializer(kind, client, conf)(kind(**row), VALUE)
    assert ProtobufDeserializer(kind, conf, client)(data, VALUE) == kind(**row)
    found = decoded(ProtobufFormat(), store, data)
    assert found.bad == ()
    assert {column: found.rows[column][0].as_py() for column in row} == row


def test_json_serializer(client, store):
    text = '{"title": "order", "type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}'
    data = JSONSerializer(text, client)({"id": 4}, VALUE)
    assert JSONDeserializer(text, schema_registry_client=client)(data, VALUE) == {"id": 4}
    assert store.version("orders-value", -1).type == "JSON"


def test_a_protobuf_schema_with_imports_of_its_own(client, store):
    common = Schema('syntax = "proto3"; package c; message Money { int64 cents = 1; }', "PROTOBUF")
    client.register_schema("common", common)
    text = 'syntax = "proto3"; import "money.proto"; message Bill { c.Money sum = 1; }'
    bill = Schema(text, "PROTOBUF", [SchemaReference("money.proto", "common", 1)])
    identifier = client.register_schema("bills-value", bill)
    data = b"\0" + identifier.to_bytes(4, "big") + b"\0" + b"\x0a\x02\x08\x05"
    assert decoded(ProtobufFormat(), store, data).rows.to_pylist() == [{"sum": {"cents": 5}}]
    assert client.get_schema(identifier).references[0].subject == "common"
    with pytest.raises(SchemaRegistryError, match="reference"):
        client.delete_version("common", 1)


def test_an_avro_schema_with_a_type_of_another(client, store):
    client.register_schema("a", avro({"type": "enum", "name": "x.Size", "symbols": ["S", "L"]}))
    fields = [{"name": "size", "type": "x.Size"}]
    schema = Schema(json.dumps({**ORDER, "fields": fields}), "AVRO", [SchemaReference("x.Size", "a", 1)])
    identifier = client.register_schema("orders-value", schema)
    data = b"\0" + identifier.to_bytes(4, "big") + b"\x02"
    assert decoded(AvroFormat(), store, data).rows.to_pylist() == [{"size": "L"}]


def test_versions_ids_and_lookups(client):
    one, two = (client.register_schema("orders-value", avro(schema)) for schema in (ORDER, NOTED))
    assert client.register_schema("copies-value", avro(ORDER)) == one
    assert client.get_subjects() == ["copies-value", "orders-value"]
    assert client.get_subjects(subject_prefix="or") == ["orders-value"]
    assert client.get_versions("orders-value") == [1, 2]
    assert client.get_version("orders-value", 1).schema_id == one
    assert client.get_latest_version("orders-value").schema_id == two
    assert json.loads(client.get_schema(two).schema_str) == NOTED
    assert client.lookup_schema("orders-value", avro(ORDER)).version == 1
    assert client.get_subjects_by_schema_id(one) == ["copies-value", "orders-value"]
    assert [(v.subject, v.version) for v in client.get_schema_versions(two)] == [("orders-value", 2)]
    assert client.get_schema_types() == ["AVRO", "JSON", "PROTOBUF"]
    assert client.get_contexts() == ["."]


def refused(action, status, code):
    with pytest.raises(SchemaRegistryError) as caught:
        action()
    assert (caught.value.http_status_code, caught.value.error_code) == (status, code)


def purge(client, path):
    """The second half of a permanent deletion; the client itself always deletes softly first."""
    return client._rest_client.delete(f"{path}?permanent=true")


def test_what_is_refused_has_confluents_codes(client):
    client.register_schema("orders-value", avro(ORDER))
    less = {**ORDER, "fields": [{"name": "number", "type": "long"}]}
    refused(lambda: client.register_schema("orders-value", avro(less)), 409, 409)
    refused(lambda: client.register_schema("x", Schema('{"type": "nothing"}', "AVRO")), 422, 42201)
    refused(lambda: client.register_schema("x", Schema("message {", "PROTOBUF")), 422, 42201)
    refused(lambda: client.get_latest_version("nobody"), 404, 40401)
    refused(lambda: client.get_version("orders-value", 9), 404, 40402)
    refused(lambda: client.get_version("orders-value", "x"), 422, 42202)
    refused(lambda: client.get_schema(99), 404, 40403)
    refused(lambda: client.lookup_schema("orders-value", avro(NOTED)), 404, 40403)
    refused(lambda: client.get_config("orders-value"), 404, 40408)
    refused(lambda: client.set_compatibility("orders-value", "SIDEWAYS"), 422, 42203)
    refused(lambda: client.update_mode("orders-value", "UPSIDEDOWN"), 422, 42204)
    refused(lambda: purge(client, "subjects/orders-value"), 404, 40405)


def test_compatibility_is_asked_and_set(client):
    client.register_schema("orders-value", avro(NOTED))
    assert client.test_compatibility("orders-value", avro(ORDER))
    renamed = avro({**ORDER, "fields": [{"name": "number", "type": "long"}]})
    assert not client.test_compatibility("orders-value", renamed)
    assert client.test_compatibility_all_versions("orders-value", avro(ORDER))
    assert client.get_compatibility() == "BACKWARD"
    client.set_compatibility("orders-value", "NONE")
    assert client.get_compatibility("orders-value") == "NONE"
    assert client.register_schema("orders-value", renamed) == 2
    client.delete_config("orders-value")
    client.set_compatibility(level="FULL_TRANSITIVE")
    assert client.get_compatibility() == "FULL_TRANSITIVE"
    refused(lambda: client.register_schema("orders-value", avro(ORDER)), 409, 409)


def test_modes_and_deletion(client):
    client.register_schema("orders-value", avro(ORDER))
    assert client.get_global_mode() == "READWRITE"
    client.update_mode("orders-value", "READONLY")
    refused(lambda: client.register_schema("orders-value", avro(NOTED)), 422, 42205)
    refused(lambda: client.delete_version("orders-value", 1), 422, 42205)
    client.delete_mode("orders-value")
    client.register_schema("orders-value", avro(NOTED))
    assert client.delete_version("orders-value", 1) == 1
    refused(lambda: client.delete_version("orders-value", 1), 404, 40406)
    refused(lambda: purge(client, "subjects/orders-value/versions/2"), 404, 40407)
    assert client.delete_subject("orders-value") == [2]
    refused(lambda: client.delete_subject("orders-value"), 404, 40404)
    assert client.get_subjects() == []
    assert client.get_subjects(deleted=True) == ["orders-value"]
    assert purge(client, "subjects/orders-value") == [1, 2]
    assert client.get_subjects(deleted=True) == []
    assert json.loads(client.get_schema(1).schema_str) == ORDER


def test_our_own_client(url, store):
    client = RegistryClient(RegistrySettings(url=url))
    schema = SchemaText(0, "AVRO", json.dumps(ORDER))
    assert client.register("orders/value", schema) == 1
    assert client.schema(1) == store.schema(1) == client.version("orders/value", -1)
    assert client.schema(2) is None and client.version("nobody", 1) is None
    with pytest.raises(UserError, match="409"):
        client.register("orders/value", SchemaText(0, "AVRO", '"string"'))
    client.close()


def test_the_example_of_the_documentation(url, store):
    page = (Path(__file__).parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")
    block = page.split("```python\n")[1].split("```")[0]
    found = {}
    exec(block.replace("http://127.0.0.1:8080/registry", url), found)
    found["serializer"]({"id": 1}, VALUE)
    assert store.subjects() == ["orders-value"]
