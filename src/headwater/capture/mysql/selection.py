"""Which tables and columns the patterns of the settings mean, and what their streams are called."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from headwater.errors import SourceStopped

SERVER_DATABASES = ("mysql", "information_schema", "performance_schema", "sys")
_FIRST_ID, _IDS = 1_000_000_000, 3_000_000_000


@dataclass(frozen=True)
class Selection:
    """The user's patterns.

    Attributes:
        patterns: on database.table; a leading ! excludes.
        text_columns: patterns on database.table.column.
        database: the url's, meant by names without one; may be empty.
    """

    patterns: tuple[str, ...]
    text_columns: tuple[str, ...]
    database: str

    def wants(self, database: str, table: str) -> bool:
        """Whether a table is captured."""
        name = f"{database}.{table}"
        if database.lower() in SERVER_DATABASES:
            return False
        wanted = (self.full(pattern) for pattern in self.patterns if not pattern.startswith("!"))
        unwanted = (self.full(pattern[1:]) for pattern in self.patterns if pattern.startswith("!"))
        return any(fnmatchcase(name, one) for one in wanted) and not any(fnmatchcase(name, one) for one in unwanted)

    def may_want(self, database: str) -> bool:
        """Whether tables of a database may be captured."""
        wanted = (self.full(pattern) for pattern in self.patterns if not pattern.startswith("!"))
        return any(fnmatchcase(database, one.partition(".")[0]) for one in wanted)

    def is_text(self, database: str, table: str, column: str) -> bool:
        """Whether the user wants a column as text."""
        full = f"{database}.{table}.{column}"
        short = f"{table}.{column}"
        return any(fnmatchcase(full, one) or fnmatchcase(short, one) for one in self.text_columns)

    def stream_name(self, database: str, table: str) -> str:
        """`orders` in the url's database, `sales_orders` elsewhere."""
        return table if database == self.database else f"{database}_{table}"

    def require(self, names: Iterable[str]) -> None:
        """Looks whether every pattern means a table, database.table.

        Raises:
            SourceStopped: one means none; the hint offers the nearest name.
        """
        existing = sorted(names)
        for pattern in (self.full(one) for one in self.patterns if not one.startswith("!")):
            if not any(fnmatchcase(name, pattern) for name in existing):
                raise SourceStopped(f"no table matches {pattern!r}", hint=_suggestion(pattern, existing))
        if not any(self.wants(*name.split(".", 1)) for name in existing):
            raise SourceStopped("every table is excluded", hint="loosen the patterns that begin with ! under tables:")

    def full(self, pattern: str) -> str:
        """A name or pattern with its database: the url's if it names none."""
        return pattern if "." in pattern else f"{self.database}.{pattern}"


def _suggestion(pattern: str, names: Sequence[str]) -> str:
    if pattern.startswith("."):
        return "name the database: in the source's url, mysql://.../DATABASE, or in the pattern, database.table"
    near = difflib.get_close_matches(pattern, names, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "there are no tables that this user may see; check the database in the source's url, or GRANT SELECT"
    return f"there are: {', '.join(names[:10])}" + (", ..." if len(names) > 10 else "")


def default_server_id(*parts: str) -> int:
    """A replica's id that follows from names, far from the small ones that people give."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return _FIRST_ID + int.from_bytes(digest[:8], "big") % _IDS
