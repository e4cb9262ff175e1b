"""Which tables and columns the patterns of the settings mean, and the default names of what is made for them."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from headwater.capture.postgres.table import DEFAULT_SCHEMA
from headwater.errors import SourceStopped

NAME_BYTES = 63
"""Longest identifier of PostgreSQL (NAMEDATALEN - 1)."""


def select_tables(patterns: Sequence[str], existing: Iterable[str]) -> list[str]:
    """Names of the tables meant, schema.table, in alphabetical order.

    Raises:
        SourceStopped: a pattern means no table; the message offers the nearest name.
    """
    names = sorted(existing)
    wanted = [qualify(pattern) for pattern in patterns if not pattern.startswith("!")]
    unwanted = [qualify(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SourceStopped(f"no table matches {pattern!r}", hint=_suggestion(pattern, names))
    chosen = [name for name in names if matches(name, wanted) and not matches(name, unwanted)]
    if not chosen:
        raise SourceStopped("every table is excluded", hint="loosen the patterns that begin with ! under tables:")
    return chosen


def qualify(pattern: str) -> str:
    """A pattern on schema.table; without a schema, `public` is meant."""
    return pattern if "." in pattern else f"{DEFAULT_SCHEMA}.{pattern}"


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns means `name`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_text_column(table: str, column: str, patterns: Iterable[str]) -> bool:
    """Whether the user wants `column` of `table` (schema.table) as text."""
    full = f"{table}.{column}"
    short = full.removeprefix(f"{DEFAULT_SCHEMA}.")
    return any(fnmatchcase(full, pattern) or fnmatchcase(short, pattern) for pattern in patterns)


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """The nearest of `names` as a question; empty if none is near."""
    near = difflib.get_close_matches(name, names, 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def _suggestion(pattern: str, names: Sequence[str]) -> str:
    near = did_you_mean(pattern, names)
    if near:
        return near
    if not names:
        return "the database has no tables; check the database in the source's url"
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"the database has: {shown}"


def default_name(*parts: str) -> str:
    """`headwater_` and the parts, as a slot may be named, at most 63 bytes; a name cut short keeps its last part."""
    clean = [re.sub(r"[^a-z0-9_]+", "_", part.lower()) for part in parts if part]
    name = "_".join(["headwater", *clean])
    if len(name) <= NAME_BYTES:
        return name
    mark = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    tail = f"_{mark}_{clean[-1][-20:]}"
    return name[: NAME_BYTES - len(tail)] + tail
