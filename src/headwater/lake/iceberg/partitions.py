"""Partition values of rows, computed a column at a time (https://iceberg.apache.org/spec/#partition-transforms), and a
layout as an Iceberg table's metadata has it: partition spec, sort order and properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import types
from pyiceberg.schema import Schema
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import NullOrder, SortDirection
from pyiceberg.transforms import BucketTransform, IdentityTransform, TruncateTransform, parse_transform
from pyiceberg.transforms import Transform as IcebergTransform
from pyiceberg.typedef import Record

from headwater.index.kernels import Bytes, Longs, compiled
from headwater.lake.layout import Layout, PartitionBy, SortBy, Transform

BLOOM_PROPERTY = "write.parquet.bloom-filter-enabled.column."
METRICS_PROPERTY = "write.metadata.metrics."
WIDE = 100
"""A table of more columns keeps bounds only of those that it is searched by, as Iceberg's own writers do."""

_DAY_US, _HOUR_US = 86_400_000_000, 3_600_000_000
_bytes = types.Array(types.uint8, 1, "C", readonly=True)
_longs = types.Array(types.int64, 1, "C", readonly=True)


@compiled(types.void(_bytes, _longs, types.int64, types.int32[::1]))
def _buckets(data: Bytes, offsets: Longs, count: int, found: np.ndarray[Any, Any]) -> None:
    """Murmur3 (x86, 32 bit, seed 0) of the bytes between neighbouring offsets, without the sign, modulo `count`."""
    low = np.uint64(0xFFFFFFFF)
    c1, c2 = np.uint64(0xCC9E2D51), np.uint64(0x1B873593)
    for row in range(len(offsets) - 1):
        start, size = offsets[row], offsets[row + 1] - offsets[row]
        h = np.uint64(0)
        for at in range(0, size - size % 4, 4):
            k = np.uint64(0)
            for byte in range(4):
                k |= np.uint64(data[start + at + byte]) << np.uint64(8 * byte)
            k = (k * c1) & low
            k = ((k << np.uint64(15)) | (k >> np.uint64(17))) & low
            h ^= (k * c2) & low
            h = ((h << np.uint64(13)) | (h >> np.uint64(19))) & low
            h = (h * np.uint64(5) + np.uint64(0xE6546B64)) & low
        k = np.uint64(0)
        for byte in range(size % 4):
            k |= np.uint64(data[start + size - size % 4 + byte]) << np.uint64(8 * byte)
        k = (k * c1) & low
        k = ((k << np.uint64(15)) | (k >> np.uint64(17))) & low
        h ^= (k * c2) & low
        h ^= np.uint64(size)
        h ^= h >> np.uint64(16)
        h = (h * np.uint64(0x85EBCA6B)) & low
        h ^= h >> np.uint64(13)
        h = (h * np.uint64(0xC2B2AE35)) & low
        h ^= h >> np.uint64(16)
        found[row] = np.int32((h & np.uint64(0x7FFFFFFF)) % np.uint64(count))


def partition_values(values: pa.ChunkedArray, by: IcebergTransform[Any, Any], schema: Schema, source: int) -> pa.Array:
    """A column of partition values; null where the column is.

    Args:
        values: the column, of a lake type.
        by: the transform.
        schema, source: the table's, and the column's field id in it.
    """
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    name = str(by)
    if isinstance(by, IdentityTransform):
        return array
    if isinstance(by, BucketTransform):
        return _bucketed(array, by, schema, source)
    if isinstance(by, TruncateTransform):
        return _truncated(array, by, schema, source)
    return _TIMES[name](array)


def _bucketed(array: pa.Array, by: BucketTransform[Any], schema: Schema, source: int) -> pa.Array:
    kind = array.type
    if pa.types.is_decimal(kind):
        return _one_by_one(array, by, schema, source, pa.int32())
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        plain = pa.array(array.fill_null("" if pa.types.is_string(kind) else b""))
        plain = pa.concat_arrays([plain]) if plain.offset else plain
        _, offsets, data = plain.buffers()
        starts = np.frombuffer(offsets, np.int32)[: len(plain) + 1].astype(np.int64)
        raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    else:
        raw, width = _fixed(array)
        starts = np.arange(len(array) + 1, dtype=np.int64) * width
    found = np.empty(len(array), np.int32)
    _buckets(np.ascontiguousarray(raw), starts, by.num_buckets, found)
    return pa.array(found, mask=array.is_null().to_numpy(zero_copy_only=False))


