"""Moments as people write them, after `--at`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from headwater.errors import UserError
from headwater.lake.moment import Moment

_UNITS = {"second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "h": 3600,
          "day": 86400, "d": 86400, "week": 604800, "w": 604800}  # fmt: skip
_AGO = re.compile(r"(?P<count>\d+(\.\d+)?)\s*(?P<unit>[a-z]+?)s?\s+ago", re.I)
_NUMBERED = re.compile(r"(?P<what>snapshot|version|epoch)\s*[ =:]\s*(?P<number>\d+)", re.I)
_NAMED = re.compile(r"(?P<what>tag|branch)\s*[ =:]\s*(?P<name>\S+)", re.I)
_DAYS = {"today": 0, "yesterday": 1}

HINT = (
    "a time is written 2026-11-21, '2026-11-21 20:15' or 2026-11-21T20:15:00+01:00 (UTC if no zone is given), "
    "'2 hours ago', yesterday; another moment 'epoch 17', 'snapshot 8270633197658268308', 'tag NAME'"
)


def parse_moment(text: str, now_us: int) -> Moment:
    """A moment from its text.

    Args:
        text: a time in ISO 8601, "2 hours ago", "today" and "yesterday" (their beginning in UTC), "snapshot N", "epoch
            N", "tag NAME" or "branch NAME".
        now_us: the present, microseconds since 1970 UTC.

    Raises:
        UserError: it is none of these, or lies in the future.
    """
    text = text.strip()
    if numbered := _NUMBERED.fullmatch(text):
        number = int(numbered["number"])
        return Moment(epoch=number) if numbered["what"].lower() == "epoch" else Moment(snapshot=number)
    if named := _NAMED.fullmatch(text):
        return Moment(ref=named["name"])
    time_us = _time(text, now_us)
    if time_us is None:
        raise UserError(f"{text!r} is not a moment", hint=HINT)
    if time_us > now_us:
        raise UserError(f"{text!r} lies in the future", hint="leave the moment out to read what is there now")
    return Moment(time_us=time_us)


def _time(text: str, now_us: int) -> int | None:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        seconds = _UNITS.get(ago["unit"].lower())
        return None if seconds is None else now_us - round(float(ago["count"]) * seconds * 1_000_000)
    if text.lower() == "now":
        return now_us
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_us)
    if text.lower() in _DAYS:
        moment = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS[text.lower()])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
