"""From raw messages of one stream to its changes: decoded, held against the stream's schema, and numbered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.capture.messages.assembling import Part, change_batch, key_texts, reject_batch, taken
from headwater.capture.messages.casting import DeclaredTypes
from headwater.capture.messages.fitting import Fitted, Fitter
from headwater.capture.messages.keys import MessageKeys
from headwater.capture.messages.message import unframe
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.change import CHANGE_COLUMNS, WEIGHT, ChangeBatch, Op, unchanged_bits
from headwater.errors import SchemaChanged, UserError
from headwater.formats.decoder import Bad, Decoded, make_decoder
from headwater.formats.schema_source import SchemaSource
from headwater.position import Position
from headwater.schema import Changelog, StreamSchema

Longs = NDArray[np.int64]

METADATA: dict[str, pa.DataType] = {
    "partition": pa.string(),
    "offset": pa.int64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "key": pa.binary(),
    "headers": pa.map_(pa.string(), pa.binary()),
}
"""The columns that messages have besides what is in them; in the stream their names begin with an underscore."""

_RESERVED = frozenset([*(f.name for f in CHANGE_COLUMNS), WEIGHT, *(f"_{name}" for name in METADATA)])
_GROWTH = {"lenient": "lenient", "evolve": "evolve", "freeze": "none", "fail": "none"}


class Schemas(Protocol):
    """Where the schemas that were learnt from messages are kept (`headwater.registry.store.SchemaStore`)."""

    def keep(self, stream: StreamSchema) -> int:
        """Notes what a stream is like, durably; returns the number of this version of it, from 1."""

    def stream(self, name: str, version: int | None = None) -> StreamSchema | None:
        """What a stream was like in a version, the last if none is given; None if it is not known."""


class SchemasInMemory:
    """Schemas that are forgotten with the process: for looking at a source outside of a project's run."""

    def __init__(self) -> None:
        self._held: dict[str, list[StreamSchema]] = {}

    def keep(self, stream: StreamSchema) -> int:
        """See `Schemas.keep`."""
        versions = self._held.setdefault(stream.name, [])
        if not versions or versions[-1] != stream:
            versions.append(stream)
        return len(versions)

    def stream(self, name: str, version: int | None = None) -> StreamSchema | None:
        """See `Schemas.stream`."""
        versions = self._held.get(name, [])
        return versions[(version or 0) - 1] if versions else None


@dataclass(frozen=True)
class Shaped:
    """What became of a batch of messages.

    Attributes:
        batches: the changes, in the order of the messages; none if there are no changes.
        rejects: messages that could not be taken in, `REJECT_SCHEMA`; None if there are none.
        filtered: messages that say nothing: tombstones of a stream without a key.
        rejected: int64, the numbers of the messages in `rejects`.
    """

    batches: tuple[ChangeBatch, ...]
    rejects: pa.RecordBatch | None
    filtered: int
    rejected: Longs

    @property
    def records(self) -> int:
        """Changes and rejects."""
        return sum(len(batch) for batch in self.batches) + len(self.rejected)


