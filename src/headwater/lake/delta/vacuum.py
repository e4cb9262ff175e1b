"""Shortens a Delta table's history: its log, and the files that no version has any more.

deltalake's `vacuum(full=True)` takes deletion vectors that are in use for files that nobody needs (1.6.6), and its
plain `vacuum` never finds what a crash left; so this is one that knows what is referenced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headwater.lake.delta.deletion_vectors import location
from headwater.lake.delta.replay import checkpoints, commit_numbers, commit_path, data_path, replayed
from headwater.lake.files.version import Head


def vacuum(
    folder: Path, table: str, heads: Sequence[Head], keep: int, older_than_us: int, checkpoint: Callable[[int], None]
) -> list[str]:
    """Removes commits before the oldest kept version, and the data files and deletion vectors that only versions before
    it name. What no version names is left alone: a commit under way may be about to.

    Args:
        folder: the table's.
        table: its name, for messages.
        heads: of all versions, newest first.
        keep: how many versions are kept at least.
        older_than_us: what is not older is kept too, microseconds since 1970 UTC.
        checkpoint: writes a checkpoint of a version, if it can.

    Returns:
        What was removed, as paths in the folder.

    Raises:
        OSError: the disk failed; what was removed until then is of no use to anybody.
    """
    kept = [head for at, head in enumerate(heads) if at < max(keep, 1) or head.at_us > older_than_us]
    oldest, first = min(head.number for head in kept), heads[-1].number
    if oldest == first:
        return []
    checkpoint(oldest)
    if oldest not in checkpoints(folder):
        return []
    removed = list(_referenced(folder, table, first, oldest) - _referenced(folder, table, oldest, heads[0].number))
    removed += [commit_path(folder, number) for number in commit_numbers(folder) if number < oldest]
    removed += [path for number, paths in checkpoints(folder).items() if number < oldest for path in paths]
    for path in removed:
        path.unlink(missing_ok=True)
    return [str(path.relative_to(folder)) for path in removed]


def unreferenced(folder: Path, table: str, heads: Sequence[Head], older_than_us: int) -> list[Path]:
    """Data files and deletion vectors that no version in the log names, and that are older."""
    needed = _referenced(folder, table, heads[-1].number, heads[0].number)
    return [path for path in _candidates(folder) if path not in needed and _age_us(path) <= older_than_us]


def _referenced(folder: Path, table: str, oldest: int, newest: int) -> set[Path]:
    """Files of every version from `oldest` to `newest`."""
    needed: set[Path] = set()
    state = None
    for number in range(oldest, newest + 1):
        state = replayed(folder, number, table, state)
        needed |= {path for add in state.files.values() for path in _files_of(folder, add)}
    return needed


def _files_of(folder: Path, add: dict[str, Any]) -> list[Path]:
    vector = add.get("deletionVector")
    found = location(folder, vector) if vector is not None else None
    return [data_path(folder, add["path"]), *([found] if found is not None else [])]


def _candidates(folder: Path) -> list[Path]:
    """Data files and deletion vectors under the folder, hidden ones and the log left out."""
    found = []
    for path in folder.rglob("*"):
        hidden = any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix in (".parquet", ".bin"):
            found.append(path)
    return found


def _age_us(path: Path) -> int:
    return int(path.stat().st_mtime * 1e6)
