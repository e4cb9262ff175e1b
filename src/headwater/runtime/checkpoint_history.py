"""What checkpoints took, `checkpoints.jsonl` in the state folder, an entry each; and going back to one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headwater.clock import Clock
from headwater.errors import UserError
from headwater.runtime.record_file import RecordFile
from headwater.runtime.state_store import StateStore
from headwater.runtime.status import take_lock
from headwater.sqlite_file import open_to_read, storage_errors

FILE = "checkpoints.jsonl"


@dataclass(frozen=True)
class Made:
    """One checkpoint.

    Attributes:
        epoch: whose end it holds.
        at_us: when it was there, microseconds since 1970 UTC.
        duration_ms: how long it took.
        bytes, files: all of it.
        new_bytes: written for it; the rest is shared with the one before.
        parts: bytes by "stream:NAME" and "model:NAME".
    """

    epoch: int
    at_us: int
    duration_ms: float
    bytes: int
    files: int
    new_bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)


def measured(folder: Path, epoch: int, at_us: int, duration_s: float) -> Made:
    """What a checkpoint's folder holds. Files that are links to the one before are shared with it."""
    parts: dict[str, int] = {}
    files = size = new = 0
    for kind in ("streams", "models"):
        for path in (folder / kind).rglob("*") if (folder / kind).is_dir() else ():
            if path.is_file():
                status = path.stat()
                files, size = files + 1, size + status.st_size
                new += status.st_size if status.st_nlink == 1 else 0
                part = f"{kind[:-1]}:{path.relative_to(folder / kind).parts[0]}"
                parts[part] = parts.get(part, 0) + status.st_size
    return Made(epoch, at_us, round(duration_s * 1000, 1), size, files, new, parts)


def note(state: Path, made: Made) -> None:
    """Keeps it.

    Raises:
        StorageFailed: it could not be written.
    """
    RecordFile(state / FILE).add(asdict(made))


def noted(state: Path, most: int) -> list[Made]:
    """The newest, newest first."""
    found = []
    for entry in RecordFile(state / FILE).newest(most):
        if entry.pop("v", None) == 1:
            found.append(Made(**entry))
    return found


def kept_epochs(state: Path) -> list[int]:
    """Epochs of the checkpoints that are there, newest first.

    Raises:
        StorageFailed: the state store cannot be read now.
    """
    path = state / "state.db"
    if not path.exists():
        return []
    with storage_errors("read the state store"):
        connection = open_to_read(path)
        try:
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'checkpoints'").fetchone()
            query = "SELECT epoch FROM checkpoints ORDER BY epoch DESC"
            return [epoch for (epoch,) in connection.execute(query)] if made else []
        finally:
            connection.close()


def go_back(state: Path, epoch: int, clock: Clock) -> list[int]:
    """Makes an earlier checkpoint the newest, so that the next start begins there; returns those that are forgotten.

    Nothing but the choice of the state to begin with changes: the plans of the epochs since are kept, and with the same
    input they come to the same rows, which the tables hold already.

    Raises:
        UserError: the project runs, or there is no such checkpoint.
    """
    lock = take_lock(state, clock)
    try:
        there = kept_epochs(state)
        if epoch not in there or not (state / "checkpoints" / str(epoch)).is_dir():
            raise UserError(
                f"there is no checkpoint of epoch {epoch}", hint=f"kept: {', '.join(map(str, there)) or 'none yet'}"
            )
        store = StateStore(state)
        try:
            store.forget_checkpoints_after(epoch)
        finally:
            store.close()
    finally:
        os.close(lock)
    return [one for one in there if one > epoch]
