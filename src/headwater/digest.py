"""Counts and checksums of rows that two systems can compute each by itself, to be compared without moving the rows.

Every value has a *canonical text*, the same on both sides, by its Arrow type:

| type | canonical text |
|---|---|
| bool | `t`, `f` |
| integers, decimals | as SQL writes them, with all digits of the scale and a digit before the point |
| float32, float64 | the bits as a signed integer of that width; `NaN` |
| text | itself |
| binary | lower-case hexadecimal digits |
| date | days since 1970; infinity is the largest 32-bit integer, its negative minus infinity |
| timestamp, time | microseconds since 1970 (UTC), since midnight; infinity likewise in 64 bits |
| list | its elements, each as below, end to end |

A value in a row or list stands as the number of bytes of its text (UTF-8), a colon and the text; null as `N`. A row is
its columns end to end. Of the MD5 of a row, hexadecimal digits 1 to 15 and 16 to 30 are two numbers; a *digest* is the
number of rows and the sums of both. A row's *bucket* is digits 1 to 4 of the MD5 of its key's columns (of all columns
if there is no key), as a number, modulo the number of buckets. So digests need no order, and add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

MOST_BUCKETS = 1 << 16


@dataclass(frozen=True)
class Digest:
    """Number of rows and two checksums."""

    rows: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Digest) -> Digest:
        return Digest(self.rows - other.rows, self.low - other.low, self.high - other.high)

    @property
    def text(self) -> str:
        """The checksums for people, 30 hexadecimal digits or more."""
        return f"{self.low:015x}{self.high:015x}"


Digests = dict[int, Digest]
"""By bucket; one without rows may be missing."""


def total(digests: Mapping[int, Digest]) -> Digest:
    """The digest of all buckets together."""
    return sum(digests.values(), Digest())


def digests(rows: pa.Table, key: Sequence[str], buckets: int) -> Digests:
    """The digests of `rows` by bucket.

    Args:
        rows: whole rows, each once.
        key: the columns that name a row; empty if nothing does.
        buckets: how many there are, a power of two of at most `MOST_BUCKETS`.

    Raises:
        TypeError: a column is of a type without a canonical text.
    """
    query = (
        "SELECT bucket, count(*), sum(CAST('0x' || hash[1:15] AS BIGINT)), sum(CAST('0x' || hash[16:30] AS BIGINT)) "
        "FROM hashed GROUP BY bucket"
    )
    return {bucket: Digest(*sums) for bucket, *sums in _hashed(rows, key, buckets, query)}


def in_buckets(rows: pa.Table, key: Sequence[str], buckets: int, chosen: Sequence[int]) -> pa.Table:
    """Those of `rows` that are in the chosen buckets."""
    query = f"SELECT list(number) FROM hashed WHERE bucket IN ({', '.join(map(str, chosen)) or 'NULL'})"  # noqa: S608
    ((numbers,),) = _hashed(rows, key, buckets, query)
    return rows.take(pa.array(numbers or [], pa.int64()))


def canonical(rows: pa.Table) -> pa.Table:
    """The canonical texts of `rows`, null for null."""
    with duckdb.connect() as connection:
        connection.register("given", pa.table([_prepared(column) for column in rows.columns], names=_names(rows)))
        texts = ", ".join(f"{_text(name, column)} AS {name}" for name, column in _columns(rows))
        made = connection.sql(f"SELECT {texts} FROM given").to_arrow_table()  # noqa: S608 our own names
    return made.rename_columns(rows.column_names)


def _hashed(rows: pa.Table, key: Sequence[str], buckets: int, query: str) -> list[tuple[int, ...]]:
    """Answers `query` over `hashed`: the number of each row, its bucket and its hash."""
    if buckets < 1 or buckets > MOST_BUCKETS or buckets & (buckets - 1):
        raise ValueError(f"{buckets} is no number of buckets")
    row = _joined(name for name, _ in _columns(rows))
    named = _joined(name for name, _ in _columns(rows) if rows.column_names[int(name[1:])] in key) if key else row
    texts = ", ".join(f"{_text(name, column)} AS {name}" for name, column in _columns(rows))
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = false")
        prepared = [*(_prepared(column) for column in rows.columns), pa.array(range(rows.num_rows), pa.int64())]
        connection.register("given", pa.table(prepared, names=[*_names(rows), "number"]))
        return connection.sql(
            f"WITH texts AS (SELECT {texts}, number FROM given), "  # noqa: S608 our own names
            f"hashed AS (SELECT number, md5({row}) AS hash, "
            f"CAST('0x' || md5({named})[1:4] AS INTEGER) % {buckets} AS bucket FROM texts) {query}"
        ).fetchall()


def _names(rows: pa.Table) -> list[str]:
    return [f"c{place}" for place in range(rows.num_columns)]


def _columns(rows: pa.Table) -> list[tuple[str, pa.DataType]]:
    return list(zip(_names(rows), (field.type for field in rows.schema), strict=True))


def _joined(names: Iterable[str]) -> str:
    return " || ".join(f"coalesce(strlen({name}) || ':' || {name}, 'N')" for name in names) or "''"


def _prepared(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with types turned round that SQL has no canonical text for."""
    return pa.chunked_array([_prepare(chunk) for chunk in column.chunks or [pa.nulls(0, column.type)]])


def _prepare(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_floating(kind):
        bits = values.view(pa.int32() if kind == pa.float32() else pa.int64()).cast(pa.string())
        return pc.if_else(pc.is_nan(values), "NaN", bits)
    if pa.types.is_date32(kind):
        return values.cast(pa.int32())
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    if pa.types.is_time(kind):
        return values.cast(pa.time64("us")).cast(pa.int64())
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "t", "f")
    if pa.types.is_list(kind):
        lengths = pc.list_value_length(values).fill_null(0)
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
        return pa.ListArray.from_arrays(offsets, _prepare(values.flatten()), mask=values.is_null())
    return values


def _text(name: str, kind: pa.DataType) -> str:
    """SQL for the canonical text of a prepared column, or of a list's element."""
    if pa.types.is_list(kind):
        inner = _text("x", kind.value_type)
        element = f"CASE WHEN x IS NULL THEN 'N' ELSE strlen({inner}) || ':' || {inner} END"
        joined = f"coalesce(array_to_string(list_transform({name}, lambda x: {element}), ''), '')"
        return f"CASE WHEN {name} IS NOT NULL THEN {joined} END"
    if pa.types.is_decimal(kind):
        text = f"CAST({name} AS VARCHAR)"
        return f"regexp_replace({text}, '^(-?)[.]', '\\10.')"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"lower(hex({name}))"
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        raise TypeError(f"a {kind} has no canonical text")
    return f"CAST({name} AS VARCHAR)"
