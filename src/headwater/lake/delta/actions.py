"""The actions of our commits: what stands in a commit file, in order.

Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Actions".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from headwater.lake.delta.replay import APPLICATION, KEY_PROPERTY, State
from headwater.lake.delta.statistics import wide
from headwater.lake.delta.types import has_plain_timestamps, highest_number, needs_mapping, schema_fields
from headwater.lake.files.version import Change, Head, LiveFile, Shape, Version
from headwater.lake.table_format import Committed

_READER_FEATURES = ("deletionVectors", "columnMapping", "timestampNtz")
"""Features that readers must know; the others concern writers alone."""


_PLAIN = {"appendOnly", "invariants"}
"""Features that every writer of version 2 of the protocol has."""


def first_actions(
    shape: Shape, key: tuple[str, ...], properties: Mapping[str, str], now_us: int
) -> list[dict[str, Any]]:
    """The commit that makes a table."""
    mapped = needs_mapping(shape)
    wanted = ({"columnMapping"} if mapped else set()) | _timestamps(shape)
    metadata = {
        "id": str(uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": "",
        "partitionColumns": [],
        "configuration": dict(properties),
        "createdTime": now_us // 1000,
    }
    return [
        {"commitInfo": _info(Head(0, now_us), None, "CREATE TABLE", uuid4().hex)},
        {"protocol": _protocol({}, wanted)},
        {"metaData": _metadata(metadata, shape, key, mapped=mapped, vectors=False)},
    ]


def commit_actions(before: Version, state: State, change: Change, commit: str) -> list[dict[str, Any]]:
    """What a commit writes.

    Args:
        before: the version that it comes after.
        state: the log's state there.
        change: what it does; files that lose rows have their vector's descriptor beside them.
        commit: id of this attempt.
    """
    vectors = any(file.note.get("vector") for file in (*change.added, *change.changed))
    had = _features(state.protocol)
    mapped = "columnMapping" in had or needs_mapping(change.shape)
    wanted = had | _timestamps(change.shape)
    wanted |= ({"columnMapping"} if mapped else set()) | ({"deletionVectors"} if vectors else set())
    actions: list[dict[str, Any]] = [{"commitInfo": _info(change.head, before.committed, _operation(change), commit)}]
    epoch = change.head.committed
    if epoch is not None:
        at_ms = change.head.at_us // 1000
        actions.append({"txn": {"appId": APPLICATION, "version": epoch.epoch, "lastUpdated": at_ms}})
    if wanted - had:
        actions.append({"protocol": _protocol(state.protocol, wanted)})
    metadata = _metadata(state.metadata, change.shape, change.key, mapped=mapped, vectors="deletionVectors" in wanted)
    if metadata != state.metadata:
        actions.append({"metaData": metadata})
    moved = not change.head.maintenance
    changed = [before.files[file.name] for file in change.changed]
    actions += [_remove(file, change.head.at_us, data_change=moved) for file in (*change.dropped, *changed)]
    return actions + [_add(file, change.head.at_us, data_change=moved) for file in (*change.changed, *change.added)]


def _timestamps(shape: Shape) -> set[str]:
    return {"timestampNtz"} if has_plain_timestamps(shape.schema) else set()


def _operation(change: Change) -> str:
    if change.head.maintenance:
        return "OPTIMIZE"
    if not change.changed and not change.dropped:
        return "WRITE"
    return "MERGE" if change.added else "DELETE"


def _info(head: Head, last: Committed | None, operation: str, commit: str) -> dict[str, Any]:
    epoch, last = head.committed, head.committed or last
    ours = {
        "commit": commit,
        "writer": head.writer,
        "maintenance": head.maintenance,
        "counts": dict(head.counts),
        "at_us": head.at_us,
        "epoch": epoch.epoch if epoch is not None else None,
        "properties": dict(epoch.properties) if epoch is not None else {},
        "last": {"epoch": last.epoch, "properties": dict(last.properties)} if last is not None else {},
    }
    return {
        "timestamp": head.at_us // 1000,
        "operation": operation,
        "operationParameters": {},
        "engineInfo": "headwater",
        "isBlindAppend": operation == "WRITE",
        APPLICATION: ours,
    }


def _features(protocol: Mapping[str, Any]) -> set[str]:
    """The features of a table: those listed, or those that older versions of the protocol imply."""
    listed = {*(protocol.get("readerFeatures") or ()), *(protocol.get("writerFeatures") or ())}
    writer = int(protocol.get("minWriterVersion") or 0)
    if writer >= 7:
        return listed
    implied = [
        (2, "appendOnly"),
        (2, "invariants"),
        (3, "checkConstraints"),
        (4, "changeDataFeed"),
        (4, "generatedColumns"),
        (5, "columnMapping"),
        (6, "identityColumns"),
    ]
    return {name for least, name in implied if writer >= least}


def _protocol(before: Mapping[str, Any], features: set[str]) -> dict[str, Any]:
    readers = [name for name in _READER_FEATURES if name in features]
    former = int(before.get("minReaderVersion") or 1)
    if not features - _PLAIN:
        return {"minReaderVersion": former, "minWriterVersion": 2}
    also = [name for name in before.get("readerFeatures") or () if name not in readers]
    protocol: dict[str, Any] = {"minReaderVersion": former, "minWriterVersion": 7, "writerFeatures": sorted(features)}
    if readers or also:
        protocol |= {"minReaderVersion": 3, "readerFeatures": sorted([*readers, *also])}
    return protocol


def _metadata(
    before: Mapping[str, Any], shape: Shape, key: tuple[str, ...], *, mapped: bool, vectors: bool
) -> dict[str, Any]:
    """The table's metadata with these columns; as it was if they are as they were."""
    fields = schema_fields(shape, mapped=mapped)
    configuration = {**(before.get("configuration") or {}), KEY_PROPERTY: json.dumps(key)}
    configuration["headwater.columns.last"] = str(shape.last)
    if mapped:
        configuration |= {"delta.columnMapping.mode": "name"}
        configuration["delta.columnMapping.maxColumnId"] = str(highest_number(shape))
    if vectors:
        configuration["delta.enableDeletionVectors"] = "true"
    former = json.loads(before["schemaString"] or "{}").get("fields")
    schema = before["schemaString"] if former == fields else json.dumps({"type": "struct", "fields": fields})
    return {**before, "schemaString": schema, "configuration": configuration}


def _remove(file: LiveFile, now_us: int, *, data_change: bool) -> dict[str, Any]:
    add = file.note["add"]
    assert isinstance(add, Mapping)
    removed = {
        "path": file.name,
        "deletionTimestamp": now_us // 1000,
        "dataChange": data_change,
        "extendedFileMetadata": True,
        "partitionValues": add.get("partitionValues") or {},
        "size": file.size,
    }
    if add.get("deletionVector") is not None:
        removed["deletionVector"] = add["deletionVector"]
    return {"remove": removed}


def _add(file: LiveFile, now_us: int, *, data_change: bool) -> dict[str, Any]:
    former = file.note.get("add")
    stats = str(file.note.get("stats") or "")
    vector = file.note.get("vector")
    added: dict[str, Any] = {
        "path": file.name,
        "partitionValues": {},
        "size": file.size,
        "modificationTime": now_us // 1000,
        **({name: given for name, given in former.items() if given is not None} if isinstance(former, Mapping) else {}),
        "dataChange": data_change,
        "stats": wide(stats) if vector else stats,
    }
    if vector:
        added["deletionVector"] = vector
    return {"add": added}
