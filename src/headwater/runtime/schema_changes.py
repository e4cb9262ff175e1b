"""When the columns of streams changed, and how: `schema_changes.jsonl` in the state folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.runtime.record_file import RecordFile
from headwater.schema import StreamSchema, successors

FILE = "schema_changes.jsonl"


def changes_between(before: StreamSchema, after: StreamSchema) -> list[dict[str, str]]:
    """What became of the columns: `what` is added, removed, renamed, retyped or key; `was` and `now` names or types."""
    continued = successors(before.columns, after.columns)
    found: list[dict[str, str]] = []
    for field in before.columns:
        now = continued.get(field.name)
        if now is None:
            found.append({"what": "removed", "column": field.name, "was": str(field.type), "now": ""})
            continue
        if now.name != field.name:
            found.append({"what": "renamed", "column": now.name, "was": field.name, "now": now.name})
        if now.type != field.type:
            found.append({"what": "retyped", "column": now.name, "was": str(field.type), "now": str(now.type)})
    kept = {field.name for field in continued.values()}
    for field in after.columns:
        if field.name not in kept:
            found.append({"what": "added", "column": field.name, "was": "", "now": str(field.type)})
    if before.key != after.key:
        found.append({"what": "key", "column": "", "was": ", ".join(before.key), "now": ", ".join(after.key)})
    return found


def note(state: Path, at_us: int, epoch: int, before: StreamSchema, after: StreamSchema) -> None:
    """Notes that a stream has other columns from an epoch on.

    Raises:
        StorageFailed: it could not be written.
    """
    entry = {"at_us": at_us, "epoch": epoch, "stream": after.name, "changes": changes_between(before, after)}
    RecordFile(state / FILE).add(entry)


def noted(state: Path, most: int) -> list[Mapping[str, Any]]:
    """The newest changes, newest first."""
    return [*RecordFile(state / FILE).newest(most)]