def _fixed(array: pa.Array) -> tuple[Bytes, int]:
    """The bytes that a value of fixed size is hashed as, and how many they are: numbers and times as 64 bits, little
    endian."""
    kind = array.type
    storage = array.storage if isinstance(kind, pa.BaseExtensionType) else array
    if pa.types.is_fixed_size_binary(storage.type):
        width = storage.type.byte_width
        plain = pa.concat_arrays([storage.fill_null(b"\0" * width)])
        return np.frombuffer(plain.buffers()[1], np.uint8)[: len(array) * width], width
    return _as_longs(array).astype("<i8").view(np.uint8), 8


def _as_longs(array: pa.Array) -> Longs:
    """Numbers, dates as days and times as microseconds; 0 where null."""
    if pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    return np.ascontiguousarray(array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _truncated(array: pa.Array, by: TruncateTransform[Any], schema: Schema, source: int) -> pa.Array:
    kind, width = array.type, by.width
    if pa.types.is_string(kind):
        return pc.utf8_slice_codeunits(array, 0, width)
    if pa.types.is_integer(kind):
        longs = _as_longs(array)
        mask = array.is_null().to_numpy(zero_copy_only=False)
        floored = (longs - longs % width).astype(kind.to_pandas_dtype())  # wraps round at the ends, as in Java
        return pa.array(floored, kind, mask=mask)
    if pa.types.is_binary(kind):
        return pc.binary_slice(array, 0, width)
    return _one_by_one(array, by, schema, source, kind)


def _one_by_one(
    array: pa.Array, by: IcebergTransform[Any, Any], schema: Schema, source: int, kind: pa.DataType
) -> pa.Array:
    """By PyIceberg, once for each distinct value: for types that nothing vectorised is written for."""
    coded = array.dictionary_encode()
    each = by.transform(schema.find_field(source).field_type)
    return pa.array([each(value) for value in coded.dictionary.to_pylist()], kind).take(coded.indices)


def _days(array: pa.Array) -> pa.Array:
    return array.cast(pa.int32()) if pa.types.is_date(array.type) else _floored(array, _DAY_US)


def _floored(array: pa.Array, unit_us: int) -> pa.Array:
    """Whole units since 1970, rounded down: as days and hours are counted before it too."""
    longs = _as_longs(array) // unit_us
    return pa.array(longs.astype(np.int32), mask=array.is_null().to_numpy(zero_copy_only=False))


def _years(array: pa.Array) -> pa.Array:
    return _calendar(array, "Y")


def _calendar(array: pa.Array, unit: str) -> pa.Array:
    unit_of = "D" if pa.types.is_date(array.type) else "us"
    moments = _as_longs(array).view(f"datetime64[{unit_of}]")
    counted = moments.astype(f"datetime64[{unit}]").astype(np.int64).astype(np.int32)
    return pa.array(counted, mask=array.is_null().to_numpy(zero_copy_only=False))


_TIMES: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "year": _years,
    "month": lambda array: _calendar(array, "M"),
    "day": _days,
    "hour": lambda array: _floored(array, _HOUR_US),
}


def record_value(value: pa.Scalar) -> object:
    """A partition value as a manifest holds it: dates and times as numbers, the rest as it is."""
    kind = value.type
    if not value.is_valid:
        return None
    if pa.types.is_temporal(kind):
        return value.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64()).as_py()
    found = value.as_py()
    return getattr(found, "bytes", found)


