"""Poison through the whole runtime, in every format: the rest flows, what is in the ledger is exact, the accounts hold,
and after a fix a replay leads to the tables that there would be had nothing ever been poisoned."""

import json

import pytest
from scripted_project import Shop

from headwater.capture.messages.settings import MessageStreamSettings
from headwater.runtime.state_store import StateStore
from headwater.testing.message_source import ScriptedMessages

COUNT = 400
AVRO = {"type": "record", "name": "e", "fields": [{"name": "id", "type": "long"}, {"name": "n", "type": "double"}]}


def json_message(number, value="1.5"):
    return f'{{"id":{number},"n":{value},"s":"x{number}"}}'.encode()


def event(number, value="1.5"):
    key = number % 50
    row = f'{{"id":{key},"n":{value},"s":"x{number}"}}'
    return f'{{"before":null,"after":{row},"op":"u","ts_ms":1}}'.encode(), f'{{"id":{key}}}'.encode()


def avro(number):
    import io

    from fastavro import parse_schema, schemaless_writer

    buffer = io.BytesIO()
    schemaless_writer(buffer, parse_schema(AVRO), {"id": number, "n": 1.5})
    return buffer.getvalue()


GARBAGE = {
    "json": ({"format": "json"}, json_message, b'{"id":'),
    "csv": ({"format": {"type": "csv", "header": ["id", "n"]}}, lambda n: f"{n},1.5".encode(), b"1,2,3"),
    "raw": ({"format": {"type": "raw", "text": True}}, lambda n: f"line {n}".encode(), b"\xff\xfe"),
    "debezium-json": ({"format": "debezium-json", "key": ["id"]}, event, b'{"op":"u"}'),
    "avro": ({"format": {"type": "avro", "framing": "none", "schema": json.dumps(AVRO)}}, avro, b"\x80"),
}
"""Settings, a good message, and one that no fix can mend."""

MENDABLE = {
    "json": (
        {"format": "json"},
        {"format": {"type": "json", "nan": True}},
        json_message,
        lambda n: json_message(n, "NaN"),
    ),
    "csv": (
        {"format": "csv", "schema": "freeze"},
        {"format": "csv"},
        lambda n: f"{n},a".encode(),
        lambda n: f"{n},a,z".encode(),
    ),
    "types": (
        {"format": "json", "columns": {"s": "INTEGER"}},
        {"format": "json", "columns": {"s": "VARCHAR"}},
        lambda n: json_message(n).replace(b'"x', b'"'),
        json_message,
    ),
    "debezium-json": (
        {"format": "debezium-json", "key": ["id"]},
        {"format": {"type": "debezium-json", "nan": True}, "key": ["id"]},
        event,
        lambda n: event(n, "NaN"),
    ),
}
"""Settings under which some messages are poison, settings under which they are not, a good message, and poison."""


class Stream(Shop):
    """A project of one stream of messages."""

    def __init__(self, folder, settings):
        super().__init__(folder)
        text = (folder / "headwater.yml").read_text()
        (folder / "headwater.yml").write_text(
            text.replace("    streams:\n", "").split("      events:")[0] + "run: {epoch_interval: 20 ms}\n"
        )
        self.source = ScriptedMessages("shop", MessageStreamSettings.model_validate(settings), batch=90)

    def run_once(self):
        with StateStoreSchemas(self):
            super().run_once()

    def ledger(self, verb, *arguments):
        store = StateStore(self.state)
        try:
            with store.transaction():
                return getattr(store.ledger, verb)(*arguments)
        finally:
            store.close()

    def open_rejects(self):
        return self.ledger("entries", ("open",))


class StateStoreSchemas:
    """The project's schema store, open during a run."""

    def __init__(self, shop):
        self.shop = shop

    def __enter__(self):
        from headwater.registry.store import SchemaStore

        self.shop.source.schemas = SchemaStore(self.shop.state)

    def __exit__(self, *_):
        self.shop.source.schemas.close()


def poisoned(every):
    return [number % every == every // 2 for number in range(COUNT)]


@pytest.mark.parametrize("every", [100, 1], ids=["1 %", "100 %"])
@pytest.mark.parametrize("form", GARBAGE)
def test_the_rest_flows_and_the_ledger_is_exact(tmp_path, form, every):
    settings, good, poison = GARBAGE[form]
    shop = Stream(tmp_path, settings)
    bad = poisoned(every)
    shop.source.add(poison if is_bad else good(number) for number, is_bad in enumerate(bad))
    shop.run_once()
    rejects = shop.open_rejects()
    assert len(rejects) == sum(bad)
    assert [reject.position.split(":") for reject in rejects] == [
        [str(number // 90 * 90 + 1), str(number % 90)] for number, is_bad in enumerate(bad) if is_bad
    ]
    assert all(reject.record.endswith(poison) and reject.stage == "decode" for reject in rejects)
    assert shop.source.confirmed == COUNT
    assert shop.status()["accounting"]
    if every > 1 or form != "debezium-json":  # of which nothing is known as long as its key is not
        assert shop.account("shop")["rejected"] == sum(bad)
    if every > 1:
        landed = {row["_offset"] for row in shop.rows("shop")}
        keys = 50 if "key" in settings else COUNT
        assert landed == set({number % keys: number for number, is_bad in enumerate(bad) if not is_bad}.values())


@pytest.mark.parametrize("every", [100, 1], ids=["1 %", "100 %"])
@pytest.mark.parametrize("form", MENDABLE)
def test_a_replay_after_a_fix_leads_to_the_tables_that_nothing_poisoned(tmp_path, form, every):
    broken, mended, good, poison = MENDABLE[form]
    bad = [False, *poisoned(every)[1:]]  # the first says what the stream is like
    messages = [poison(number) if is_bad else good(number) for number, is_bad in enumerate(bad)]
    whole = Stream(tmp_path / "whole", mended)
    whole.source.add(messages)
    whole.run_once()
    assert not whole.open_rejects()

    shop = Stream(tmp_path / "poisoned", broken)
    shop.source.add(messages)
    shop.run_once()
    assert shop.open_rejects()
    shop.source.settings = MessageStreamSettings.model_validate(mended)
    shop.ledger("ask_replay", [reject.id for reject in shop.open_rejects()])
    shop.run_once()
    assert not shop.open_rejects()
    assert [str(row) for row in shop.rows("shop")] == [str(row) for row in whole.rows("shop")]
    assert shop.account("shop")["holds"]
