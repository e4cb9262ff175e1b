"""A running project's registry, and what becomes of messages whose schema it does not have, or that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from ingesting import Web, wait_until

from headwater.runtime.state_store import StateStore

PROJECT = """
name: shop
api: {{port: 0}}
sources:
  web:
    type: http
    streams:
      orders: {{format: FORMAT, key: [id], columns: {{id: BIGINT}}}}
      events:
run: {{epoch_interval: 300 ms, checkpoint_interval: 1 s}}
"""
AVRO = {
    "type": "record",
    "name": "order",
    "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": "string"}],
}
PROTO = 'syntax = "proto3"; message Order { int64 id = 1; string note = 2; }'
MESSAGES = 100
CASES = {
    "avro": (Schema(json.dumps(AVRO), "AVRO"), lambda n: bytes([2 * (n % 50), 2, 97 + n % 2])),
    "protobuf": (Schema(PROTO, "PROTOBUF"), lambda n: b"\0" + bytes([8, n % 50, 18, 1, 97 + n % 2])),
}

LATE = {
    "avro": Schema(json.dumps({**AVRO, "doc": "the same"}), "AVRO"),
    "protobuf": Schema(PROTO.replace("Order", "Order2"), "PROTOBUF"),
}
"""Schemas that say the same of the messages and are others all the same, so that they have ids of their own."""


def ask_replay(web: Web, identifiers: list[int]) -> int:
    store = StateStore(web.folder / ".headwater")
    try:
        with store.transaction():
            return store.ledger.ask_replay(identifiers)
    finally:
        store.close()


def test_a_serializer_registers_with_a_running_project(tmp_path: Path) -> None:
    web = Web(tmp_path, project=PROJECT.replace("FORMAT", "avro"))
    with web.running() as supervisor:
        client = SchemaRegistryClient({"url": f"{supervisor.api_url}/registry"})
        serializer = AvroSerializer(client, json.dumps(AVRO))
        context = SerializationContext("orders", MessageField.VALUE)
        for note in ("new", "paid"):
            answer = web.post("orders", serializer({"id": 1, "note": note}, context), "avro/binary")
        assert web.land(answer, "orders").status_code == 200
        assert client.get_subjects() == ["events-value", "orders-value"]  # what a stream is like, and what came
        assert client.get_versions("orders-value") == [1]
    assert [(row["id"], row["note"]) for row in web.rows("orders")] == [(1, "paid")]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [1, 100])
def test_messages_of_a_schema_that_comes_late_are_replayed_as_if_it_had_been_there(
    tmp_path: Path, name: str, share: int
) -> None:
    """`share` per cent name a schema that is registered later, as many again are damaged; the rest flows."""
    schema, message = CASES[name]
    web = Web(tmp_path, project=PROJECT.replace("FORMAT", name))
    late = {n for n in range(MESSAGES) if n % (MESSAGES // share) == 0}
    with web.running() as supervisor:
        client = SchemaRegistryClient({"url": f"{supervisor.api_url}/registry"})
        client.set_compatibility(level="NONE")
        web.land(web.post("events", b'{"x": 1}'), "events")  # so that what it is like has its id by now
        known = client.register_schema("orders-value", schema)
        for n in range(MESSAGES):
            head = b"\0" + (known + 1 if n in late else known).to_bytes(4, "big")
            web.post("orders", head + message(n), "application/octet-stream")
            if n in late:
                web.post("orders", b"\0" + known.to_bytes(4, "big") + message(n)[:-1], "application/octet-stream")
        web.land(web.post("events", b'{"x": 1}'), "events")
        wait_until(lambda: len(web.rejects()) == 2 * len(late))
        rejects = web.rejects()
        reasons = [each.reason for each in rejects]
        assert (reasons.count("unknown_schema"), reasons.count("ends_early")) == (len(late), len(late))
        assert {each.stage for each in rejects} == {"decode"}
        again = LATE[name]
        assert client.register_schema("orders-value", again) == known + 1
        ask_replay(web, [each.id for each in rejects if each.reason == "unknown_schema"])
        wait_until(lambda: len(web.rejects()) == len(late))
    streams = [stream for source in web.status()["sources"] for stream in source["streams"]]
    account = next(each for each in streams if each["name"] == "orders")
    assert account["holds"] and (account["read"], account["rejected"]) == (MESSAGES + len(late), len(late))
    wanted = {n % 50: chr(97 + n % 2) for n in range(MESSAGES)}
    assert {row["id"]: row["note"] for row in web.rows("orders")} == wanted
