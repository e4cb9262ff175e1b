"""Arrow columns as the fields of a message type, a column at a time.

A column is written to the field of its name. Rows that are null are left out before a column is looked at, so that what
is null inside of a null is nobody's concern; what is left is written densely and spread over the rows again. What a
field cannot say is refused by name, never changed: a null where a field has no presence, a null among items, two
members of a oneof, a number out of its type's range. A message that is given as bytes is taken for one that is
written already.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from numpy.typing import NDArray

from headwater.errors import UserError
from headwater.formats.encoder import ValueRefused
from headwater.formats.expressions import as_json
from headwater.formats.nodes import Bytes, Longs
from headwater.formats.protobuf import pieces
from headwater.formats.protobuf.pieces import FIXED32, FIXED64, LENGTH, VARINT, Piece
from headwater.formats.spans import spans_of

_T = FieldDescriptor
_VARINTS: Final = {
    _T.TYPE_INT32: pa.int32(),
    _T.TYPE_INT64: pa.int64(),
    _T.TYPE_UINT32: pa.uint32(),
    _T.TYPE_UINT64: pa.uint64(),
    _T.TYPE_SINT32: pa.int32(),
    _T.TYPE_SINT64: pa.int64(),
    _T.TYPE_BOOL: pa.bool_(),
}
_FIXED: Final = {
    _T.TYPE_FIXED32: pa.uint32(),
    _T.TYPE_SFIXED32: pa.int32(),
    _T.TYPE_FLOAT: pa.float32(),
    _T.TYPE_FIXED64: pa.uint64(),
    _T.TYPE_SFIXED64: pa.int64(),
    _T.TYPE_DOUBLE: pa.float64(),
}
_DURATION: Final = r"^(?P<sign>-?)(?P<seconds>\d{1,12})(?:\.(?P<nanos>\d{1,9}))?s$"


def message_of(kind: Descriptor, rows: pa.StructArray, path: str = "") -> Piece:
    """A message for each row; none of the rows is null.

    Args:
        kind: the message type.
        rows: its columns.
        path: where it stands, for people.

    Raises:
        UserError: a column has no field, or a value that its field cannot say.
    """
    columns = dict(zip((field.name for field in rows.type), rows.flatten(), strict=True))
    extra = [name for name in columns if name not in kind.fields_by_name]
    if extra:
        raise UserError(f"{path or 'the message type'} {kind.full_name} has no field {', '.join(extra)}".strip())
    _one_of_each(kind, columns, path)
    made = []
    for field in sorted(kind.fields, key=lambda each: each.number):
        place = f"{path}.{field.name}" if path else field.name
        if field.name in columns:
            made.append(field_of(field, columns[field.name], place))
        elif field.is_required:
            raise UserError(f"the field {place} is required, and there is no column for it")
    return pieces.woven(len(rows), made)


def field_of(field: FieldDescriptor, values: pa.Array, path: str) -> Piece:
    """A field's bytes for each row, those of its tag with them.

    Raises:
        UserError: as `message_of`.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        if field.is_repeated:
            return _repeated(field, values, path)
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        if not valid.all():
            if field.is_required or not field.has_presence:
                raise ValueRefused(
                    f"the column {path} is null, which its field cannot say", hint="let the field be `optional`"
                )
            values = values.drop_null()
        made = _value(field, field.number, values, path)
        if not field.has_presence:
            wanted = ~_zeros(field, values)
            made = _value(field, field.number, values.filter(pa.array(wanted)), path).spread(wanted)
        return made.spread(valid)
    except pa.ArrowInvalid as error:
        raise ValueRefused(f"the column {path} does not fit the schema: {error}") from error
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UserError(f"the column {path} does not fit the schema: {error}") from error


def _one_of_each(kind: Descriptor, columns: dict[str, pa.Array], path: str) -> None:
    for group in kind.oneofs:
        given = [columns[each.name] for each in group.fields if each.name in columns]
        if len(given) > 1:
            count = sum(each.is_valid().to_numpy(zero_copy_only=False).astype(np.int64) for each in given)
            if isinstance(count, np.ndarray) and (count > 1).any():
                raise ValueRefused(f"{path}{'.' if path else ''}{group.name}: more than one of a oneof has a value")