def layout_of(metadata: TableMetadata) -> Layout:
    """The layout that a table says its new files have; what other engines have set and has no name here is left out."""
    schema, properties = metadata.schema(), metadata.properties
    named = {field.field_id: field.name for field in schema.fields}
    partition = [
        PartitionBy(named[field.source_id], *known)
        for field in metadata.spec().fields
        if field.source_id in named and (known := _known(field.transform)) is not None
    ]
    orders = [one for one in metadata.sort_orders if one.order_id == metadata.default_sort_order_id]
    sort = [
        SortBy(named[field.source_id], field.direction == SortDirection.DESC, field.null_order == NullOrder.NULLS_FIRST)
        for order in orders
        for field in order.fields
        if field.source_id in named and isinstance(field.transform, IdentityTransform)
    ]
    bloom = [name for name in named.values() if properties.get(BLOOM_PROPERTY + name) == "true"]
    return Layout(tuple(partition), tuple(sort), tuple(bloom))


def _known(by: IcebergTransform[Any, Any]) -> tuple[Transform, int] | None:
    if isinstance(by, BucketTransform):
        return "bucket", by.num_buckets
    if isinstance(by, TruncateTransform):
        return "truncate", by.width
    names: Mapping[str, Transform] = {
        "identity": "identity", "year": "year", "month": "month", "day": "day", "hour": "hour"
    }  # fmt: skip
    return (names[str(by)], 0) if str(by) in names else None


def transform_of(by: PartitionBy) -> IcebergTransform[Any, Any]:
    """Iceberg's name of a transform."""
    return parse_transform(f"{by.transform}[{by.size}]" if by.size else by.transform)


def apply_layout(change: Transaction, layout: Layout, key: tuple[str, ...]) -> None:
    """Makes a table's new files lie as `layout` says: partition spec, sort order, Bloom filters and statistics."""
    metadata = change.table_metadata
    held = layout_of(metadata)
    if held.partition != layout.partition:
        _apply_partition(change, metadata, layout)
    if held.sort != layout.sort:
        with change.update_sort_order() as order:
            for by in layout.sort:
                nulls = NullOrder.NULLS_FIRST if by.nulls_first else NullOrder.NULLS_LAST
                (order.desc if by.descending else order.asc)(by.column, IdentityTransform(), nulls)
    gone = [BLOOM_PROPERTY + name for name in held.bloom if name not in layout.bloom]
    if gone:
        change.remove_properties(*gone)
    wanted = layout_properties(metadata.schema(), layout, key)
    new = {name: value for name, value in wanted.items() if metadata.properties.get(name) != value}
    if new:
        change.set_properties(new)


def _apply_partition(change: Transaction, metadata: TableMetadata, layout: Layout) -> None:
    """Takes the former partition fields out and puts the new ones in; one that stays in its place keeps its id."""
    schema = metadata.schema()
    wanted = [(schema.find_field(by.column).field_id, str(transform_of(by))) for by in layout.partition]
    held = [(field.source_id, str(field.transform)) for field in metadata.spec().fields]
    kept = 0
    while kept < min(len(held), len(wanted)) and held[kept] == wanted[kept]:
        kept += 1
    if len(held) > kept:
        with change.update_spec() as update:
            for field in metadata.spec().fields[kept:]:
                update.remove_field(field.name)
    if len(wanted) > kept:
        with change.update_spec() as update:
            for by in layout.partition[kept:]:
                update.add_field(by.column, transform_of(by))


def layout_properties(schema: Schema, layout: Layout, key: tuple[str, ...]) -> dict[str, str]:
    """Properties that a layout comes with. Wide tables keep bounds of the columns that they are searched by."""
    properties = {BLOOM_PROPERTY + name: "true" for name in layout.bloom}
    if len(schema.fields) > WIDE:
        properties[METRICS_PROPERTY + "default"] = "counts"
        searched = dict.fromkeys((*key, *layout.columns))
        properties |= {f"{METRICS_PROPERTY}column.{name}": "truncate(16)" for name in searched}
    return properties


def record_of(values: Sequence[pa.Array], row: int) -> Record:
    """The partition that a row is in."""
    return Record(*(record_value(column[row]) for column in values))
