"""What streams are like, as subjects of the registry that are only read: each version of a stream as an Avro schema.

The subject of the stream `orders` is `orders-value`, where Confluent's clients look for the values of a topic of that
name. Who registers a schema under that subject (a producer, a sync) has it: the stream's versions are not shown there
any more, and keep their ids.
"""

from __future__ import annotations

import json
import re
from typing import Final

import pyarrow as pa

from headwater.errors import UserError
from headwater.formats.avro.derived import schema_of
from headwater.formats.schema_source import SchemaText
from headwater.schema import StreamSchema

SUFFIX: Final = "-value"


def subject_of(stream: str) -> str:
    """The subject under which a stream's versions are found."""
    return stream + SUFFIX


def stream_of(subject: str) -> str | None:
    """The stream whose versions a subject may show; None if it is no such subject."""
    return subject.removesuffix(SUFFIX) if subject.endswith(SUFFIX) and subject != SUFFIX else None


def described(stream: StreamSchema) -> SchemaText:
    """A stream as an Avro schema without an id: a record of nullable fields, in the columns' order.

    A column whose name Avro does not allow has another one, and its own as the property `column`. One of a type that
    has no place in Avro is a string, and `doc` says of what type it is.
    """
    fields: list[dict[str, object]] = []
    taken: set[str] = set()
    for column in stream.columns:
        name = _free(re.sub(r"^(?=[0-9]|$)", "_", re.sub(r"[^A-Za-z0-9_]", "_", column.name)), taken)
        made = _field(pa.field(name, column.type), stream.name)
        fields.append(made if name == column.name else {**made, "column": column.name})
    record = json.loads(schema_of(pa.schema([]), stream.name))
    return SchemaText(0, "AVRO", json.dumps({**record, "fields": fields}))


def _field(column: pa.Field, stream: str) -> dict[str, object]:
    try:
        (made,) = json.loads(schema_of(pa.schema([column]), stream))["fields"]
    except UserError:
        return {"name": column.name, "type": ["null", "string"], "default": None, "doc": str(column.type)}
    return dict(made)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
