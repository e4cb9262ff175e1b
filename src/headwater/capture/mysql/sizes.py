"""How many bytes each column of a row takes on the wire, for the kernels that walk rows.

Source: `calc_field_size` in MySQL's source documentation; MariaDB's older temporal types with fractions say their
digits nowhere in the binlog, so those come from the table's definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.capture.mysql import table_map as wire
from headwater.capture.mysql.events import broken
from headwater.capture.mysql.kernels_rows import FIXED, PREFIXED
from headwater.capture.mysql.kernels_values import DIGITS_TO_BYTES
from headwater.capture.mysql.table import Layout
from headwater.capture.mysql.table_map import TableMap

_FIXED = {
    wire.NULL: 0,
    wire.TINY: 1,
    wire.YEAR: 1,
    wire.SHORT: 2,
    wire.INT24: 3,
    wire.DATE: 3,
    wire.NEWDATE: 3,
    wire.LONG: 4,
    wire.FLOAT: 4,
    wire.LONGLONG: 8,
    wire.DOUBLE: 8,
}
_OLD = {
    wire.TIME: (3, 4, 4, 5, 5, 5, 6),
    wire.DATETIME: (8, 6, 6, 7, 7, 7, 8),
    wire.TIMESTAMP: (4, 5, 5, 6, 6, 7, 7),
}
"""Bytes of the older temporal types by digits after the second."""

_NEW = {wire.TIME2: 3, wire.TIMESTAMP2: 4, wire.DATETIME2: 5}
_BLOBS = frozenset(
    {
        wire.BLOB,
        wire.TINY_BLOB,
        wire.MEDIUM_BLOB,
        wire.LONG_BLOB,
        wire.GEOMETRY,
        wire.JSON,
        wire.VECTOR,
        wire.BLOB_COMPRESSED,
    }
)


def of(table_map: TableMap, layout: Layout | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sizes of a table's columns.

    Returns:
        int64 [2, column]: FIXED and a size, or PREFIXED and the size of the length before the value; bool per column:
        it is JSON.

    Raises:
        SourceStopped: a type that is not known.
    """
    digits = dict.fromkeys(range(table_map.width), 0)
    if layout is not None:
        digits |= {field: column.fsp for column, field in zip(layout.table.columns, layout.wire, strict=True)}
    columns = zip(table_map.types, table_map.metas, strict=True)
    found = [_size(kind, meta, digits[place]) for place, (kind, meta) in enumerate(columns)]
    return np.array(found, np.int64).T.copy(), np.array(table_map.types) == wire.JSON


def _size(kind: int, meta: int, digits: int) -> tuple[int, int]:
    if kind in _FIXED:
        return FIXED, _FIXED[kind]
    if kind in _BLOBS:
        return PREFIXED, meta
    if kind in (wire.VARCHAR, wire.VAR_STRING, wire.STRING, wire.VARCHAR_COMPRESSED):
        return PREFIXED, 1 if meta < 256 else 2
    if kind in _NEW:
        return FIXED, _NEW[kind] + (meta + 1) // 2
    if kind in _OLD:
        return FIXED, _OLD[kind][min(digits, 6)]
    if kind in (wire.ENUM, wire.SET):
        return FIXED, meta
    if kind == wire.BIT:
        return FIXED, (meta + 7) // 8
    if kind == wire.NEWDECIMAL:
        whole, scale = (meta >> 8) - (meta & 0xFF), meta & 0xFF
        parts = (whole // 9 * 4, DIGITS_TO_BYTES[whole % 9], scale // 9 * 4, DIGITS_TO_BYTES[scale % 9])
        return FIXED, int(sum(parts))
    raise broken(f"a column of the unknown type {kind}")
