"""SQL (DuckDB) for values as messages have them."""

from __future__ import annotations

import pyarrow as pa

_ISO_DAY, _ISO = "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%f"


def quoted(text: str, mark: str = "'") -> str:
    """A text as a literal, or with double marks a name."""
    return mark + text.replace(mark, mark + mark) + mark


def as_json(value: str, kind: pa.DataType) -> str:
    """SQL for `value` of an Arrow type as something that `to_json` writes as it should be read again."""
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({value}) THEN to_json({value}) ELSE to_json(CAST({value} AS VARCHAR)) END"
    if pa.types.is_decimal(kind):  # a narrow one would be written as a double
        return f"CAST({value} AS DECIMAL(38, {kind.scale}))"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"base64({value})"
    if pa.types.is_timestamp(kind):
        return f"strftime({value}, '{_ISO}{'Z' if kind.tz else ''}')"
    if pa.types.is_struct(kind):
        fields = [
            f"{quoted(child.name, chr(34))} := {as_json(f'{value}.{quoted(child.name, chr(34))}', child.type)}"
            for child in kind
        ]
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END" if fields else value
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_special(kind.value_type):
        name = f"x{value.count('x') + 1}"
        return f"list_transform({value}, lambda {name}: {as_json(name, kind.value_type)})"
    return value


def _is_special(kind: pa.DataType) -> bool:
    return as_json("v", kind) != "v"


def as_csv(value: str, kind: pa.DataType, delimiter: str, quote: str, null: str) -> str:
    """SQL for `value` as a field of a line."""
    if pa.types.is_nested(kind):
        text = f"CAST(to_json({as_json(value, kind)}) AS VARCHAR)"
    elif pa.types.is_binary(kind) or pa.types.is_timestamp(kind):
        text = as_json(value, kind)
    else:
        text = f"CAST({value} AS VARCHAR)"
    marked = f"{quoted(quote)} || replace({text}, {quoted(quote)}, {quoted(quote + quote)}) || {quoted(quote)}"
    special = [delimiter, quote, "\n", "\r"]
    tests = [f"contains({text}, {quoted(sign)})" for sign in special] + [f"{text} = {quoted(null)}", f"{text} = ''"]
    tests.append(f"trim({text}) != {text}")
    return f"CASE WHEN {value} IS NULL THEN {quoted(null)} WHEN {' OR '.join(tests)} THEN {marked} ELSE {text} END"
