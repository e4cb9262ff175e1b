"""Registering a schema as Confluent's registry does: valid, and compatible with the versions before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final, cast, get_args

from headwater.errors import UserError
from headwater.formats.avro.references import parse_registered
from headwater.formats.avro.schema import AvroSchemaError
from headwater.formats.schema_source import SchemaText, SchemaType
from headwater.registry import avro_compatibility, json_compatibility
from headwater.registry.store import SchemaStore, Version

TYPES: Final = cast(tuple[SchemaType, ...], get_args(SchemaType))
MODES: Final = ("READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT")
LEVELS: Final = (
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE",
)  # fmt: skip
DEFAULT_LEVEL: Final = "BACKWARD"
MAX_CHARACTERS: Final = 1_000_000


class RegistryRefusal(UserError):
    """The registry refuses something.

    Args:
        confluent: Confluent's error code; its first three digits are the HTTP status.
        message: why.
    """

    code = "HW-REGISTRY"

    def __init__(self, confluent: int, message: str) -> None:
        super().__init__(message)
        self.confluent = confluent


def level_of(store: SchemaStore, subject: str) -> str:
    """The compatibility that a subject's versions are held to."""
    return store.setting("compatibility", subject) or store.setting("compatibility") or DEFAULT_LEVEL


def mode_of(store: SchemaStore, subject: str) -> str:
    """Whether a subject may be changed: one of `MODES`."""
    return store.setting("mode", subject) or store.setting("mode") or "READWRITE"


def register(store: SchemaStore, subject: str, schema: SchemaText) -> Version:
    """Makes a schema the newest version of a subject, unless it is one of its versions already.

    Raises:
        RegistryRefusal: it is not valid or not compatible, or the subject may not be changed.
    """
    validate(store, schema)
    with store.transaction():
        held = store.versions(subject)
        known = same(store, held, schema)
        if known is not None:
            return known
        if mode_of(store, subject) != "READWRITE":
            raise RegistryRefusal(42205, f"Subject {subject} is in {mode_of(store, subject)} mode")
        wrong = incompatibilities(store, level_of(store, subject), schema, [each.schema for each in held])
        if wrong:
            raise RegistryRefusal(
                409, f"Schema being registered is incompatible with an earlier schema for subject {subject!r}: {wrong}"
            )
        return store.add(subject, schema)


class OwnRegistry:
    """The project's own registry as encoders and decoders see one (`SchemaSource`): destinations are held to
    compatibility as every producer is.

    Args:
        store: gives the open file, when something is asked of it.
    """

    def __init__(self, store: Callable[[], SchemaStore]) -> None:
        self._store = store

    def schema(self, identifier: int) -> SchemaText | None:
        """See `SchemaSource.schema`."""
        return self._store().schema(identifier)

    def version(self, subject: str, version: int) -> SchemaText | None:
        """See `SchemaSource.version`."""
        return self._store().version(subject, version)

    def register(self, subject: str, schema: SchemaText) -> int:
        """See `SchemaSource.register`."""
        return register(self._store(), subject, schema).schema.id


def same(store: SchemaStore, versions: Sequence[Version], schema: SchemaText) -> Version | None:
    """The one of these versions that is this schema; None if none is."""
    known = store.find(schema)
    return next((each for each in versions if known is not None and each.schema.id == known.id), None)


def validate(store: SchemaStore, schema: SchemaText) -> None:
    """Whether a schema can be read.

    Raises:
        RegistryRefusal: it cannot; the message says why.
    """
    if len(schema.text) > MAX_CHARACTERS:
        raise RegistryRefusal(42201, f"Invalid schema: longer than {MAX_CHARACTERS:,} characters")
    for reference in schema.references:
        if store.version(reference.subject, reference.version) is None:
            raise RegistryRefusal(42201, f"Invalid schema: no {reference.subject} version {reference.version}")
    try:
        _read(store, schema)
    except (UserError, ValueError, RecursionError) as error:
        raise RegistryRefusal(42201, f"Invalid schema: {error}") from error


def _read(store: SchemaStore, schema: SchemaText) -> None:
    if schema.type == "AVRO":
        parse_registered(schema, store)
    elif schema.type == "JSON":
        if not isinstance(json.loads(schema.text), dict | bool):
            raise ValueError("a JSON Schema is an object or a boolean")
    else:
        from headwater.formats.protobuf.schema import files_of

        files_of(schema, store)


def incompatibilities(store: SchemaStore, level: str, schema: SchemaText, before: Sequence[SchemaText]) -> list[str]:
    """What keeps a schema from following others under a level of compatibility; nothing if it may.

    Args:
        store: where references are found.
        level: one of `LEVELS`.
        schema: the new one.
        before: the versions before it, oldest first.
    """
    held = list(before if level.endswith("TRANSITIVE") else before[-1:]) if level != "NONE" else []
    found: list[str] = []
    for old in held:
        if old.type != schema.type:
            found.append(f"the schema's type changed from {old.type} to {schema.type}")
            continue
        if level.startswith(("BACKWARD", "FULL")):
            found += _unreadable(store, schema, old)
        if level.startswith(("FORWARD", "FULL")):
            found += _unreadable(store, old, schema)
    return found


def _unreadable(store: SchemaStore, reader: SchemaText, writer: SchemaText) -> list[str]:
    if reader.type == "JSON":
        return json_compatibility.incompatibilities(reader.text, writer.text)
    if reader.type == "PROTOBUF":
        from headwater.registry.protobuf_compatibility import incompatibilities as of_protobuf

        return of_protobuf(reader, writer, store)
    try:
        return avro_compatibility.incompatibilities(parse_registered(reader, store), parse_registered(writer, store))
    except AvroSchemaError as error:
        return [str(error)]
