"""Values in another type only where they are the same values there; and text in the type that a user has declared."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.errors import UserError

Mask = NDArray[np.bool_]

_EPOCHS = {"TIMESTAMP_S": 1_000_000, "TIMESTAMP_MS": 1_000, "TIMESTAMP_US": 1}
"""Declared types that take a number for the time since 1970, and how many microseconds its unit has."""

_WHOLE, _NUMBER = r"^[+-]?[0-9]+(\.0*)?$", r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"


def mask_of(values: pa.Array) -> Mask:
    """A boolean array as a mask, null counting as false."""
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), np.bool_)


def convertible(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type may be the same values in another."""
    numbers = all(_is_number(kind) for kind in (given, wanted))
    return numbers or any(all(test(kind) for kind in (given, wanted)) for test in _FAMILIES)


def converted(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
    """Values in another type of their family, null where they would not be the same, and where that is so."""
    try:
        if not any(pa.types.is_floating(one) or pa.types.is_decimal(one) for one in (values.type, kind)):
            return pc.cast(values, kind), np.zeros(len(values), np.bool_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    try:
        there = pc.cast(values, kind, safe=False)
        same = mask_of(pc.equal(pc.cast(there, values.type, safe=False), values))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        there, same = pa.nulls(len(values), kind), np.zeros(len(values), np.bool_)
    rest = values.is_valid().to_numpy(zero_copy_only=False) & ~same
    return pc.if_else(pa.array(rest), pa.scalar(None, kind), there), rest


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


_FAMILIES = (
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
    lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind),
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_time,
)


class DeclaredTypes:
    """Columns with the types that the user has declared. One thread at a time.

    Args:
        columns: DuckDB's type names by column.

    Attributes:
        fields: the columns as Arrow has them.

    Raises:
        UserError: there is no such type.
    """

    def __init__(self, columns: dict[str, str]) -> None:
        self._names = dict(columns)
        if columns:
            self._connection = duckdb.connect()
            self._connection.execute("SET TimeZone = 'UTC'")
        self.fields = pa.schema([pa.field(name, self._arrow_type(name, kind)) for name, kind in columns.items()])

    def _arrow_type(self, name: str, kind: str) -> pa.DataType:
        try:
            made = self._connection.sql(f"SELECT CAST(NULL AS {kind}) AS value").to_arrow_table()
        except duckdb.Error as error:
            raise UserError(
                f"column {name!r}: there is no type {kind!r}",
                hint="types are written as in DuckDB: BIGINT, DOUBLE, DECIMAL(12,2), VARCHAR, TIMESTAMPTZ, JSON",
            ) from error
        found = made.schema.field("value").type
        if pa.types.is_timestamp(found) and found.unit != "us":
            return pa.timestamp("us", found.tz)
        return found.storage_type if isinstance(found, pa.BaseExtensionType) and found != pa.uuid() else found

    def cast(self, name: str, values: pa.Array) -> tuple[pa.Array, Mask]:
        """Values of a declared column in its type, null where they cannot be, and where that is so.

        Args:
            values: text, or values of the type that they came with.
        """
        kind = self.fields.field(name).type
        if values.type.equals(kind):
            return values, np.zeros(len(values), np.bool_)
        if not pa.types.is_string(values.type):
            if convertible(values.type, kind):
                return converted(values, kind)
            if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
                return self._by_sql(name, values)
            values = values.cast(pa.string()) if not pa.types.is_binary(values.type) else values
        declared = self._names[name].upper()
        if declared in _EPOCHS:
            return self._epochs(name, values, _EPOCHS[declared])
        if _is_number(kind) and not pa.types.is_floating(kind):
            return _numbers(values, kind)
        return self._by_sql(name, values)

    def _epochs(self, name: str, values: pa.Array, unit_us: int) -> tuple[pa.Array, Mask]:
        """Times: whole numbers are units since 1970, all else is text."""
        numbers = pc.match_substring_regex(values, r"^-?[0-9]{1,18}$")
        since = pc.cast(pc.if_else(numbers, values, None), pa.int64())
        largest = (1 << 63) // unit_us - 1
        fits = pc.and_kleene(pc.greater(since, -largest), pc.less(since, largest))
        times = pc.cast(pc.multiply(pc.if_else(fits, since, None), unit_us), pa.timestamp("us"))
        others, misfit = self._by_sql(name, pc.if_else(numbers, None, values))
        return pc.coalesce(times, others.cast(times.type)), misfit | (mask_of(numbers) & ~mask_of(times.is_valid()))

    def _by_sql(self, name: str, values: pa.Array) -> tuple[pa.Array, Mask]:
        kind, declared = self.fields.field(name).type, self._names[name]
        nested = pa.types.is_nested(kind)
        value = "value"
        if nested and pa.types.is_string(values.type):
            value = "CAST(CASE WHEN json_valid(value) THEN value END AS JSON)"
        given = pa.table({"value": values})
        self._connection.register("given", given)
        try:
            found = self._connection.sql(f"SELECT TRY_CAST({value} AS {declared}) AS value FROM given").to_arrow_table()  # noqa: S608
        except duckdb.Error:
            return pa.nulls(len(values), kind), values.is_valid().to_numpy(zero_copy_only=False)
        finally:
            self._connection.unregister("given")
        made = found.column("value").combine_chunks()
        if isinstance(made, pa.ChunkedArray):
            made = made.chunk(0) if made.num_chunks else pa.nulls(0, made.type)
        if isinstance(made.type, pa.BaseExtensionType) and not made.type.equals(kind):
            made = made.storage
        if not made.type.equals(kind):
            made = pc.cast(made, kind, safe=False)
        return made, (values.is_valid().to_numpy(zero_copy_only=False)) & made.is_null().to_numpy(zero_copy_only=False)


def _numbers(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
    """Text as whole numbers or decimals, of which no digit is lost."""
    pattern = _WHOLE if pa.types.is_integer(kind) else _NUMBER
    looks = pc.match_substring_regex(values, pattern)
    given = pc.if_else(looks, values, pa.scalar(None, pa.string()))
    if pa.types.is_integer(kind):
        given = pc.replace_substring_regex(given, r"^\+|\.0*$", "")
    made, lost = _cast_each(given, kind)
    return made, lost | (values.is_valid().to_numpy(zero_copy_only=False) & ~mask_of(looks))


def _cast_each(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
    """A cast that leaves null what cannot be cast, found by halving."""
    try:
        return pc.cast(values, kind), np.zeros(len(values), np.bool_)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, kind), np.ones(1, np.bool_)
        middle = len(values) // 2
        halves = [_cast_each(half, kind) for half in (values[:middle], values[middle:])]
        return pa.concat_arrays([half[0] for half in halves]), np.concatenate([half[1] for half in halves])
