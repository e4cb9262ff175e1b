"""The state of a Delta table from its log: the newest checkpoint, and the commits after it.

Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md. Of ours are in a commit: `commitInfo.headwater`
(epoch, properties, writer, id of the attempt, and the last epoch of ours) and a `txn` with our application id and the
epoch as its version, which checkpoints keep. Properties would fit a `domainMetadata` better, but deltalake 1.6 does not
write to tables that have that feature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow.parquet as pq

from headwater.errors import UserError
from headwater.lake.delta.deletion_vectors import read as read_vector
from headwater.lake.delta.types import shape_of
from headwater.lake.files.version import NOTHING, Head, LiveFile, Version
from headwater.lake.table_format import Committed

APPLICATION = "headwater"
"""Application id of our `txn` actions, and name of what is ours in `commitInfo`."""

KEY_PROPERTY = "headwater.key"
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")
_READS = {"deletionVectors", "columnMapping", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
_ACTIONS = ("add", "metaData", "protocol", "txn")


@dataclass
class State:
    """A table's state while its log is being read.

    Attributes:
        number: the version that it has come to; -1: none.
        files: add actions by path.
        metadata, protocol: the actions that hold.
        epoch: our last epoch, by the `txn` action.
        last: our last epoch and its properties, as commits of ours have them.
        head: of the version that it has come to.
    """

    number: int = -1
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    last: dict[str, Any] = field(default_factory=dict)
    head: Head | None = None

    def apply(self, action: Mapping[str, Any]) -> None:
        """Takes one action in."""
        for kind, given in action.items():
            if given is None:
                continue
            if kind == "add":
                self.files[given["path"]] = given
            elif kind == "remove":
                held = self.files.get(given["path"])
                if held is not None and _vector_id(held) == _vector_id(given):
                    del self.files[given["path"]]
            elif kind == "metaData":
                self.metadata = given
            elif kind == "protocol":
                self.protocol = given
            elif kind == "txn" and given["appId"] == APPLICATION:
                self.epoch = given["version"]
            elif kind == "commitInfo" and isinstance(given.get(APPLICATION), Mapping):
                self.last = given[APPLICATION]["last"]


def _vector_id(action: Mapping[str, Any]) -> object:
    vector = action.get("deletionVector")
    return None if vector is None else (vector["storageType"], vector["pathOrInlineDv"], vector.get("offset"))


def commit_path(folder: Path, number: int) -> Path:
    """The file of a commit."""
    return folder / "_delta_log" / f"{number:020d}.json"


def commit_numbers(folder: Path) -> list[int]:
    """Versions of which the log has the commit, newest first."""
    log = folder / "_delta_log"
    if not log.is_dir():
        return []
    return sorted((int(p.stem) for p in log.iterdir() if p.suffix == ".json" and p.stem.isdigit()), reverse=True)


def checkpoints(folder: Path) -> dict[int, list[Path]]:
    """Checkpoints that are whole, by version."""
    found: dict[int, list[Path]] = {}
    whole: dict[int, list[Path]] = {}
    log = folder / "_delta_log"
    for path in sorted(log.iterdir()) if log.is_dir() else ():
        named = _CHECKPOINT.fullmatch(path.name)
        if named is None:
            continue
        parts = found.setdefault(int(named[1]), [])
        parts.append(path)
        if len(parts) == int(named[3] or 1):
            whole[int(named[1])] = parts
    return whole


def replayed(folder: Path, number: int, table: str, known: State | None = None) -> State:
    """The state at a version.

    Args:
        folder: the table's.
        number: the version.
        table: the table's name, for messages.
        known: the state at an earlier version; it is changed.

    Raises:
        UserError: the log no longer reaches back so far, or the table needs what we do not read.
        OSError: the log cannot be read.
    """
    state = known or State()
    for at, paths in sorted(checkpoints(folder).items()) if known is None else ():
        if at <= number:
            state, newest = State(at), paths
    if state.number >= 0 and known is None:
        for action in _checkpoint_actions(newest):
            state.apply(action)
        state.last = _last_before(folder, state.number)
    while state.number < number:
        path = commit_path(folder, state.number + 1)
        if not path.exists():
            raise UserError(
                f"table {table!r}: its log does not reach back to version {number}",
                hint="read a later epoch; `headwater maintain` and other engines' VACUUM shorten what is kept",
            )
        _apply_commit(path, state)
    if state.head is None or state.head.number != number:
        state.head = _head_at(folder, number)
    _refuse_unread(state, table)
    return state


def _last_before(folder: Path, number: int) -> dict[str, Any]:
    """Our last epoch and its properties at a version, from the newest commit of ours until then that is kept."""
    for at in commit_numbers(folder):
        if at <= number:
            ours = _info_of(commit_path(folder, at)).get(APPLICATION)
            if isinstance(ours, Mapping):
                return dict(ours["last"])
    return {}


def _checkpoint_actions(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            columns = [name for name in _ACTIONS if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist(maps_as_pydicts="strict"):
                    yield {kind: given for kind, given in row.items() if given is not None}


def _apply_commit(path: Path, state: State) -> None:
    """One commit: its removes first, for a file's old and new deletion vectors may come in any order."""
    actions = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    for action in sorted(actions, key=lambda action: "remove" not in action):
        state.apply(action)
    state.number += 1
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    state.head = head_of(state.number, info)


