"""How files that are rotated are called: `access.log` becomes `access.log.1`, `access.log-20261122`, `access-2026.log`,
and those compressed files."""

from __future__ import annotations

import re

_PACKED = re.compile(r"\.(?:gz|zst|zstd|bz2|Z|xz)$")
_AT_END = re.compile(r"(?:[-._]\d[\dTZ:_-]*)+$")
_BEFORE_EXTENSION = re.compile(r"(?:[-._]\d[\dTZ:_-]*)+(?=\.[A-Za-z]+$)")


def stem(name: str) -> str:
    """A file's name without what rotation puts on it: the same for all files of a series."""
    plain = _PACKED.sub("", name)
    return _BEFORE_EXTENSION.sub("", _AT_END.sub("", plain))


def originals(name: str) -> set[str]:
    """Names of files of which copytruncate, or a compressing program, may make a copy of this name while they are still
    there: the name is theirs and more."""
    plain = _PACKED.sub("", name)
    return {plain, _AT_END.sub("", plain), _BEFORE_EXTENSION.sub("", plain)} - {name}


def may_succeed(name: str, gone: str) -> bool:
    """Whether a file may hold what was in one that is gone: it is of the same series."""
    return stem(name) == stem(gone)
