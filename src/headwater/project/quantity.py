"""Durations and sizes as people write them: `500 ms`, `5 seconds`, `1 h`, `10 GiB`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, ByteSize, TypeAdapter, ValidationError, WithJsonSchema

_DURATION = re.compile(r"\s*(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[a-zA-Z]+)\s*")
_MICROSECONDS = {
    ("us", "microsecond", "microseconds"): 1,
    ("ms", "millisecond", "milliseconds"): 1_000,
    ("s", "sec", "second", "seconds"): 1_000_000,
    ("m", "min", "minute", "minutes"): 60_000_000,
    ("h", "hour", "hours"): 3_600_000_000,
    ("d", "day", "days"): 86_400_000_000,
}
_UNITS = {unit: factor for units, factor in _MICROSECONDS.items() for unit in units}
DURATION_EXAMPLE = "500 ms, 5 seconds, 10 min, 1 h or 7 days"


def parse_duration(value: object) -> timedelta:
    """Reads a duration: a number and a unit.

    Raises:
        ValueError: it is not one; the message says how to write one.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    factor = _UNITS.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"expected a duration such as {DURATION_EXAMPLE}")
    try:
        return timedelta(microseconds=float(match["count"]) * factor)
    except OverflowError as error:
        raise ValueError(f"this duration is too long; expected one such as {DURATION_EXAMPLE}") from error


def format_duration(duration: timedelta) -> str:
    """Writes a duration with the largest unit that leaves a whole number, so that `parse_duration` reads it back."""
    microseconds = duration // timedelta(microseconds=1)
    for units, factor in reversed(_MICROSECONDS.items()):
        if microseconds % factor == 0 and microseconds:
            return f"{microseconds // factor} {units[0]}"
    return "0 s"


def _parse_positive(value: object) -> timedelta:
    duration = parse_duration(value)
    if duration <= timedelta(0):
        raise ValueError("expected a duration above zero")
    return duration


_SHARE = re.compile(r"\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s*")
_SIZE: TypeAdapter[ByteSize] = TypeAdapter(ByteSize)


def memory_bytes(value: object, machine_bytes: int) -> int:
    """Reads an amount of memory: bytes (`2 GiB`), or a share of the machine's (`25 %`).

    Args:
        value: as written.
        machine_bytes: the machine's memory.

    Raises:
        ValueError: it is neither, or nothing.
    """
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    try:
        size = int(machine_bytes * float(share["percent"]) / 100) if share else int(_SIZE.validate_python(value))
    except ValidationError:
        size = 0
    if size <= 0 or (share and float(share["percent"]) > 100):
        raise ValueError("expected an amount of memory such as 2 GiB, or a share of the machine's such as 25 %")
    return size


def _parse_memory(value: object) -> str:
    memory_bytes(value, 1 << 30)
    return str(value)


_SCHEMA = {"type": "string", "examples": ["500 ms", "5 seconds", "1 h"]}
Duration = Annotated[timedelta, BeforeValidator(parse_duration), WithJsonSchema(_SCHEMA)]
MemoryAmount = Annotated[str, BeforeValidator(_parse_memory), WithJsonSchema({"type": ["integer", "string"]})]
PositiveDuration = Annotated[timedelta, BeforeValidator(_parse_positive), WithJsonSchema(_SCHEMA)]
