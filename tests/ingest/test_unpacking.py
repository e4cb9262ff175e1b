"""What a packed body holds is unpacked up to its limit; what is damaged or cut short is told."""

from __future__ import annotations

import gzip
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.http.unpacking import TooLarge, unpack
from headwater.errors import UserError


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@given(body=st.binary(max_size=3000))
@settings(deadline=None)
def test_what_was_packed_is_unpacked(codec: str, body: bytes) -> None:
    packed = gzip.compress(body) if codec == "gzip" else bytes(pa.compress(body, "zstd", asbytes=True))
    assert unpack(packed, codec, 3000) == body
    if body:
        with pytest.raises(TooLarge):
            unpack(packed, codec, len(body) - 1)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bomb_is_not_unpacked(codec: str) -> None:
    """A gigabyte of zeros in a few bytes: given up after the first pieces."""
    zeros = bytes(1 << 20)
    if codec == "gzip":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()
    else:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            for _ in range(256):
                stream.write(zeros)
        bomb = sink.getvalue().to_pybytes()
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLarge):
        unpack(bomb, codec, 2 << 20)
    assert pa.total_allocated_bytes() - before < 8 << 20


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_damaged_and_short_bodies_are_told(codec: str) -> None:
    whole = gzip.compress(b"abc" * 1000) if codec == "gzip" else pa.compress(b"abc" * 1000, "zstd", asbytes=True)
    for broken in (whole[:-3], b"", b"not packed at all", b"\0" + whole[1:]):
        with pytest.raises(UserError, match="not whole"):
            unpack(bytes(broken), codec, 10_000)
