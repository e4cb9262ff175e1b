"""A topic of JSON and one of Avro messages on a broker of its own, read to their ends: by a Kafka source to Arrow
columns, by confluent-kafka alone, and by Quix Streams. Each reader is a process of its own; processor time is that of
all its threads, librdkafka's included."""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
import venv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from headwater.bench.child import measure as in_child
from headwater.bench.ingest.sources import finding
from headwater.bench.stopwatch import Stopwatch
from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.kafka.source import KafkaSource
from headwater.clock import SystemClock
from headwater.errors import InvariantBroken
from headwater.formats.schema_source import SchemaText
from headwater.registry.store import SchemaStore
from headwater.testing.kafka import KafkaServer

Tell = Callable[[dict[str, Any]], None]
LIMIT_S = 300.0
WARM = 50_000
"""Messages read before the clock starts: what is compiled is compiled, and the brokers' answers flow."""

QUIX = "quixstreams==3.28.1"
AVRO = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "customer", "type": "long"},
        {"name": "status", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "quantity", "type": "int"},
        {"name": "country", "type": "string"},
        {"name": "placed_at", "type": "string"},
        {"name": "paid", "type": "boolean"},
    ],
}


def measure(records: int, tell: Tell) -> list[dict[str, Any]]:
    """See `headwater.bench.ingest.sources.Measure`."""
    found = []
    with KafkaServer(jvm=("-Xmx1g", "-XX:TieredStopAtLevel=4")) as server, tempfile.TemporaryDirectory() as folder:
        store = SchemaStore(Path(folder))
        schema = store.register("orders_avro-value", SchemaText(0, "AVRO", json.dumps(AVRO), ()))
        store.close()
        fill(server, "orders_json", records + WARM, _as_json)
        fill(server, "orders_avro", records + WARM, _as_avro(schema))
        given = {"servers": server.servers, "records": records}
        readers: list[tuple[str, dict[str, object]]] = [
            ("headwater", {**given, "topic": "orders_json", "format": "json", "folder": folder}),
            ("headwater", {**given, "topic": "orders_avro", "format": "avro", "folder": folder}),
            ("confluent", {**given, "topic": "orders_json"}),
        ]
        for name, arguments in readers:
            one = in_child(f"{__name__}:{name}", arguments, LIMIT_S)
            found.append({**one, "what": f"{name} {arguments.get('format', '')}".strip()})
            tell(found[-1])
        found.append({**quix(server, records), "what": "quix streams json"})
        tell(found[-1])
    return found


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Orders, one after the other."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    countries = ("IE", "FR", "DE", "PT", "SE")
    for number in range(count):
        yield {
            "id": number,
            "customer": number * 7919 % 100_003,
            "status": ("placed", "paid", "sent")[number % 3],
            "amount": number % 9973 + 0.25,
            "quantity": number % 7 + 1,
            "country": countries[number % 5],
            "placed_at": (start + timedelta(seconds=number)).isoformat(),
            "paid": number % 3 > 0,
        }


def fill(server: KafkaServer, topic: str, count: int, encode: Callable[[dict[str, Any]], bytes]) -> None:
    """Makes a topic of one partition and sends orders to it."""
    server.make_topic(topic)
    producer = Producer(
        {
            "bootstrap.servers": server.servers,
            "linger.ms": 50,
            "queue.buffering.max.messages": 2_000_000,
            "log_level": 0,
        }
    )
    for number, order in enumerate(orders(count)):
        producer.produce(topic, encode(order))
        if number % 50_000 == 0:
            producer.flush()
    producer.flush()


def _as_json(order: dict[str, Any]) -> bytes:
    return json.dumps(order).encode()


def _as_avro(schema: int) -> Callable[[dict[str, Any]], bytes]:
    """In Confluent's framing: a zero byte, the schema's id, the record."""
    import fastavro

    parsed = fastavro.parse_schema(AVRO)
    head = struct.pack(">bI", 0, schema)

    def encode(order: dict[str, Any]) -> bytes:
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, parsed, order)
        return head + buffer.getvalue()

    return encode


def headwater(servers: str, records: int, topic: str, format: str, folder: str) -> dict[str, Any]:
    """A Kafka source as `headwater run` reads it, up to the groups that would go into the log."""
    settings = KafkaSettings.model_validate({"servers": servers, "topics": {topic: {"format": format}}})
    source = KafkaSource("bench", settings, project="bench", identity=format)
    source.schemas = SchemaStore(Path(folder))
    reader = source.open(None)
    watch = Stopwatch(SystemClock())
    read = 0
    while read < WARM:
        group = reader.poll(1.0)
        read += len(group) if group is not None else 0
    begun = read
    with watch:
        while read < records + WARM:
            group = reader.poll(1.0)
            read += len(group) if group is not None else 0
            if group is not None and group.rejects is not None:
                raise InvariantBroken("a message of the bench was rejected")
    reader.close()
    source.schemas.close()
    return finding("", read - begun, watch.seconds, watch.cpu_s)


def confluent(servers: str, records: int, topic: str) -> dict[str, Any]:
    """confluent-kafka's consumer, which makes an object of each message; nothing is looked at or decoded."""
    settings = {"bootstrap.servers": servers, "group.id": "bench-confluent", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    watch = Stopwatch(SystemClock())
    read = 0
    while read < WARM:
        read += len(consumer.consume(20_000, 1.0))
    begun = read
    with watch:
        while read < records + WARM:
            read += len(consumer.consume(20_000, 1.0))
    consumer.close()
    return finding("", read - begun, watch.seconds, watch.cpu_s)


_QUIX = """
import json, resource, sys
from time import monotonic
from quixstreams import Application
servers, topic, records, warm = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
app = Application(broker_address=servers, consumer_group="bench-quix", auto_offset_reset="earliest", loglevel="ERROR")
frame = app.dataframe(app.topic(topic, value_deserializer="json"))
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
seen = 0
began = (0.0, 0.0)
def count(value):
    global seen, began
    seen += 1
    if seen == warm:
        began = (monotonic(), cpu())
frame.update(count)
app.run(count=records + warm)
print(json.dumps([seen - warm, monotonic() - began[0], cpu() - began[1]]))
"""


def quix(server: KafkaServer, records: int) -> dict[str, Any]:
    """Quix Streams, which makes a dict of each JSON message; in an environment of its own, for its confluent-kafka is
    another one. A tenth of the messages: it takes long."""
    folder = Path.home() / ".cache" / "headwater" / QUIX.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", QUIX], capture_output=True, text=True, check=False)
        if done.returncode:
            return {"error": f"{QUIX} cannot be installed: {done.stderr.strip()[-200:]}"}
        (folder / "ready").touch()
    count = max(records // 10, 1)
    arguments = [server.servers, "orders_json", str(count), str(min(WARM, count))]
    try:
        done = subprocess.run(
            [python, "-c", _QUIX, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {LIMIT_S:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-300:]}
    read, seconds, cpu_s = json.loads(done.stdout.strip().splitlines()[-1])
    return finding("", read, seconds, cpu_s)
