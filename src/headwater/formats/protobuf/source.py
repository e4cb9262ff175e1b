"""The message type that the settings of the format name."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from headwater.errors import UserError
from headwater.formats.protobuf.program import ProtobufSchemaError
from headwater.formats.protobuf.schema import files_of, linked_folder, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.schema_source import SchemaText


def configured(settings: ProtobufFormat) -> Descriptor:
    """The message type of `schema` or `schema_file`.

    Raises:
        ProtobufSchemaError: the schema is not valid, or has no such message type.
        UserError: there is no schema, or the file cannot be read.
    """
    if settings.schema_text:
        return message_named(files_of(SchemaText(0, "PROTOBUF", settings.schema_text), None), settings.message)
    if not settings.schema_file:
        raise UserError(
            "messages of Protocol Buffers without a schema id need a schema",
            hint="format: {type: protobuf, framing: none, schema: ...} or schema_file: ...",
        )
    path = Path(settings.schema_file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="mend schema_file") from error
    if path.suffix == ".proto":
        return message_named(linked_folder(path), settings.message)
    return _of_set(data, settings.message, path)


def _of_set(data: bytes, name: str, path: Path) -> Descriptor:
    """A message type of a descriptor set, of its last file if none is named."""
    pool = DescriptorPool()
    try:
        found = FileDescriptorSet.FromString(data)
        for proto in found.file:
            pool.Add(proto)
        if not found.file:
            raise ProtobufSchemaError(f"{path} is an empty descriptor set")
        return pool.FindMessageTypeByName(name) if name else message_named(pool.FindFileByName(found.file[-1].name), "")
    except (DecodeError, TypeError) as error:
        raise ProtobufSchemaError(
            f"{path} is not a descriptor set", hint="protoc --include_imports -o FILE ..."
        ) from error
    except KeyError as error:
        raise ProtobufSchemaError(f"{path} has no message type {name!r}") from error
