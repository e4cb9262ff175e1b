"""Raw messages as a source of messages hands them on, and one of them as the bytes of a reject."""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import cast

import pyarrow as pa

from headwater.errors import UserError
from headwater.position import Position

MESSAGE_SCHEMA = pa.schema(
    [
        pa.field("value", pa.binary()),
        pa.field("key", pa.binary()),
        pa.field("headers", pa.map_(pa.string(), pa.binary())),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("partition", pa.string()),
        pa.field("offset", pa.int64()),
    ]
)
"""Messages of one stream, in order. `value` is null in a tombstone; `partition` says where the message comes from (a
number, a queue, a file), `offset` where it stands there."""

_MAGIC = b"HWMS1"
_LENGTH = struct.Struct(">I")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def messages_of(values: pa.Array, **columns: pa.Array) -> pa.RecordBatch:
    """A batch of messages of these values and columns of `MESSAGE_SCHEMA`; the other columns are null."""
    given = {"value": values.cast(pa.binary()), **columns}
    arrays = [given.get(f.name, pa.nulls(len(values), f.type)) for f in MESSAGE_SCHEMA]
    return pa.RecordBatch.from_arrays(
        [a.cast(f.type) for a, f in zip(arrays, MESSAGE_SCHEMA, strict=True)], schema=MESSAGE_SCHEMA
    )


def frame(message: dict[str, object], place: Position, stream: str = "") -> bytes:
    """A message as bytes that stand for themselves: what a reject keeps.

    Format, version 1: the magic `HWMS1`, the length of a JSON header (4 bytes, big endian), the header, then the
    bytes of the value. The header has `stream`, `commit` and `ordinal`, and of `partition`, `offset`, `timestamp`
    (microseconds), `key` (base64) and `headers` (pairs of name and base64) those that are there; `tombstone` if there
    is no value.
    """
    header: dict[str, object] = {"stream": stream, "commit": place.commit, "ordinal": place.ordinal}
    for name in ("partition", "offset"):
        if message[name] is not None:
            header[name] = message[name]
    if message["timestamp"] is not None:
        header["timestamp"] = (cast(datetime, message["timestamp"]) - _EPOCH) // timedelta(microseconds=1)
    if message["key"] is not None:
        header["key"] = _encoded(message["key"])
    if message["headers"]:
        pairs = cast("list[tuple[str, bytes | None]]", message["headers"])
        header["headers"] = [[name, None if value is None else _encoded(value)] for name, value in pairs]
    if message["value"] is None:
        header["tombstone"] = True
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((_MAGIC, _LENGTH.pack(len(encoded)), encoded, cast(bytes, message["value"] or b"")))


def unframe(record: bytes) -> tuple[pa.RecordBatch, Position]:
    """The message of those bytes, as a batch of one, and its position.

    Raises:
        UserError: they are not a message.
    """
    start = len(_MAGIC) + _LENGTH.size
    try:
        if not record.startswith(_MAGIC):
            raise ValueError("no magic")
        (length,) = _LENGTH.unpack_from(record, len(_MAGIC))
        header = json.loads(record[start : start + length])
        row = {
            "value": None if header.get("tombstone") else record[start + length :],
            "key": base64.b64decode(header["key"]) if "key" in header else None,
            "headers": [(n, None if v is None else base64.b64decode(v)) for n, v in header.get("headers", ())] or None,
            "timestamp": header.get("timestamp"),
            "partition": header.get("partition"),
            "offset": header.get("offset"),
        }
        found = pa.RecordBatch.from_pylist([row], schema=MESSAGE_SCHEMA)
        return found, Position(int(header["commit"]), int(header["ordinal"]))
    except (ValueError, KeyError, TypeError, struct.error, pa.ArrowException) as error:
        raise UserError("these bytes are not a message of a source") from error


def stream_of(record: bytes) -> str:
    """The stream whose message those bytes are; empty if they do not say.

    Raises:
        UserError: they are not a message.
    """
    unframe(record)
    (length,) = _LENGTH.unpack_from(record, len(_MAGIC))
    start = len(_MAGIC) + _LENGTH.size
    return str(json.loads(record[start : start + length]).get("stream", ""))


def as_text(record: bytes) -> list[dict[str, object]]:
    """A rejected message for people: its value as text as far as it is text, and where it stood.

    Raises:
        UserError: these bytes are not a message.
    """
    found, place = unframe(record)
    row = found.to_pylist()[0]
    shown: dict[str, object] = {"position": f"{place.commit}:{place.ordinal}"}
    shown |= {name: row[name] for name in ("partition", "offset") if row[name] is not None}
    shown |= {
        name: row[name].decode("utf-8", errors="backslashreplace") for name in ("key", "value") if row[name] is not None
    }
    return [shown]


def _encoded(value: object) -> str:
    return base64.b64encode(cast(bytes, value)).decode("ascii")
