"""What a source's columns may do between two starts, and what they may not."""

import pyarrow as pa
import pytest

from headwater.errors import SourceStopped
from headwater.runtime.streams import merge_streams, with_new_columns
from headwater.schema import StreamSchema


def stream(key="id", **columns):
    types = {"id": pa.int64(), **columns}
    return StreamSchema("orders", pa.schema(list(types.items())), (key,), "upsert")


def merged(*versions):
    """What is known after each of these was discovered at a start."""
    known = (versions[0],)
    for version in versions[1:]:
        known = merge_streams(known, [version])
    return known[0].columns.names


A, B, C = {"a": pa.string()}, {"b": pa.string()}, {"c": pa.string()}


def test_columns_come_and_go_one_start_after_the_other():
    assert merged(stream(**A), stream(**A, **B), stream(**B), stream(**B, **C)) == ["id", "a", "b", "c"]


def test_a_column_that_went_and_one_that_came_at_once_are_a_rename_for_all_we_know():
    with pytest.raises(SourceStopped, match="a went and c came") as caught:
        merged(stream(**A, **B), stream(**B, **C))
    assert "move the state folder away" in caught.value.hint


def test_what_came_while_running_is_known_at_the_next_start():
    (known,) = with_new_columns([stream(**A)], [stream(**A, **C)])
    assert merged(known, stream(**C)) == ["id", "a", "c"]


def test_a_new_type_or_key_stops():
    with pytest.raises(SourceStopped, match="'a' was string"):
        merged(stream(**A), stream(a=pa.int32()))
    with pytest.raises(SourceStopped, match="its key was"):
        merged(stream(**A), stream(key="a", **A))