def _repeated(field: FieldDescriptor, values: pa.Array, path: str) -> Piece:
    if pa.types.is_map(values.type):
        pair = pa.struct([pa.field("key", values.type.key_type), pa.field("value", values.type.item_type)])
        values = values.cast(pa.list_(pair))
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    places = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    items = values.flatten()
    if items.null_count:
        raise ValueRefused(f"the column {path} has a null among its items, which Protocol Buffers cannot say")
    if field.message_type is not None or field.type in (_T.TYPE_STRING, _T.TYPE_BYTES):
        return _value(field, field.number, items, f"{path}[]").grouped(places)
    packed = _value(field, 0, items, f"{path}[]").grouped(places)
    some = lengths > 0
    starts, ends = packed.bounds[:-1][some], packed.bounds[1:][some]
    return pieces.scattered(pieces.tag(field.number, LENGTH), packed.data, starts, ends).spread(some)


def _value(field: FieldDescriptor, number: int, values: pa.Array, path: str) -> Piece:
    """Values, none of which is null, after the tag of a field's number; without a tag if it is 0."""
    kind = field.type
    if kind == _T.TYPE_GROUP:
        raise UserError(f"{path}: groups can neither be read nor written")
    if kind == _T.TYPE_MESSAGE:
        inner = _message(field.message_type, values, path)
        return pieces.spans(pieces.tag(number, LENGTH), inner.data, inner.bounds)
    if kind in (_T.TYPE_STRING, _T.TYPE_BYTES):
        found = spans_of(text_of(values) if kind == _T.TYPE_STRING else values.cast(pa.binary()))
        return pieces.scattered(pieces.tag(number, LENGTH), found.data, found.starts, found.ends)
    if kind in _FIXED:
        plain = values.cast(_FIXED[kind]).to_numpy(zero_copy_only=False)
        return pieces.words(pieces.tag(number, FIXED32 if plain.dtype.itemsize == 4 else FIXED64), plain)
    whole = _enum(field, values, path) if kind == _T.TYPE_ENUM else _whole(values.cast(_VARINTS[kind]))
    if kind in (_T.TYPE_SINT32, _T.TYPE_SINT64):
        whole = (whole << 1) ^ (whole >> 63)
    return pieces.numbers(pieces.tag(number, VARINT), whole)


def _whole(values: pa.Array) -> Longs:
    """Whole numbers, those of uint64 as the same bits."""
    plain = values.to_numpy(zero_copy_only=False)
    found: Longs = plain.view(np.int64) if plain.dtype == np.uint64 else plain.astype(np.int64)
    return found


def _zeros(field: FieldDescriptor, values: pa.Array) -> NDArray[np.bool_]:
    """Which values are the one that a field without presence has when it is not there."""
    if field.type in (_T.TYPE_STRING, _T.TYPE_BYTES):
        found = spans_of(text_of(values) if field.type == _T.TYPE_STRING else values.cast(pa.binary()))
        return np.asarray(found.ends == found.starts)
    if field.type == _T.TYPE_ENUM:
        return np.asarray(_enum(field, values, field.name) == 0)
    plain = values.cast((_VARINTS | _FIXED)[field.type]).to_numpy(zero_copy_only=False)
    if plain.dtype.kind == "f":  # -0.0 is not the default
        plain = plain.view(np.int32 if plain.dtype.itemsize == 4 else np.int64)
    return np.asarray(plain == 0)


