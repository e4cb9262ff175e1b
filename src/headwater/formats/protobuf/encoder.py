"""Arrow rows as messages of Protocol Buffers, bare or as Confluent's serializers frame them."""

from __future__ import annotations

import base64

import pyarrow as pa
from google.protobuf.descriptor import Descriptor

from headwater.errors import UserError
from headwater.formats import confluent_frame
from headwater.formats.protobuf.derived import message_name, schema_of
from headwater.formats.protobuf.program import ProtobufSchemaError
from headwater.formats.protobuf.schema import files_of, index_path, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.protobuf.source import configured
from headwater.formats.protobuf.writing import framed, message_of
from headwater.formats.schema_source import SchemaSource, SchemaText


class ProtobufEncoder:
    """See `headwater.formats.encoder.Encoder`. Without a schema in the settings the columns' own is registered, with
    the numbers that the subject's last version gave them; without a registry their numbers are their places.

    Args:
        settings: framing, schema, message type and subject.
        registry: where the schema is registered; not needed without framing.
        subject: under which, if the settings do not say it.

    Raises:
        UserError: the settings' schema is not valid, or there is no schema, subject or registry where one is needed.
    """

    def __init__(self, settings: ProtobufFormat, registry: SchemaSource | None, subject: str = "") -> None:
        self._subject = settings.subject or subject
        self._registry = registry if settings.framing == "confluent" else None
        given = bool(settings.schema_text or settings.schema_file)
        self._given, self._text = configured(settings) if given else None, settings.schema_text
        if settings.framing == "confluent" and registry is None:
            raise UserError(
                "messages with the id of their schema need a registry to have it from",
                hint="format: {type: protobuf, registry: {url: ...}}, or framing: none",
            )
        if settings.framing == "confluent" and not self._subject:
            raise UserError(
                "the schema of the messages needs a subject to be registered under",
                hint="format: {type: protobuf, subject: NAME-value}",
            )
        self._known: tuple[pa.Schema, Descriptor, bytes] | None = None

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """See `Encoder.encode`."""
        kind, head = self._prepared(rows.schema)
        given = rows.combine_chunks().to_batches()
        batch = given[0].to_struct_array() if given else pa.array([], pa.struct(list(rows.schema)))
        return framed(head, message_of(kind, batch))

    def _prepared(self, columns: pa.Schema) -> tuple[Descriptor, bytes]:
        """The message type for these columns, and what stands before each message."""
        if self._known is None or self._known[0] != columns:
            if self._given is not None:
                kind, text = self._given, self._text or _as_base64(self._given)
            else:
                text = self._derived(columns)
                kind = message_named(files_of(SchemaText(0, "PROTOBUF", text), None), "")
            head = b""
            if self._registry is not None:
                identifier = self._registry.register(self._subject, SchemaText(0, "PROTOBUF", text))
                head = confluent_frame.header(identifier) + path_bytes(index_path(kind))
            self._known = (columns, kind, head)
        return self._known[1], self._known[2]

    def _derived(self, columns: pa.Schema) -> str:
        name = message_name(self._subject.removesuffix("-value").rpartition(".")[2])
        held = self._registry.version(self._subject, -1) if self._registry is not None else None
        before = None
        if held is not None and held.type == "PROTOBUF":
            try:
                before = files_of(held, self._registry).message_types_by_name.get(name)
            except ProtobufSchemaError:
                before = None
        return schema_of(columns, name, before)


def _as_base64(kind: Descriptor) -> str:
    """The file of a message type, as registries take it too.

    Raises:
        UserError: it imports files, which would have to be registered first.
    """
    foreign = [each.name for each in kind.file.dependencies if not each.name.startswith("google/protobuf/")]
    if foreign:
        raise UserError(
            f"the schema imports {', '.join(foreign)}, which a registry wants to be registered first",
            hint="give the schema as one file, or framing: none",
        )
    return base64.standard_b64encode(kind.file.serialized_pb).decode()


def path_bytes(path: list[int]) -> bytes:
    """Which message type of its schema a message is (Confluent, "Wire format"): a count and so many indexes, zigzag
    numbers all; one zero byte for the first type."""
    if path == [0]:
        return b"\0"
    return b"".join(_zigzag(number) for number in (len(path), *path))


def _zigzag(number: int) -> bytes:
    rest, out = number << 1, bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))
