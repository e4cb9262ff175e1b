"""Compiled looks at text."""

from __future__ import annotations

from headwater.formats.json.kernels_text import utf8_length
from headwater.formats.kernel_types import FLAG, LONG, SOURCE
from headwater.formats.nodes import Bytes
from headwater.index.kernels import compiled


@compiled(FLAG(SOURCE, LONG, LONG))
def is_utf8(buffer: Bytes, at: int, end: int) -> bool:
    """Whether the bytes from `at` to `end` are UTF-8."""
    seen = 0
    for i in range(at, end):
        seen |= buffer[i]
    if seen < 0x80:
        return True
    while at < end:
        length = 1 if buffer[at] < 0x80 else utf8_length(buffer, at, end)
        if length == 0:
            return False
        at += length
    return True
