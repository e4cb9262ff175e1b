"""Random strings as Arrow arrays, made by arithmetic on their buffers: no Python per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

_SPACE, _A, _LETTERS = ord(" "), ord("a"), 26
_RUN = 6
EXTRA_BYTES = 1 << 20


def strings(characters: Bytes, lengths: Longs) -> pa.StringArray:
    """Strings that lie one after the other in `characters`.

    Args:
        characters: ASCII.
        lengths: in characters; their sum is the size of `characters`.
    """
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(characters))


def words(rng: np.random.Generator, count: int, limit: int, special: str = " ") -> pa.StringArray:
    """`count` words of 3 to `limit` - 1 characters: `special` one time in 13, else a to z; spaces at the ends go."""
    width = limit - 1
    drawn = rng.integers(0, 13 * _LETTERS, (count, width), dtype=np.uint16)
    alphabet = np.tile(np.arange(_A, _A + _LETTERS, dtype=np.uint8), 13)
    alphabet[:_LETTERS] = ord(special)
    characters = alphabet[drawn]
    places = np.arange(width)
    inside = places < rng.integers(3, limit, (count, 1))
    if special == " ":
        inside = _trimmed(inside & (characters != _SPACE), places)
    return strings(characters[inside], inside.sum(axis=1))


def _trimmed(letters: npt.NDArray[np.bool_], places: Longs) -> npt.NDArray[np.bool_]:
    """Per row everything from the first letter to the last."""
    first = letters.argmax(axis=1)
    last = len(places) - 1 - letters[:, ::-1].argmax(axis=1)
    last[~letters.any(axis=1)] = -1
    inside: npt.NDArray[np.bool_] = (places >= first[:, None]) & (places <= last[:, None])
    return inside


def digits(rng: np.random.Generator, count: int) -> pa.StringArray:
    """Card numbers: four groups of four digits with spaces between."""
    characters = rng.integers(ord("0"), ord("9") + 1, (count, 19), dtype=np.uint8)
    characters[:, 4::5] = _SPACE
    return strings(characters.reshape(-1), np.full(count, 19, np.int64))


def extra_text(rng: np.random.Generator) -> Bytes:
    """The one long string of which every `extra` is a slice.

    Runs of six characters are from a to z or, half the time, from H to a: upstream takes the remainder of a negative
    number.
    """
    runs = -(-EXTRA_BYTES // _RUN)
    offsets = rng.integers(0, _LETTERS, (runs, _RUN), dtype=np.int16)
    signs = rng.integers(0, 2, (runs, 1), dtype=np.int16) * 2 - 1
    return (_A + signs * offsets).astype(np.uint8).reshape(-1)[:EXTRA_BYTES]


def extras(rng: np.random.Generator, pool: Bytes, current: Longs | int, average: int, count: int) -> pa.StringArray:
    """What fills rows of `current` bytes up to about `average`: slices of `pool`, empty where nothing is to be filled.

    Args:
        pool: `extra_text`.
        current: bytes of the row's other columns, one for each or one for all.
        average: bytes that a row is to have.
    """
    missing = np.maximum(average - np.broadcast_to(np.asarray(current, np.int64), (count,)), 0)
    spread = np.floor(0.2 * missing + 0.5).astype(np.int64)
    lengths = missing - spread + rng.integers(0, np.maximum(2 * spread, 1))
    width = int(lengths.max(initial=0))
    if not width:
        return strings(np.zeros(0, np.uint8), lengths)
    windows = np.lib.stride_tricks.sliding_window_view(pool, width)
    characters = windows[rng.integers(0, len(windows), count)]
    return strings(characters[np.arange(width) < lengths[:, None]], lengths)


def text_lengths(array: pa.StringArray) -> Longs:
    """Characters of each string, all of them ASCII."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    return np.diff(offsets).astype(np.int64)
