"""What strftime shows of a time: the unit below which it makes no difference, and whether it tells that unit."""

from __future__ import annotations

import re

UNITS_US = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}
"""Units that are all of one length, the coarsest first; a TIMESTAMP has no leap seconds."""

_SHOWN = {
    "day": "YmdyjaAbBuw", "hour": "HIp", "minute": "M", "second": "S",
}  # fmt: skip
_CODE = re.compile(r"%(-?)(.)", re.DOTALL)


def shown_unit(format_: str) -> str:
    """The finest unit that a format of DuckDB's strftime shows anything of; "" if it has codes that are not known."""
    codes = [code for _, code in _CODE.findall(format_) if code != "%"]
    unit_of = {code: unit for unit, shown in _SHOWN.items() for code in shown}
    if not set(codes) <= set(unit_of):
        return ""
    units = [unit_of[code] for code in codes]
    return max(units, key=list(UNITS_US).index, default="day")


def tells(format_: str) -> bool:
    """Whether equal texts are of equal times, cut to the unit shown: all that is coarser is shown as well, and where a
    number ends."""
    found = _CODE.findall(format_)
    needed = {"day": "Ymd", "hour": "YmdH", "minute": "YmdHM", "second": "YmdHMS"}.get(shown_unit(format_), "")
    shown = {code for _, code in found}
    return bool(needed) and shown == set(needed) and all(not dash for dash, _ in found)
