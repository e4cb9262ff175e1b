"""What is known of the captured tables' definitions at a resume point, as a text in it.

The catalog tells them as they are now; the stream goes on from then. Format: JSON, compressed, in base64:
`{"tables": {id: {"file", "key", "identity", "given", "columns": [[number, name, type id, modifier, missing], ...]}},
"reread": {schema.table: request id}, "accepted": [schema.table]}`.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headwater.capture.postgres.catalog import as_wanted
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.definition import read_files
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.types import Column
from headwater.errors import InvariantBroken

Describe = Callable[[str, int, int], Column]
"""Looks a type up: column name, type id, modifier."""


@dataclass
class Known:
    """See above.

    Attributes:
        tables: by id, the definition.
        reread: tables that are to be read anew, with the id of that request.
        accepted: tables of which the next change is accepted, whatever it is.
        asked: how many requests to read a table anew there were; each has a number of its own, the same if its change
            is met again after a crash.
        ahead: by id, the definition under which a table's rows were read before the stream told of it. Until it does,
            what it tells may be older or newer, and rows are read anew.
    """

    tables: dict[int, dict[str, Any]] = field(default_factory=dict)
    reread: dict[str, str] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    asked: int = 0
    ahead: dict[int, str] = field(default_factory=dict)
    _written: tuple[str, str] = ("", "")

    @classmethod
    def from_text(cls, text: str) -> Known:
        """The inverse of `text`; nothing is known from an empty one.

        Raises:
            InvariantBroken: it is none of ours.
        """
        if not text:
            return cls()
        try:
            body = json.loads(zlib.decompress(base64.b64decode(text)))
            tables = {int(oid): table for oid, table in body["tables"].items()}
            ahead = {int(oid): drawn for oid, drawn in body.get("ahead", {}).items()}
            return cls(tables, body["reread"], body["accepted"], body.get("asked", 0), ahead)
        except (ValueError, KeyError, binascii.Error, zlib.error) as error:
            raise InvariantBroken(f"the tables' definitions in a resume point cannot be read: {error}") from error

    def text(self) -> str:
        """For a resume point."""
        kept = {"tables": self.tables, "reread": self.reread, "accepted": self.accepted}
        body = json.dumps({**kept, "asked": self.asked, "ahead": self.ahead}, separators=(",", ":"))
        if body != self._written[0]:
            self._written = body, base64.b64encode(zlib.compress(body.encode())).decode()
        return self._written[1]

    def note(self, table: Table, file: int, given: int = 0) -> None:
        """Takes down a table's definition.

        Args:
            table: the table.
            file: the number of its file.
            given: the highest number that a column of it ever had, as far as that is not known from its columns.
        """
        given = max(given, self.given(table.oid), *(column.number for column in table.columns), 0)
        columns = [[c.number, c.name, c.oid, c.typmod, c.missing] for c in table.columns]
        kept = {"file": file, "key": table.key, "identity": table.identity, "given": given}
        self.tables[table.oid] = {**kept, "columns": columns}

    def read_anew(self, table: Table) -> None:
        """Puts a table down to be read anew."""
        self.asked += 1
        self.reread[table.qualified] = f"schema-{table.oid}-{self.asked}"

    def file(self, oid: int) -> int | None:
        """The number of a table's file when it was last looked at; None if it never was."""
        found = self.tables.get(oid)
        return None if found is None else int(found["file"])

    def given(self, oid: int) -> int:
        """The highest number that a column of a table is known to have had; 0 if none is."""
        return int(self.tables.get(oid, {}).get("given", 0))

    def then(self, now: Table, describe: Describe, text_columns: Sequence[str]) -> Table:
        """A table as it was at the resume point, from what it is now.

        Args:
            now: as the catalog has it.
            describe: looks up types that it no longer has.
            text_columns: patterns of columns wanted as text.
        """
        found = self.tables.get(now.oid)
        if found is None:
            return now
        columns = tuple(_column(entry, now, describe, text_columns) for entry in found["columns"])
        return replace(now, columns=columns, key=tuple(found["key"]), identity=found["identity"])


def read_known(connection: Connection, tables: Sequence[Table]) -> Known:
    """The definitions of tables as they are now."""
    known, files = Known(), read_files(connection, [table.oid for table in tables])
    for table in tables:
        known.note(table, *files.get(table.oid, (0, 0)))
    return known


def _column(entry: Sequence[Any], now: Table, describe: Describe, text_columns: Sequence[str]) -> Column:
    number, name, oid, typmod, missing = entry
    same = next((c for c in now.columns if (c.number, c.oid, c.typmod) == (number, oid, typmod)), None)
    column = same or as_wanted(describe(name, oid, typmod), now.qualified, text_columns)
    return replace(column, name=name, number=number, missing=missing)


def by_number(columns: Sequence[Column]) -> Mapping[int, Column]:
    """Columns by their numbers."""
    return {column.number: column for column in columns}