class StreamShaper:
    """Shapes the messages of one stream. May be used by several threads.

    Args:
        name: the stream's.
        settings: of the stream.
        schemas: where its schema is kept; forgotten with the shaper if None.
        registry: for formats whose messages name their schemas.

    Raises:
        UserError: the settings cannot be followed.
    """

    def __init__(
        self,
        name: str,
        settings: MessageStreamSettings,
        schemas: Schemas | None = None,
        registry: SchemaSource | None = None,
    ) -> None:
        if not settings.key and settings.format.type.startswith("debezium"):
            raise UserError(
                f"stream {name!r}: Debezium's events change and delete rows, and nothing says which",
                hint="name the table's primary key: key: [id]",
            )
        self.name = name
        self._settings = settings
        self._schemas = schemas if schemas is not None else SchemasInMemory()
        self._lock = threading.Lock()
        self._declared = DeclaredTypes(settings.columns)
        self._decoder = make_decoder(settings.format, registry, tuple(settings.columns))
        self._replays = make_decoder(settings.format, registry, tuple(settings.columns))
        self._metadata = pa.schema([(f"_{part}", METADATA[part]) for part in settings.metadata])
        self._keys = MessageKeys(settings.key, settings.format, registry)
        self._changelog: Changelog = "upsert" if settings.key else "append"

    def stream(self) -> StreamSchema | None:
        """The stream as it is known by now; None while a column of its key is neither declared nor learnt."""
        with self._lock:
            return self._stream(self._columns()[0])

    def shape(self, messages: pa.RecordBatch, first: Position) -> Shaped:
        """Makes changes of messages.

        Args:
            messages: of `MESSAGE_SCHEMA`.
            first: position of the first; each next one is an ordinal further.

        Raises:
            SchemaChanged: a message does not fit the stream, whose policy is `fail`.
            SourceUnavailable: the schema registry does not answer.
            StorageFailed: what was learnt cannot be kept.
        """
        with self._lock:
            decoded = self._decoder.decode(messages.column("value"))
            return self._shape(decoded, messages, first)

    def shape_decoded(self, decoded: Decoded, messages: pa.RecordBatch, first: Position) -> Shaped:
        """The same for messages that are decoded already."""
        with self._lock:
            return self._shape(decoded, messages, first)

    def decode(self, record: bytes) -> ChangeBatch:
        """Decodes a rejected message once more (`Source.decode`), with today's settings and schema.

        Raises:
            UserError: it still cannot be decoded.
        """
        messages, place = unframe(record)
        with self._lock:
            decoded = self._replays.decode(messages.column("value"))
            try:
                shaped = self._shape(decoded, messages, place)
            except SchemaChanged as error:
                raise UserError(error.message, hint=error.hint) from error
        if shaped.rejects is not None:
            raise UserError(shaped.rejects.column("message")[0].as_py())
        if not shaped.batches:
            raise UserError("the message holds no row: discard it")
        return shaped.batches[0]

    def _columns(self) -> tuple[pa.Schema, bool]:
        """The columns besides those of the metadata, as they were kept and as they are declared; and whether that is
        nothing yet."""
        kept = self._schemas.stream(self.name)
        declared = self._declared.fields
        fields = [] if kept is None else [field for field in kept.columns if field.name not in _RESERVED]
        names = {field.name for field in fields}
        new = [field for field in declared if field.name not in names]
        columns = pa.schema([declared.field(f.name) if f.name in declared.names else f for f in [*fields, *new]])
        return columns, kept is None and not declared.names

    def _stream(self, columns: pa.Schema) -> StreamSchema | None:
        if any(name not in columns.names for name in self._settings.key):
            return None
        return StreamSchema(self.name, pa.schema([*self._metadata, *columns]), self._settings.key, self._changelog)

    def _shape(self, decoded: Decoded, messages: pa.RecordBatch, first: Position) -> Shaped:
        known, unknown = self._columns()
        fitted, bad = self._fit(known, decoded, unknown)
        columns = pa.schema(fitted.fields)
        stream = self._stream(columns)
        if stream is not None and (unknown or not columns.equals(known)):
            self._schemas.keep(stream)
        parts: list[Part] = []
        filtered = 0
        tombstones = np.flatnonzero(messages.column("value").is_null().to_numpy(zero_copy_only=False))
        rows = dict(zip(columns.names, fitted.arrays, strict=True))
        for entry in self._without_key(rows, decoded):
            bad.setdefault(entry.message, entry)
        if stream is not None:
            parts = self._changes(stream, rows, decoded, messages, bad)
        if stream is None or not stream.key:
            filtered = len(tombstones)
        elif len(tombstones):
            parts.append(self._deletes(stream, messages, tombstones, bad))
        return self._shaped(stream, parts, [bad[number] for number in sorted(bad)], messages, first, filtered)

    def _fit(self, known: pa.Schema, decoded: Decoded, unknown: bool) -> tuple[Fitted, dict[int, Bad]]:
        """Holds what was decoded against the columns known; returns what came of it, and the bad messages by number."""
        bad = {entry.message: entry for entry in decoded.bad}
        found = list(zip(decoded.rows.schema.names, decoded.rows.columns, strict=True))
        found = [self._typed(name, values, decoded, bad) for name, values in found]
        growth = _GROWTH[self._settings.schema_policy]
        if growth == "none" and unknown and decoded.rows.num_rows:
            begun = self._fitter(known, 1, "lenient", decoded.typed).fit([(name, values[:1]) for name, values in found])
            known = pa.schema(begun.fields)
        fitted = self._fitter(known, decoded.rows.num_rows, growth, decoded.typed).fit(found)
        for row in np.flatnonzero(fitted.misfit).tolist():
            number = int(decoded.message[row])
            bad.setdefault(number, Bad(number, "schema", fitted.reason[row]))
        if self._settings.schema_policy == "fail" and fitted.misfit.any():
            told = fitted.reason[int(np.argmax(fitted.misfit))]
            raise SchemaChanged(
                f"stream {self.name!r}: {told}",
                hint="declare it under columns:, or take the stream's schema: lenient; nothing was lost",
            )
        return fitted, bad

    def _fitter(self, known: pa.Schema, rows: int, growth: str, typed: bool) -> Fitter:
        fixed = (*self._settings.key, *self._declared.fields.names)
        return Fitter(known, rows, growth, fixed, _spelled, typed)

    def _typed(self, name: str, values: pa.Array, decoded: Decoded, bad: dict[int, Bad]) -> tuple[str, pa.Array]:
        """A declared column in its type; a message that does not have it in that type is bad."""
        if name not in self._declared.fields.names:
            return name, values
        made, misfit = self._declared.cast(name, values)
        kind = self._settings.columns[name]
        for number in decoded.message[misfit].tolist():
            bad.setdefault(number, Bad(number, "bad_value", f"the value of {name!r} is no {kind}"))
        return name, made

    def _without_key(self, rows: dict[str, pa.Array], decoded: Decoded) -> Iterator[Bad]:
        """Messages whose rows lack a value of the key."""
        for name in self._settings.key:
            missing = np.ones(len(decoded.message), np.bool_)
            if name in rows:
                missing = rows[name].is_null().to_numpy(zero_copy_only=False)
            if decoded.ops is not None:
                missing = missing & (decoded.ops != Op.TRUNCATE)
            for number in decoded.message[missing].tolist():
                yield Bad(number, "no_key", f"it has no {name!r}, which is of the stream's key")

    def _changes(
        self,
        stream: StreamSchema,
        rows: dict[str, pa.Array],
        decoded: Decoded,
        messages: pa.RecordBatch,
        bad: dict[int, Bad],
    ) -> list[Part]:
        good = np.ones(len(decoded.message), np.bool_)
        if bad:
            good = ~np.isin(decoded.message, np.fromiter(bad, np.int64, len(bad)))
        ops = decoded.ops if decoded.ops is not None else np.full(len(good), Op.INSERT, np.uint8)
        gone = np.isin(ops, [Op.DELETE, Op.TRUNCATE])
        parts = []
        for weight, chosen in ((-1, good & gone), (1, good & ~gone)):
            at = np.flatnonzero(chosen)
            message = decoded.message[at]
            columns = {name: taken(values, at) for name, values in rows.items()}
            for field in self._metadata:
                columns[field.name] = taken(messages.column(field.name[1:]), message)
            if decoded.unsent and weight > 0:
                columns["_unchanged"] = _unsent(stream, decoded, at)
            parts.append(Part(message, ops[at], weight, columns))
        return parts

    def _deletes(self, stream: StreamSchema, messages: pa.RecordBatch, at: Longs, bad: dict[int, Bad]) -> Part:
        """Tombstones as deletes by the message's key."""
        keys, whole = self._keys.read(taken(messages.column("key"), at), stream.columns)
        for number in at[~whole].tolist():
            bad[number] = Bad(number, "no_key", "a message without a value has to have the row's key")
        chosen = np.flatnonzero(whole)
        columns = {name: taken(values, chosen) for name, values in zip(stream.key, keys, strict=True)}
        return Part(at[whole], np.full(len(chosen), Op.DELETE, np.uint8), -1, columns)

    def _shaped(
        self,
        stream: StreamSchema | None,
        parts: list[Part],
        bad: list[Bad],
        messages: pa.RecordBatch,
        first: Position,
        filtered: int,
    ) -> Shaped:
        parts = [part for part in parts if len(part.message)]
        batches = (change_batch(stream, parts, messages, first),) if stream is not None and parts else ()
        rejected = np.array([entry.message for entry in bad], np.int64)
        keys = [""] * len(bad)
        if bad and stream is not None and stream.key:
            keys = key_texts(*self._keys.read(taken(messages.column("key"), rejected), stream.columns))
        return Shaped(batches, reject_batch(self.name, bad, keys, messages, first), filtered, rejected)


def _unsent(stream: StreamSchema, decoded: Decoded, at: Longs) -> pa.Array:
    """The change column `_unchanged` of some rows."""
    names = {_spelled(name): mask for name, mask in decoded.unsent.items()}
    none = np.zeros(len(at), np.bool_)
    return unchanged_bits(np.array([names[name][at] if name in names else none for name in stream.columns.names]))


def _spelled(name: str) -> str:
    """The column of a field: one of a reserved name gets an underscore more."""
    return f"{name}_" if name in _RESERVED else name or "_"
