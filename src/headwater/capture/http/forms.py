"""In which forms a body may come, and how each is cut into messages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from headwater.capture.http import cloudevents
from headwater.capture.http.containers import NO_CONTAINERS, Containers
from headwater.errors import UserError
from headwater.formats.avro.container import MAGIC
from headwater.formats.splitting import csv_rows, json_lines, json_values

JSON, CSV, AVRO, OWN, CONTAINER = "json", "csv", "avro", "own", "avro-container"
"""How a message is to be decoded: as the stream's format says (`own`), or as its content type does."""
_TYPES = {
    "application/json": "values",
    "text/json": "values",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
    "application/json-lines": "lines",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/avro": "avro",
    "avro/binary": "avro",
    "application/vnd.apache.avro": "avro",
    "application/octet-stream": "own",
    cloudevents.STRUCTURED: "event",
    cloudevents.BATCH: "events",
}
ACCEPTED = ", ".join(dict.fromkeys(_TYPES))


@dataclass(frozen=True)
class Body:
    """A body that was cut.

    Attributes:
        form: how its messages are to be decoded; for CSV followed by its columns, as JSON.
        values: the messages, binary.
    """

    form: str
    values: pa.BinaryArray


class Unknown(UserError):
    """A content type that is not taken."""

    code = "HW-BODY-TYPE"


@dataclass(frozen=True)
class ContentType:
    """A `Content-Type`, taken apart.

    Attributes:
        name: lower case, without parameters.
        parameters: by name, lower case.
    """

    name: str
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, header: str) -> ContentType:
        """Of a header."""
        name, *rest = header.split(";")
        pairs = (part.partition("=") for part in rest)
        return cls(
            name.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
        )


def require_known(content_type: ContentType, headers: Mapping[str, str]) -> None:
    """Looks whether a body of this type is taken at all, before it is read.

    Raises:
        Unknown: it is not.
    """
    if cloudevents.MARK in headers:
        return
    if _kind(content_type) is None:
        raise Unknown(f"bodies of the type {content_type.name or '(none)'!r} are not taken")
    if content_type.parameters.get("charset", "utf-8") not in ("utf-8", "utf8", "us-ascii"):
        raise Unknown(f"text is taken in UTF-8, not in {content_type.parameters['charset']}")


def cut(
    content_type: ContentType, headers: Mapping[str, str], body: bytes, containers: Containers = NO_CONTAINERS
) -> Body:
    """Cuts a body into messages.

    Args:
        content_type: of the body.
        headers: of the request, names in lower case.
        body: unpacked.
        containers: cuts Avro container files.

    Raises:
        UserError: the body as a whole is not what its type says.
    """
    kind = _kind(content_type)
    if cloudevents.MARK in headers and kind not in ("event", "events"):
        return Body(JSON, pa.array([cloudevents.from_binary(headers, content_type.name, body)], pa.binary()))
    if kind == "lines":
        return Body(JSON, json_lines(body))
    if kind == "csv":
        return _csv(content_type, body)
    if kind == "avro" and body.startswith(MAGIC):
        return Body(CONTAINER, containers.cut(body))
    if kind in ("avro", "own"):
        return Body(AVRO if kind == "avro" else OWN, pa.array([body], pa.binary()))
    values = json_values(body)
    if kind == "event" and body.lstrip()[:1] == b"[":
        raise UserError(f"{cloudevents.STRUCTURED} is one event; several are {cloudevents.BATCH}")
    if kind == "events" and body.lstrip()[:1] != b"[":
        raise UserError(f"{cloudevents.BATCH} is an array of events")
    return Body(JSON, values)


def _kind(content_type: ContentType) -> str | None:
    name = content_type.name
    return _TYPES.get(name) or ("values" if name.startswith("application/") and name.endswith("+json") else None)


def _csv(content_type: ContentType, body: bytes) -> Body:
    """CSV with a header; each record is a message, its columns stand in the form."""
    rows = csv_rows(body)
    if content_type.parameters.get("header") == "absent":
        return Body(OWN, rows)
    if not len(rows):
        raise UserError("CSV begins with a line that names the columns")
    try:
        names = next(csv.reader(io.StringIO(rows[0].as_py().decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise UserError(f"the first line does not name columns: {error}") from error
    names = [name.strip() for name in names]
    if not all(names) or len(set(names)) < len(names):
        raise UserError(f"the first line must name each column once: {', '.join(names)[:200]}")
    return Body(f"{CSV}{json.dumps(names)}", rows[1:])
