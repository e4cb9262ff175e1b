"""From what was measured to how a check stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headwater.quality.checks import Check, Result, failed
from headwater.quality.volume import robust_z


@dataclass(frozen=True)
class Measured:
    """What is known of one check's rows.

    Attributes:
        failing: rows that fail, or violations, now.
        example: one of them.
        error: why there is nothing to judge; empty if there is.
        rows: how many rows there are.
        appeared: how many appeared in this epoch.
        newest_us: the newest time.
        volumes: rows that appeared before this epoch, by period.
    """

    failing: int = 0
    example: str = ""
    error: str = ""
    rows: int = 0
    appeared: int = 0
    newest_us: int | None = None
    volumes: Mapping[int, int] = field(default_factory=dict)


def judge(check: Check, seen: Measured, epoch: int, now_us: int) -> Result:
    """How a check stands."""
    if seen.error:
        return Result(check, "unknown", message=seen.error, epoch=epoch, at_us=now_us)
    if check.kind == "row_count":
        return _row_count(check, seen, epoch, now_us)
    if check.kind == "freshness":
        return _freshness(check, seen, epoch, now_us)
    if check.kind == "volume":
        return _volume(check, seen, epoch, now_us)
    if not seen.failing:
        return Result(check, "ok", 0, message=check.says, epoch=epoch, at_us=now_us)
    noun = "key" if check.kind == "unique" else "row"
    count = f"{seen.failing} {noun}{'s' if seen.failing != 1 else ''}"
    verb = "is" if seen.failing == 1 else "are"
    message = f"{count} of {check.node} {verb} otherwise than stated ({check.says})"
    return Result(check, failed(check), seen.failing, None, None, message, seen.example, epoch, now_us)


def _row_count(check: Check, seen: Measured, epoch: int, now_us: int) -> Result:
    few, many = check.least is not None and seen.rows < check.least, check.most is not None and seen.rows > check.most
    message = f"{check.node} has {seen.rows} rows" + (f"; stated: {check.says}" if few or many else "")
    return Result(
        check,
        failed(check) if few or many else "ok",
        value=float(seen.rows),
        message=message,
        epoch=epoch,
        at_us=now_us,
    )


def _freshness(check: Check, seen: Measured, epoch: int, now_us: int) -> Result:
    if seen.newest_us is None:
        return Result(check, "unknown", message=f"{check.node} has no row with a time", epoch=epoch, at_us=now_us)
    age_us = now_us - seen.newest_us
    message = f"the newest {check.columns[0]} of {check.node} is {age_us / 1e6:.1f} s old"
    late = age_us > check.within_us
    if late:
        message += f"; stated: {check.says}"
    return Result(
        check, failed(check) if late else "ok", value=round(age_us / 1e6, 3), message=message, epoch=epoch, at_us=now_us
    )


def _volume(check: Check, seen: Measured, epoch: int, now_us: int) -> Result:
    """The last whole period beside those before it, and the one under way if it has too many already. The first period
    of all began in the middle and does not count."""
    now = now_us // check.every_us
    began = min(seen.volumes, default=now)
    past = [seen.volumes.get(period, 0) for period in range(max(began + 1, now - 1 - check.history), now)]
    so_far = seen.volumes.get(now, 0) + seen.appeared
    last, before = (past[-1], past[:-1]) if past else (None, [])
    score = robust_z(last, before) if last is not None else None
    rising = robust_z(so_far, past)
    value: float | None = None if last is None else float(last)
    if rising is not None and rising > check.z:
        score, value = rising, float(so_far)
    if score is None or value is None:
        message = f"too few periods so far to say what is usual: {len(past)}"
        return Result(check, "unknown", value=value, message=message, epoch=epoch, at_us=now_us)
    wild = abs(score) > check.z
    message = f"{value:.0f} rows of {check.node} appeared in a period of {check.every_us / 1e6:g} s, z = {score:.1f}"
    if wild:
        message += f"; usual is |z| <= {check.z:g}"
    return Result(check, failed(check) if wild else "ok", None, value, round(score, 3), message, "", epoch, now_us)
