"""SQL for the canonical text of PostgreSQL's values, equal to what `headwater.digest` makes of the captured ones."""

from __future__ import annotations

import pyarrow as pa

from headwater.capture.postgres.types import FIRST_OWN_OID, Column, scalar_type

_PLAIN_TEXT = {25, 1043, 2950, 3802, 1700}
"""Types whose cast to text is their output function, and cheaper than `format`."""

_INFINITE_DATE, _INFINITE_TIME = 2**31 - 1, 2**63 - 1


def canonical(column: Column, value: str) -> str:
    """SQL for the canonical text of a value.

    Args:
        column: the value's column.
        value: SQL for the value; it is evaluated more than once.
    """
    if not pa.types.is_list(column.arrow_type):
        return _scalar(column.arrow_type, column.base_oid, value)
    if column.vector:
        value = f"({value})::real[]"
    inner = scalar_type(column.element, column.element_typmod)
    if column.element >= FIRST_OWN_OID and not column.vector:  # unnest would take a composite apart
        element, elements = f"({value})[n]", f"generate_subscripts({value}, 1) AS u (n)"
    else:
        element, elements = "e", f"unnest({value}) WITH ORDINALITY AS u (e, n)"
    text = _scalar(inner, column.element, element)
    joined = f"SELECT coalesce(string_agg({lengthened(text)}, '' ORDER BY n), '') FROM {elements}"  # noqa: S608 quoted
    return f"CASE WHEN {value} IS NOT NULL THEN ({joined}) END"


def lengthened(text: str) -> str:
    """SQL for a text as it stands in a row or list."""
    return f"coalesce(octet_length({text}) || ':' || {text}, 'N')"


def _scalar(kind: pa.DataType, oid: int, value: str) -> str:
    if pa.types.is_string(kind):
        return (
            f"({value})::text"
            if oid in _PLAIN_TEXT
            else f"CASE WHEN num_nulls({value}) = 0 THEN format('%s', {value}) END"
        )
    if pa.types.is_boolean(kind):
        return f"CASE {value} WHEN true THEN 't' WHEN false THEN 'f' END"
    if pa.types.is_floating(kind):
        send, width, whole = ("float4send", 32, "int4") if kind == pa.float32() else ("float8send", 64, "int8")
        bits = f"('x' || encode({send}({value}), 'hex'))::bit({width})::{whole}::text"
        return f"CASE WHEN {value} = 'NaN' THEN 'NaN' ELSE {bits} END"
    if pa.types.is_date(kind):
        days = f"(CASE WHEN isfinite({value}) THEN {value} END - date '1970-01-01')::text"
        return _with_infinity(value, days, _INFINITE_DATE)
    if pa.types.is_timestamp(kind):
        micros = f"(extract(epoch FROM CASE WHEN isfinite({value}) THEN {value} END) * 1000000)::numeric(20)::text"
        return _with_infinity(value, micros, _INFINITE_TIME)
    if pa.types.is_time(kind):
        return f"(extract(epoch FROM {value}) * 1000000)::int8::text"
    if pa.types.is_binary(kind):
        return f"encode({value}, 'hex')"
    return f"({value})::text"


def _with_infinity(value: str, finite: str, infinite: int) -> str:
    return f"CASE {value} WHEN 'infinity' THEN '{infinite}' WHEN '-infinity' THEN '-{infinite}' ELSE {finite} END"