def _enum(field: FieldDescriptor, values: pa.Array, path: str) -> Longs:
    """Numbers of an enum's names; digits are a number without a name."""
    if pa.types.is_integer(values.type):
        return _whole(values.cast(pa.int32()))
    names = field.enum_type.values_by_name
    texts = values.cast(pa.string())
    place = pc.index_in(texts, pa.array(list(names), pa.string()))
    known = np.array([value.number for value in names.values()], np.int64)
    missing = place.is_null()
    found: Longs = known[place.fill_null(0).to_numpy(zero_copy_only=False)]
    if place.null_count:
        strange = texts.filter(missing)
        try:
            found[missing.to_numpy(zero_copy_only=False)] = strange.cast(pa.int32()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid as error:
            raise ValueRefused(f"the column {path} has {strange[0].as_py()!r}, which its enum does not know") from error
    return found


def _message(kind: Descriptor, values: pa.Array, path: str) -> Piece:
    """Messages inside of messages."""
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        found = spans_of(values)
        return pieces.scattered(pieces.tag(0, LENGTH), found.data, found.starts, found.ends, with_length=False)
    if kind.full_name == "google.protobuf.Timestamp":
        whole = values.cast(pa.timestamp("us", tz=values.type.tz)).view(pa.int64()).to_numpy(zero_copy_only=False)
        return _moment(whole // 1_000_000, whole % 1_000_000 * 1000)
    if kind.full_name == "google.protobuf.Duration":
        return _moment(*_duration(values, path))
    if not pa.types.is_struct(values.type):
        wrapped = kind.full_name.startswith("google.protobuf.") and list(kind.fields_by_name) == ["value"]
        if not wrapped:
            raise UserError(f"the column {path} is to be a message and is of type {values.type}")
        return field_of(kind.fields_by_name["value"], values, path)
    return message_of(kind, values, path)


def _moment(seconds: Longs, nanos: Longs) -> Piece:
    """Both fields of Timestamp and Duration, without those that are 0."""
    parts = []
    for number, values in ((1, seconds), (2, nanos)):
        some = values != 0
        parts.append(pieces.numbers(pieces.tag(number, VARINT), values[some]).spread(some))
    return pieces.woven(len(seconds), parts)


def _duration(values: pa.Array, path: str) -> tuple[Longs, Longs]:
    if pa.types.is_duration(values.type):
        whole = values.cast(pa.duration("us")).view(pa.int64()).to_numpy(zero_copy_only=False)
        seconds = np.trunc(whole / 1_000_000).astype(np.int64)
        return seconds, (whole - seconds * 1_000_000) * 1000
    parts = pc.extract_regex(values.cast(pa.string()), _DURATION)
    if parts.null_count:
        raise ValueRefused(f"the column {path} is to be a duration like 1.5s")
    sign = np.where(pc.equal(parts.field("sign"), "-").to_numpy(zero_copy_only=False), -1, 1)
    nanos = pc.utf8_rpad(pc.fill_null(parts.field("nanos"), ""), 9, "0").cast(pa.int64())
    seconds = parts.field("seconds").cast(pa.int64())
    return sign * seconds.to_numpy(zero_copy_only=False), sign * nanos.to_numpy(zero_copy_only=False)


def text_of(values: pa.Array) -> pa.Array:
    """A column as text: numbers with all their digits, times in ISO 8601."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise pa.ArrowTypeError(f"a field of text for {kind}")
    given = as_json("v", kind) if pa.types.is_timestamp(kind) else "v"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", pa.table({"v": values, "n": pa.array(range(len(values)), pa.int64())}))
        made = connection.sql(f"SELECT CAST({given} AS VARCHAR) AS made FROM given ORDER BY n").to_arrow_table()  # noqa: S608
    found = made.column("made").combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def framed(head: bytes, messages: Piece) -> pa.BinaryArray:
    """Messages, each after the same bytes.

    Raises:
        UserError: they are more than 2 GiB.
    """
    before: Bytes = np.frombuffer(head, np.uint8)
    made = pieces.spans(before, messages.data, messages.bounds, with_length=False)
    buffers = [None, pa.py_buffer(made.bounds.astype(np.int32)), pa.py_buffer(made.data.copy())]
    return pa.Array.from_buffers(pa.binary(), len(made.bounds) - 1, buffers)
