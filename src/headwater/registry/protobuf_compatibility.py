"""Whether one Protocol Buffers schema can read what another has written.

Compared are the messages of the same full name, by field number: a field's type may change only to one of the same wire
format and meaning (int32, int64, uint32, uint64 and bool; sint32 and sint64; string and bytes; fixed32 and sfixed32;
fixed64 and sfixed64; enums are numbers), as protobuf.dev says under "Updating A Message Type".
"""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from headwater.errors import UserError
from headwater.formats.protobuf.schema import files_of
from headwater.formats.schema_source import SchemaSource, SchemaText

_T = FieldDescriptor
_ALIKE: Final = (
    {_T.TYPE_INT32, _T.TYPE_INT64, _T.TYPE_UINT32, _T.TYPE_UINT64, _T.TYPE_BOOL, _T.TYPE_ENUM},
    {_T.TYPE_SINT32, _T.TYPE_SINT64},
    {_T.TYPE_STRING, _T.TYPE_BYTES},
    {_T.TYPE_FIXED32, _T.TYPE_SFIXED32},
    {_T.TYPE_FIXED64, _T.TYPE_SFIXED64},
)
_TEXT: Final = (_T.TYPE_STRING, _T.TYPE_BYTES, _T.TYPE_MESSAGE)


def incompatibilities(reader: SchemaText, writer: SchemaText, registry: SchemaSource) -> list[str]:
    """What keeps `reader` from reading what `writer` wrote; nothing if it can."""
    try:
        new, old = _messages(files_of(reader, registry)), _messages(files_of(writer, registry))
    except UserError as error:
        return [str(error)]
    found = [f"message {name} is gone" for name in old if name not in new]
    for name in old.keys() & new.keys():
        found += _changed(new[name], old[name])
    return sorted(found)


def _messages(file: FileDescriptor) -> dict[str, Descriptor]:
    """The messages of a file by their name in it: the package may change."""
    every = list(file.message_types_by_name.values())
    for each in every:
        every.extend(each.nested_types)
    prefix = f"{file.package}." if file.package else ""
    return {each.full_name.removeprefix(prefix): each for each in every}


def _changed(new: Descriptor, old: Descriptor) -> list[str]:
    found = []
    for number, field in new.fields_by_number.items():
        before = old.fields_by_number.get(number)
        if before is None and field.is_required:
            found.append(f"{new.full_name}.{field.name} is new and required")
        elif before is not None:
            found += [f"{new.full_name}.{field.name}: {what}" for what in _field(field, before)]
    found += [
        f"{old.full_name}.{field.name} is required and gone"
        for number, field in old.fields_by_number.items()
        if field.is_required and number not in new.fields_by_number
    ]
    for oneof in new.oneofs:
        moved = [f for f in oneof.fields if f.number in old.fields_by_number and not _in_oneof(old, f.number)]
        others = [f for f in oneof.fields if _in_oneof(old, f.number)]
        if len(moved) > 1 or (moved and others):
            found.append(f"{new.full_name}: {', '.join(f.name for f in moved)} moved into the oneof {oneof.name}")
    return found


def _in_oneof(kind: Descriptor, number: int) -> bool:
    field = kind.fields_by_number.get(number)
    return field is not None and field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _field(new: FieldDescriptor, old: FieldDescriptor) -> list[str]:
    if new.type != old.type and not any({new.type, old.type} <= alike for alike in _ALIKE):
        return ["its type changed"]
    if new.message_type is not None and _local(new.message_type) != _local(old.message_type):
        return [f"its type changed from {old.message_type.full_name} to {new.message_type.full_name}"]
    if new.is_repeated != old.is_repeated and new.type not in _TEXT:
        return ["it became repeated, or is so no longer"]
    return []


def _local(kind: Descriptor) -> str:
    return str(kind.full_name.removeprefix(f"{kind.file.package}."))
