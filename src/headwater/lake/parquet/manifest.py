"""The manifest of a version of a Parquet dataset: a JSON file, `_manifest.json`, beside the version's data files.

    {"format": 1, "version": 12, "commit": "<uuid>", "at_us": 1790000000000000, "maintenance": false, "counts": {...},
     "writer": "<uuid>", "epoch": 7, "properties": {...}, "committed": {"epoch": 7, "properties": {...}},
     "key": ["id"], "table_properties": {...}, "last_column": 3, "arrow_schema": "<base64 of an Arrow IPC schema>",
     "columns": [{"name": "id", "type": "int64", "number": 1}, ...],
     "files": [{"name": "<uuid>.parquet", "rows": 10, "size": 1234}, ...]}

`epoch` and `properties` are there if the version is the commit of an epoch; `committed` is the last such commit, in
this version or before. `columns` is for people; `arrow_schema` is what counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headwater.errors import UserError
from headwater.lake.files.version import Column, Head, LiveFile, Shape, Version
from headwater.lake.table_format import Committed

NAME = "_manifest.json"
FORMAT = 1


def encode(version: Version, commit: str) -> str:
    """The manifest of a version.

    Args:
        version: the version.
        commit: id of the attempt that writes it.
    """
    head, shape = version.head, version.shape
    return json.dumps(
        {
            "format": FORMAT,
            "version": head.number,
            "commit": commit,
            "at_us": head.at_us,
            "maintenance": head.maintenance,
            "counts": dict(head.counts),
            "writer": head.writer,
            **(_committed(head.committed) or {}),
            "committed": _committed(version.committed),
            "key": list(version.key),
            "table_properties": dict(_properties(version)),
            "last_column": shape.last,
            "arrow_schema": base64.b64encode(shape.schema.serialize().to_pybytes()).decode(),
            "columns": [{"name": c.field.name, "type": str(c.field.type), "number": c.number} for c in shape.columns],
            "files": [{"name": file.name, "rows": file.rows, "size": file.size} for file in version.files.values()],
        }
    )


def _committed(committed: Committed | None) -> dict[str, Any] | None:
    return None if committed is None else {"epoch": committed.epoch, "properties": dict(committed.properties)}


def _properties(version: Version) -> Mapping[str, str]:
    found = version.note.get("properties")
    return found if isinstance(found, Mapping) else {}


def decode_head(fields: Mapping[str, Any]) -> Head:
    """What a manifest says about its version."""
    committed = Committed(fields["epoch"], fields["properties"]) if "epoch" in fields else None
    return Head(
        fields["version"], fields["at_us"], committed, fields["writer"], fields["maintenance"], fields["counts"]
    )


def decode(text: str) -> dict[str, Any]:
    """The fields of a manifest.

    Raises:
        UserError: it is of a newer Headwater.
    """
    fields: dict[str, Any] = json.loads(text)
    if fields["format"] != FORMAT:
        raise UserError(
            f"a Parquet dataset has manifests of format {fields['format']}", hint="pip install --upgrade headwater"
        )
    return fields


def decode_version(fields: Mapping[str, Any]) -> Version:
    """The version that a manifest describes."""
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(fields["arrow_schema"])))
    numbers = [column["number"] for column in fields["columns"]]
    columns = [Column(field, number, field.name) for field, number in zip(schema, numbers, strict=True)]
    last = fields["committed"]
    return Version(
        decode_head(fields),
        Shape(tuple(columns), fields["last_column"]),
        tuple(fields["key"]),
        {file["name"]: LiveFile(file["name"], file["rows"], file["size"]) for file in fields["files"]},
        None if last is None else Committed(last["epoch"], last["properties"]),
        {"properties": fields["table_properties"], "commit": fields["commit"]},
    )
