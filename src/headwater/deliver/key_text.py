"""What a record is called at a destination that knows it by one text: a key, a document's id."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import key_text


def names(rows: pa.Table, key: Sequence[str]) -> list[str | None]:
    """The text of each row's key, the same for equal keys and for no others; null if a part of it is.

    One column's value is its own text; those of several are joined by ":", and a ":" or "%" in them is written %3A or
    %25.

    Args:
        rows: with the key's columns.
        key: their names, at least one.
    """
    parts = [pa.array(key_text(rows.column(name).combine_chunks()), pa.string()) for name in key]
    if len(parts) == 1:
        return list(parts[0].to_pylist())
    escaped = [pc.replace_substring(pc.replace_substring(part, "%", "%25"), ":", "%3A") for part in parts]
    return list(pc.binary_join_element_wise(*escaped, ":").to_pylist())
