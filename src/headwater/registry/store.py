"""The schemas that a project knows, in one SQLite file: what its streams were like, and what producers registered.

One connection for each process, rollback journal, synchronous=FULL, as `runtime.state_store` has it and for the same
reason. A schema never changes: it has one id for ever, and a version of a subject, once deleted, is not given again.

Compatibility is not checked here but by who registers (`registry.registration`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from headwater import sqlite_file
from headwater.errors import UserError
from headwater.formats.schema_source import Reference, SchemaText
from headwater.registry.stream_subjects import SUFFIX, described, subject_of
from headwater.schema import StreamSchema
from headwater.sqlite_file import storage_errors

FILE = "schemas.db"
"""Its name in the state folder."""

FORMAT = 1
GLOBAL = ""
"""The name under which the settings for all subjects are kept."""

_DDL = """
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, text TEXT NOT NULL, refs TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS versions (
    subject TEXT NOT NULL, version INTEGER NOT NULL, schema INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subject, version)
);
CREATE TABLE IF NOT EXISTS given (subject TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS settings (
    subject TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (subject, name)
);
CREATE TABLE IF NOT EXISTS streams (
    stream TEXT NOT NULL, version INTEGER NOT NULL, columns BLOB NOT NULL, key TEXT NOT NULL, changelog TEXT NOT NULL,
    PRIMARY KEY (stream, version)
);
CREATE TABLE IF NOT EXISTS stream_versions (
    stream TEXT NOT NULL, version INTEGER NOT NULL, schema INTEGER NOT NULL, PRIMARY KEY (stream, version)
);
"""

_SHOWN = f"""(SELECT subject, version, schema, deleted FROM versions UNION ALL
    SELECT stream || '{SUFFIX}', version, schema, 0 FROM stream_versions
    WHERE stream || '{SUFFIX}' NOT IN (SELECT subject FROM versions))"""  # noqa: S608 constant
"""All versions that readers see: those that were registered, and of streams whose subjects are nobody's."""


@dataclass(frozen=True)
class Version:
    """One version of a subject. Deleted ones are still found by who asks for them, until they are purged."""

    subject: str
    version: int
    schema: SchemaText
    deleted: bool = False


class SchemaStore:
    """The open file. May be used by several threads.

    Args:
        folder: the state folder; made if it is not there.

    Raises:
        StorageFailed: the file cannot be opened or written.
        UserError: it was written by a version of another format.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._nested = False
        with storage_errors("open the schema store"):
            self._connection = sqlite_file.open_to_write(self.path)
            self._check_format()
            self._connection.executescript(_DDL)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is read and written inside happens at once and is durable afterwards, or does not happen.

        Raises:
            StorageFailed: it could not be made durable, and was not.
        """
        with self._lock, storage_errors("write the schema store"):
            if self._nested:
                yield
                return
            self._nested = True
            try:
                with sqlite_file.transaction(self._connection):
                    yield
            finally:
                self._nested = False

    def keep(self, stream: StreamSchema) -> int:
        """Notes what a stream is like, durably, and returns the number of this version of it, from 1. What is equal to
        the last version is that version. Its subject follows (`describe`)."""
        entry = (stream.columns.serialize().to_pybytes(), json.dumps(stream.key), stream.changelog)
        with self.transaction():
            held = self._one(
                "SELECT version, columns, key, changelog FROM streams WHERE stream = ? ORDER BY version DESC LIMIT 1",
                stream.name,
            )
            if held and _stream(stream.name, held[1:]).columns.equals(stream.columns, True) and held[2:] == entry[1:]:
                return int(held[0])
            number = int(held[0]) + 1 if held else 1
            self._connection.execute("INSERT INTO streams VALUES (?, ?, ?, ?, ?)", (stream.name, number, *entry))
            self.describe(stream)
        return number

    def describe(self, stream: StreamSchema) -> None:
        """Makes what a stream is like now the newest version of its subject, durably, if it is not that already.
        Nothing is noted of a stream whose subject is somebody's."""
        schema = described(stream)
        with self.transaction():
            held = self._one(
                "SELECT version, schema FROM stream_versions WHERE stream = ? ORDER BY version DESC LIMIT 1",
                stream.name,
            )
            known = self.find(schema)
            same = held is not None and known is not None and held[1] == known.id
            if same or self.is_registered(subject_of(stream.name)):
                return
            self._connection.execute(
                "INSERT INTO stream_versions VALUES (?, ?, ?)",
                (stream.name, held[0] + 1 if held else 1, self._identifier(schema)),
            )

    def is_registered(self, subject: str) -> bool:
        """Whether somebody registered a schema under a subject, also if it is deleted by now."""
        return self._one("SELECT 1 FROM versions WHERE subject = ?", subject) is not None

    def stream(self, name: str, version: int | None = None) -> StreamSchema | None:
        """What a stream was like in a version, the last one if none is given; None if it is not known."""
        query = (
            "SELECT columns, key, changelog FROM streams WHERE stream = ? AND ? IN (version, 0) ORDER BY version DESC"
        )
        found = self._one(query, name, version or 0)
        return _stream(name, found) if found else None

    def streams(self) -> dict[str, int]:
        """The last version of every stream, by name."""
        return dict(self._all("SELECT stream, max(version) FROM streams GROUP BY stream ORDER BY stream"))

    def schema(self, identifier: int) -> SchemaText | None:
        """See `SchemaSource.schema`."""
        found = self._one("SELECT id, type, text, refs FROM schemas WHERE id = ?", identifier)
        return _schema(found) if found else None

    def version(self, subject: str, version: int) -> SchemaText | None:
        """See `SchemaSource.version`."""
        versions = [each for each in self.versions(subject) if version in (-1, each.version)]
        return versions[-1].schema if versions else None

    def register(self, subject: str, schema: SchemaText) -> int:
        """See `SchemaSource.register`; what the project itself registers is not held against the versions before."""
        return self.add(subject, schema).schema.id

    def add(self, subject: str, schema: SchemaText) -> Version:
        """Makes a schema the subject's newest version, if none of its versions is this schema already."""
        with self.transaction():
            held = next((each for each in self.versions(subject) if digest(each.schema) == digest(schema)), None)
            if held is not None:
                return held
            identifier = self._identifier(schema)
            self._connection.execute(
                "INSERT INTO given VALUES (?, 1) ON CONFLICT (subject) DO UPDATE SET version = version + 1", (subject,)
            )
            (number,) = self._all("SELECT version FROM given WHERE subject = ?", subject)[0]
            self._connection.execute(
                "INSERT INTO versions (subject, version, schema) VALUES (?, ?, ?)", (subject, number, identifier)
            )
            return Version(subject, number, replace(schema, id=identifier))

    def hold(self, schema: SchemaText) -> int:
        """The id of a schema that messages name and that is under no subject; durable."""
        known = self.find(schema)
        if known is not None:
            return known.id
        with self.transaction():
            return self._identifier(schema)

    def _identifier(self, schema: SchemaText) -> int:
        """The id of a schema, which has one from now on; inside a transaction."""
        known = self.find(schema)
        if known is not None:
            return known.id
        made = self._connection.execute(
            "INSERT INTO schemas (type, text, refs, digest) VALUES (?, ?, ?, ?)",
            (schema.type, schema.text, _refs(schema), digest(schema)),
        )
        return int(made.lastrowid or 0)

    def find(self, schema: SchemaText) -> SchemaText | None:
        """The registered schema that is equal to this one, with its id; None if there is none."""
        found = self._one("SELECT id, type, text, refs FROM schemas WHERE digest = ?", digest(schema))
        return _schema(found) if found else None

    def subjects(self, *, deleted: bool = False) -> list[str]:
        """Names of the subjects that have a version, streams' among them; with `deleted`, also of those that only have
        deleted ones."""
        query = f"SELECT DISTINCT subject FROM {_SHOWN} WHERE deleted = 0 OR ? ORDER BY subject"  # noqa: S608 constant
        return [name for (name,) in self._all(query, deleted)]

    def versions(self, subject: str, *, deleted: bool = False, streams: bool = False) -> list[Version]:
        """A subject's versions in order: those that were registered; those that were deleted, and a stream's, only if
        they are asked for."""
        query = (
            f"SELECT subject, version, deleted, id, type, text, refs FROM {_SHOWN if streams else 'versions'}"  # noqa: S608
            " JOIN schemas ON id = schema WHERE subject = ? AND (deleted = 0 OR ?) ORDER BY version"
        )
        rows = self._all(query, subject, deleted)
        return [Version(row[0], row[1], _schema(row[3:]), bool(row[2])) for row in rows]

    def uses(self, identifier: int, *, deleted: bool = False) -> list[tuple[str, int]]:
        """The (subject, version) under which a schema is found, streams' among them."""
        query = f"SELECT subject, version FROM {_SHOWN} WHERE schema = ? AND (deleted = 0 OR ?) ORDER BY 1, 2"  # noqa: S608
        return self._all(query, identifier, deleted)

    def referrers(self, subject: str, version: int) -> list[int]:
        """Ids of the schemas in use that refer to a version of a subject."""
        rows = self._all(
            "SELECT DISTINCT id, refs FROM schemas JOIN versions ON id = schema WHERE NOT deleted ORDER BY id"
        )
        return [identifier for identifier, refs in rows if [subject, version] in [ref[1:] for ref in json.loads(refs)]]

    def delete(self, subject: str, versions: Sequence[int], *, purge: bool = False) -> None:
        """Marks versions as deleted, or with `purge` forgets them. The schemas stay: messages may still name them."""
        how = "DELETE FROM versions" if purge else "UPDATE versions SET deleted = 1"
        with self.transaction():
            self._connection.executemany(
                f"{how} WHERE subject = ? AND version = ?",
                [(subject, version) for version in versions],
            )

    def setting(self, name: str, subject: str = GLOBAL) -> str | None:
        """What was set under this name for a subject, or for all of them; None if nothing was."""
        found = self._one("SELECT value FROM settings WHERE subject = ? AND name = ?", subject, name)
        return str(found[0]) if found else None

    def set(self, name: str, value: str | None, subject: str = GLOBAL) -> None:
        """Sets something for a subject, or for all of them; None takes it back."""
        with self.transaction():
            self._connection.execute("DELETE FROM settings WHERE subject = ? AND name = ?", (subject, name))
            if value is not None:
                self._connection.execute("INSERT INTO settings VALUES (?, ?, ?)", (subject, name, value))

    def close(self) -> None:
        """Lets go of the file. May be called twice."""
        with self._lock:
            self._connection.close()

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, storage_errors("read the schema store"):
            return self._connection.execute(query, values).fetchall()

    def _check_format(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise UserError(
                f"{self.path} has format {version}, this version reads format {FORMAT}",
                hint="run the Headwater version that wrote it, or move the file away to begin with no schemas",
            )
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")


def digest(schema: SchemaText) -> str:
    """What makes two schemas the same one: type, references, and the text, in JSON without regard to white space."""
    text = schema.text.strip()
    if schema.type != "PROTOBUF":
        with suppress(ValueError):
            text = json.dumps(json.loads(text), separators=(",", ":"))
    return hashlib.sha256(f"{schema.type}\n{_refs(schema)}\n{text}".encode()).hexdigest()


def _refs(schema: SchemaText) -> str:
    return json.dumps([[ref.name, ref.subject, ref.version] for ref in schema.references])


def _schema(row: Sequence[Any]) -> SchemaText:
    identifier, kind, text, refs = row
    references = tuple(Reference(*ref) for ref in json.loads(refs))
    return SchemaText(identifier, kind, text, references)


def _stream(name: str, row: Sequence[Any]) -> StreamSchema:
    columns, key, changelog = row
    schema = pa.ipc.read_schema(pa.py_buffer(columns))
    return StreamSchema(name, schema, tuple(json.loads(key)), changelog)
