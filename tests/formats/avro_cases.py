"""Random Avro schemas, values of them, and what the columns of those values are: for tests and the fuzzer."""

from __future__ import annotations

import io
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import fastavro

PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10},
    {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 5},
    {"type": "string", "logicalType": "uuid"},
)
TEXTS = ("", "a", "plain text", "café", "日本語", "\U0001d518nicode", "x" * 70, "\x00", "\U0010ffff")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Maker:
    """Makes schemas and values from one random generator; names of types are never given twice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._names = 0

    def name(self, prefix):
        self._names += 1
        return f"{prefix}{self._names}"

    def record(self, depth=2):
        fields = [{"name": f"f{i}", "type": self.type(depth)} for i in range(self.rng.randrange(5))]
        fields.append({"name": "last", "type": self.rng.choice(PRIMITIVES)})
        return {"type": "record", "name": self.name("r"), "fields": fields}

    def type(self, depth):
        way = self.rng.random()
        if way < 0.35 or depth <= 0:
            return self.rng.choice(PRIMITIVES)
        if way < 0.5:
            return dict(self.rng.choice(LOGICAL))
        if way < 0.6:
            inner = self.type(depth - 1)
            return inner if isinstance(inner, list) or inner == "null" else ["null", inner]
        return self.nested(depth)

    def nested(self, depth):
        way = self.rng.randrange(8)
        if way == 0:
            return self.record(depth - 1)
        if way == 1:
            items = self.type(depth - 1)
            return {"type": "array", "items": "int" if items == "null" else items}
        if way == 2:
            return {"type": "map", "values": self.type(depth - 1)}
        if way == 3:
            return {"type": "enum", "name": self.name("e"), "symbols": ["A", "B", "C"]}
        if way == 4:
            return {"type": "fixed", "name": self.name("x"), "size": self.rng.choice((1, 7, 16))}
        if way == 5:
            return {
                "type": "fixed",
                "name": self.name("d"),
                "size": 8,
                "logicalType": "decimal",
                "precision": 12,
                "scale": 3,
            }
        if way == 6:
            return [*self.rng.sample(("null", "string", "long", "boolean", "bytes"), 3), self.record(depth - 1)]
        return self.rng.choice((["int", "long"], ["null", "float", "double"], "null", ["null", self.record(depth - 1)]))

    def value(self, schema):
        """What fastavro writes, and what the column has."""
        rng = self.rng
        if isinstance(schema, list):
            return self._union(schema)
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(schema, dict) and "logicalType" in schema:
            return self._logical(schema)
        if kind == "record":
            pairs = {field["name"]: self.value(field["type"]) for field in schema["fields"]}
            return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
        if kind == "array":
            items = [self.value(schema["items"]) for _ in range(rng.choice((0, 1, 3, 20)))]
            return [item[0] for item in items], [item[1] for item in items]
        if kind == "map":
            items = {rng.choice(TEXTS) + str(i): self.value(schema["values"]) for i in range(rng.choice((0, 1, 4)))}
            return {key: item[0] for key, item in items.items()}, [(key, item[1]) for key, item in items.items()]
        if kind == "enum":
            value = rng.choice(schema["symbols"])
        elif kind == "fixed":
            value = rng.randbytes(schema["size"])
        else:
            value = self._primitive(kind)
        return value, value

    def _primitive(self, kind):
        rng = self.rng
        if kind in ("int", "long"):
            bits = 31 if kind == "int" else 63
            return rng.choice(
                (0, -1, 1, 63, 64, -65, (1 << bits) - 1, -(1 << bits), rng.randrange(-(1 << bits), 1 << bits))
            )
        if kind in ("float", "double"):
            return rng.choice((0.0, -1.5, 0.25, float("inf"), 1024.0, -0.0))
        if kind == "bytes":
            return rng.randbytes(rng.choice((0, 1, 9, 200)))
        return {"null": None, "boolean": rng.random() < 0.5, "string": rng.choice(TEXTS)}[kind]

    def _logical(self, schema):
        kind, rng = schema["logicalType"], self.rng
        if kind == "decimal":
            whole = rng.randrange(-(10 ** schema["precision"]) + 1, 10 ** schema["precision"])
            value = Decimal((whole < 0, tuple(map(int, str(abs(whole)))), -schema["scale"]))
            return value, value if schema["precision"] <= 38 else f"{value:f}"
        if kind == "uuid":
            value = UUID(int=rng.getrandbits(128))
            return value, str(value)
        if kind == "date":
            value = date(1970, 1, 1) + timedelta(days=rng.randrange(-100_000, 100_000))
            return value, value
        millis = kind.endswith("millis")
        if kind.startswith("time-"):
            micros = rng.randrange(86_400_000_000)
            micros -= micros % 1000 if millis else 0
            value = (EPOCH + timedelta(microseconds=micros)).time()
            return value, value
        micros = rng.randrange(-(10**15), 4 * 10**15)
        value = EPOCH + timedelta(microseconds=micros - (micros % 1000 if millis else 0))
        value = value.replace(tzinfo=None) if kind.startswith("local") else value
        return value, value

    def _union(self, schema):
        branch = self.rng.choice(schema)
        given, wanted = self.value(branch)
        real = [each for each in schema if each != "null"]
        label = branch if isinstance(branch, str) else branch.get("name")
        given = (label, given) if label and branch != "null" else given
        if len(real) == 1 or set(map(str, real)) in ({"int", "long"}, {"float", "double"}):
            return given, wanted
        names = [each if isinstance(each, str) else each["name"] for each in real]
        return given, None if branch == "null" else {name: wanted if name == label else None for name in names}


def written(schema, values):
    """Values in Avro's binary encoding, by fastavro."""
    parsed = fastavro.parse_schema(schema)
    found = []
    for value in values:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        found.append(out.getvalue())
    return found
