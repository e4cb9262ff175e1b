"""The `.proto` text of Arrow columns: what a destination registers when the settings give none.

A number means a field for ever. So the numbers of the version before are kept: a column that is new, or of another
type, gets a number that was never given, and the number of one that went is reserved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

from headwater.errors import UserError

_TIMESTAMP: Final = ".google.protobuf.Timestamp"
_RESERVED: Final = range(19_000, 20_000)
"""Numbers that Protocol Buffers keeps to itself."""
_PLAIN: Final = (
    (pa.types.is_boolean, "bool"),
    (lambda kind: kind in (pa.int8(), pa.int16(), pa.int32()), "int32"),
    (pa.types.is_int64, "int64"),
    (lambda kind: kind in (pa.uint8(), pa.uint16(), pa.uint32()), "uint32"),
    (pa.types.is_uint64, "uint64"),
    (lambda kind: kind in (pa.float16(), pa.float32()), "float"),
    (pa.types.is_float64, "double"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "bytes"),
    (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, _TIMESTAMP),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "string"),
    (lambda kind: pa.types.is_decimal(kind) or pa.types.is_date(kind) or pa.types.is_null(kind), "string"),
    (lambda kind: pa.types.is_time(kind) or pa.types.is_timestamp(kind), "string"),
)
_KEYS: Final = ("bool", "int32", "int64", "uint32", "uint64", "string")
_NAMES: Final = {
    FieldDescriptor.TYPE_DOUBLE: "double", FieldDescriptor.TYPE_FLOAT: "float", FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64", FieldDescriptor.TYPE_INT32: "int32", FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_BYTES: "bytes", FieldDescriptor.TYPE_UINT32: "uint32",
}  # fmt: skip


def schema_of(columns: pa.Schema, name: str, before: Descriptor | None = None) -> str:
    """A message type whose fields are all `optional`, or repeated.

    Args:
        columns: the columns.
        name: of the message type; what names may not hold becomes `_`.
        before: the message type that is there; its numbers are kept.

    Raises:
        UserError: a column's name or type has no place in Protocol Buffers.
    """
    lines = _message(list(columns), message_name(name), before)
    imported = ['import "google/protobuf/timestamp.proto";'] if any(_TIMESTAMP in line for line in lines) else []
    return "\n".join(['syntax = "proto3";', *imported, *lines, ""])


def message_name(name: str) -> str:
    """A name that a message type may have."""
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name) or "row"
    return clean if not clean[0].isdigit() and clean[0] != "_" else f"m{clean}"


def _message(fields: list[pa.Field], name: str, before: Descriptor | None) -> list[str]:
    for field in fields:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field.name):
            raise UserError(
                f"a field of Protocol Buffers cannot be called {field.name!r}",
                hint="rename the column in the model: SELECT ... AS name",
            )
    taken = {field.name for field in fields}
    inner: list[str] = []
    wanted: list[tuple[str, str]] = []
    for field in fields:
        type_name = _free(f"{field.name[:1].upper()}{field.name[1:]}Row", taken)
        kind, record = _type(field.type, field.name, type_name)
        wanted.append((field.name, kind))
        if record is not None:
            taken.add(type_name)
            old = before.fields_by_name.get(field.name) if before is not None else None
            inner += _message(list(record), type_name, _item(old))
    numbers, reserved = _numbers(wanted, before)
    body = [*inner, *(f"{kind} {column} = {numbers[column]};" for column, kind in wanted)]
    if reserved:
        body.append(f"reserved {', '.join(map(str, reserved))};")
    return [f"message {name} {{", *(f"  {line}" for line in body), "}"]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _type(kind: pa.DataType, path: str, type_name: str) -> tuple[str, pa.StructType | None]:
    """A field's label and type, and the struct for which it needs a message type of this name."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_struct(kind.value_type):
            return f"repeated {type_name}", kind.value_type
        return f"repeated {_scalar(kind.value_type, path)}", None
    if pa.types.is_map(kind) and _scalar(kind.key_type, path) in _KEYS:
        key = _scalar(kind.key_type, path)
        if pa.types.is_struct(kind.item_type):
            return f"map<{key}, {type_name}>", kind.item_type
        return f"map<{key}, {_scalar(kind.item_type, path)}>", None
    if pa.types.is_struct(kind):
        return f"optional {type_name}", kind
    return f"optional {_scalar(kind, path)}", None


def _scalar(kind: pa.DataType, path: str) -> str:
    for fits, name in _PLAIN:
        if fits(kind):
            return name
    raise UserError(
        f"Protocol Buffers has no place for the column {path} of type {kind}",
        hint="lists of lists need a struct between them, anything else CAST(... AS VARCHAR), in the model",
    )


def _numbers(wanted: list[tuple[str, str]], before: Descriptor | None) -> tuple[dict[str, int], list[int]]:
    """Each column's number, and the numbers that may not be given again."""
    held = {field.name: field for field in before.fields} if before is not None else {}
    old = DescriptorProto()
    if before is not None:
        before.CopyToProto(old)
    gone = {number for span in old.reserved_range for number in range(span.start, span.end)}
    kept = {name: held[name].number for name, kind in wanted if name in held and _said(held[name]) == kind}
    gone |= {field.number for field in held.values()} - set(kept.values())
    free = _free_numbers(max([0, *gone, *kept.values()]))
    return {name: kept[name] if name in kept else next(free) for name, _ in wanted}, sorted(gone)


def _free_numbers(after: int) -> Iterator[int]:
    number = after
    while True:
        number += 1
        if number not in _RESERVED:
            yield number


def _item(field: FieldDescriptor | None) -> Descriptor | None:
    """The message type of a field, of a map's values if it is one."""
    kind = field.message_type if field is not None else None
    if kind is not None and kind.GetOptions().map_entry:
        kind = kind.fields_by_name["value"].message_type
    return kind


def _said(field: FieldDescriptor) -> str:
    """A field's label and type as `_type` writes them."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        return f"map<{_named(key)}, {_named(value)}>"
    return f"{'repeated' if field.is_repeated else 'optional'} {_named(field)}"


def _named(field: FieldDescriptor) -> str:
    kind = field.message_type
    if kind is None:
        return _NAMES.get(field.type, "")
    return _TIMESTAMP if kind.full_name == _TIMESTAMP[1:] else str(kind.name)
