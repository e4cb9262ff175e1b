"""What a look at a source, a destination, the lake or this machine found: `headwater doctor`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from headwater.clock import Clock
from headwater.errors import HeadwaterError

Level = Literal["ok", "warn", "fail"]
"""ok: as it should be; warn: works, and may not for ever or not safely; fail: does not work."""

FAR_MS, SKEW_S, ASKS = 50.0, 1.0, 5
"""Round trip and difference of clocks from which on they are worth a warning; how often a server is asked."""

_LOOPBACK = ("localhost", "127.", "::1", "[::1]")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what, in a word or two.
        level: see `Level`.
        message: how it is.
        mend: the statement, setting or command that mends it; empty if nothing is to be mended.
    """

    check: str
    level: Level
    message: str
    mend: str = ""


def judged(check: str, attempt: Callable[[], str]) -> Finding:
    """The finding of something that either is told in a sentence or raises why it is not so."""
    try:
        return Finding(check, "ok", attempt())
    except HeadwaterError as error:
        return failing(check, error)


def failing(check: str, error: HeadwaterError) -> Finding:
    """The finding of something that failed."""
    return Finding(check, "fail", error.message, error.hint or f"docs/runbook.md says more: {error.code}")


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in an address, is this machine; a path of a socket is."""
    return not host or host.startswith((*_LOOPBACK, "/"))


def way(host: str, *, encrypted: bool, mend: str) -> Finding:
    """Whether others can read what goes to a host.

    Args:
        mend: what encrypts it.
    """
    if encrypted:
        return Finding("tls", "ok", "TLS")
    if is_loopback(host):
        return Finding("tls", "ok", "no TLS, on this machine")
    return Finding("tls", "warn", f"no TLS: data and password cross the network to {host} readable", mend)


def distance(theirs_us: Callable[[], int], clock: Clock) -> Iterator[Finding]:
    """How far a server is, and its clock's difference to ours, each the median of a few tries.

    Args:
        theirs_us: asks the server for its clock: microseconds since 1970 UTC.
        clock: ours.
    """
    trips, skews = [], []
    for _ in range(ASKS):
        began, now_us = clock.monotonic_s(), clock.now_us()
        told_us = theirs_us()
        trips.append(clock.monotonic_s() - began)
        skews.append((told_us - now_us) / 1e6 - trips[-1] / 2)
    trip_ms = statistics.median(trips) * 1e3
    far = trip_ms > FAR_MS
    mend = "run Headwater nearer to the server, in the same region if you can" if far else ""
    yield Finding("round trip", "warn" if far else "ok", f"{trip_ms:.1f} ms", mend)
    yield skewed(statistics.median(skews))


def skewed(skew_s: float, known_to_s: float = 0.0) -> Finding:
    """The finding of a difference of clocks.

    Args:
        skew_s: how far the server's is ahead.
        known_to_s: how exactly it is known: an HTTP server tells whole seconds.
    """
    off = abs(skew_s) > SKEW_S + known_to_s
    told = f"the server's clock is {abs(skew_s):.2f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's"
    if known_to_s and not off:
        told = "the server's clock and this machine's are the same, as far as whole seconds tell"
    mend = "keep both with NTP (`timedatectl set-ntp true`): freshness and windows compare the two" if off else ""
    return Finding("clock", "warn" if off else "ok", told, mend)


def sentences(check: str, tell: Callable[[], Sequence[str]]) -> list[Finding]:
    """What `Source.check` or `Destination.check` tell; something of which not everything can be had is a warning, with
    the statement that mends it ("..., until: STATEMENT")."""
    try:
        told = tell()
    except HeadwaterError as error:
        return [failing(check, error)]
    found = []
    for sentence in told:
        message, until, mend = sentence.partition(", until: ")
        found.append(Finding("tables", "warn", message, mend) if until else Finding(check, "ok", sentence))
    return found