def _head_at(folder: Path, number: int) -> Head:
    path = commit_path(folder, number)
    return read_head(path) if path.exists() else Head(number, 0)


def read_head(path: Path) -> Head:
    """What a commit says about itself, from its file."""
    info = _info_of(path)
    return head_of(int(path.stem), info) if info else Head(int(path.stem), int(path.stat().st_mtime * 1e6))


def _info_of(path: Path) -> dict[str, Any]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"commitInfo"'):
                info: dict[str, Any] = json.loads(line)["commitInfo"]
                return info
    return {}


def head_of(number: int, info: Mapping[str, Any]) -> Head:
    """What a commit's `commitInfo` says."""
    at_us = int(info.get("timestamp") or 0) * 1000
    ours = info.get(APPLICATION)
    if not isinstance(ours, Mapping):
        return Head(number, at_us)
    committed = Committed(ours["epoch"], ours["properties"]) if ours.get("epoch") is not None else None
    return Head(number, ours["at_us"], committed, ours["writer"], ours["maintenance"], ours["counts"])


def _refuse_unread(state: State, table: str) -> None:
    unknown = set(state.protocol.get("readerFeatures") or ()) - _READS
    if unknown:
        raise UserError(
            f"table {table!r} uses features of Delta that Headwater does not read: {sorted(unknown)}",
            hint="drop them in the engine that set them (ALTER TABLE ... DROP FEATURE), or read it there",
        )


def version_of(folder: Path, state: State, table: str, known: Version | None = None) -> Version:
    """A state as a version; deletion vectors that `known` has are not read again.

    Raises:
        OSError: a deletion vector cannot be read.
    """
    configuration = dict(state.metadata.get("configuration") or {})
    schema = json.loads(state.metadata["schemaString"])
    last = int(configuration.get("headwater.columns.last") or 0)
    head = state.head
    assert head is not None
    properties = {name: text for name, text in configuration.items() if not name.startswith(("delta.", "headwater."))}
    properties |= {n: t for n, t in configuration.items() if n.startswith("headwater.") and n not in _OWN}
    committed = None
    if state.epoch is not None:
        given = state.last.get("properties", {}) if state.last.get("epoch") == state.epoch else {}
        committed = Committed(state.epoch, given)
    before = known.files if known is not None else {}
    return Version(
        head,
        shape_of(schema["fields"], last, table),
        tuple(json.loads(configuration.get(KEY_PROPERTY) or "[]")),
        {path: _file(folder, add, before.get(path)) for path, add in state.files.items()},
        committed,
        {"properties": properties, "state": state},
    )


_OWN = {KEY_PROPERTY, "headwater.columns.last"}


def _file(folder: Path, add: dict[str, Any], known: LiveFile | None) -> LiveFile:
    if known is not None and known.note.get("add") is add:
        return known
    vector = add.get("deletionVector")
    deleted = NOTHING
    if vector is not None:
        had = known.note.get("add") if known is not None else {}
        same = isinstance(had, Mapping) and _vector_id(had) == _vector_id(add)
        deleted = known.deleted if known is not None and same else read_vector(folder, vector)
    stats = json.loads(add.get("stats") or "{}")
    rows = stats.get("numRecords")
    if rows is None:
        rows = pq.read_metadata(data_path(folder, add["path"])).num_rows
    return LiveFile(add["path"], int(rows), int(add["size"]), deleted, {"add": add, "stats": add.get("stats") or ""})


def data_path(folder: Path, name: str) -> Path:
    """Where a file lies that an action names: by a path in the table's folder or a location, percent-encoded."""
    parsed = urlparse(name)
    return Path(unquote(parsed.path)) if parsed.scheme else folder / unquote(name)
