"""The names of records."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headwater.deliver.key_text import names


@given(st.lists(st.tuples(st.text(alphabet="a:%3A", max_size=4), st.text(alphabet="a:%3A", max_size=4)), max_size=20))
def test_different_keys_have_different_names(keys: list[tuple[str, str]]) -> None:
    rows = pa.table(
        {"a": pa.array([a for a, _ in keys], pa.string()), "b": pa.array([b for _, b in keys], pa.string())}
    )
    assert len(set(names(rows, ["a", "b"]))) == len(set(keys))


def test_a_key_with_a_null_in_it_has_no_name() -> None:
    rows = pa.table({"a": [1, None], "b": ["x", "y"]})
    assert names(rows, ["a", "b"]) == ["1:x", None]
    assert names(rows, ["a"]) == ["1", None]
