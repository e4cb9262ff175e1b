"""Texts and their numbers: the same text has the same number, and is written out as it was."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.index.text_index import TextIndex, TextWriter

TEXTS = st.lists(
    st.none()
    | st.text(max_size=40)
    | st.text("ab\0", min_size=6, max_size=34)
    | st.sampled_from(["é" * n for n in range(18)])
)


def _cut(texts: list[str | None], before: int, exact: bool) -> pa.Array:
    """An array that begins in the middle of its buffers, which may end right behind it."""
    whole = pa.array(["x" * before, *texts], pa.string())
    if exact and texts:
        valid, ends, data = whole.buffers()
        size = int.from_bytes(memoryview(ends)[4 * len(whole) :][:4], "little")
        cut = None if data is None else pa.py_buffer(memoryview(data)[:size].tobytes())
        whole = pa.Array.from_buffers(pa.string(), len(whole), [valid, ends, cut])
    return whole.slice(1)


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.integers(0, 20), st.sampled_from([4, 64]), st.booleans())
def test_equal_texts_have_one_number(batches: list[list[str | None]], before: int, bits: int, exact: bool) -> None:
    index, met = TextIndex(hash_bits=bits), dict[str | None, int]({None: 0})
    for texts in batches:
        numbers = index.numbers(_cut(texts, before, exact), len(texts))
        assert numbers is not None
        for text, number in zip(texts, numbers.tolist(), strict=True):
            assert met.setdefault(text, len(met)) == number
    assert index.texts().to_pylist() == list(met)
    assert index.texts(1).to_pylist() == list(met)[1:]


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.data())
def test_texts_are_written_as_they_were(texts: list[str | None], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    written = TextWriter(_cut(texts, 3, exact=True)).written(pa.array(numbers, pa.int32()).to_numpy())
    assert written.to_pylist() == [texts[number] for number in numbers]
    written.validate(full=True)


def test_it_grows_and_ends_where_it_should() -> None:
    texts = pa.array([f"{i % 5_000}" * (i % 7) for i in range(20_000)])
    index = TextIndex()
    numbers = index.numbers(texts, 20_000)
    assert numbers is not None
    assert index.texts().take(pa.array(numbers)).equals(texts)
    assert len(index) == len(texts.unique()) + 1
    fresh = TextIndex()
    assert fresh.numbers(texts, len(index) - 1) is not None
    fresh.clear()
    assert fresh.numbers(texts, len(index) - 2) is None


def test_texts_too_long_for_one_array_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.index.text_index.place_texts", _small_arrays)
    texts = pa.array(["abc", None, "de"])
    written = TextWriter(texts).written(pa.array([0, 1, 2, 0, 2], pa.int32()).to_numpy())
    assert written.num_chunks > 1
    assert written.to_pylist() == ["abc", None, "de", "abc", "de"]


def _small_arrays(ends, numbers, starts):  # type: ignore[no-untyped-def]
    from headwater.index.text_kernels import place_texts

    return -1 if len(numbers) > 2 else place_texts(ends, numbers, starts)
