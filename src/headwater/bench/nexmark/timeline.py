"""Which event is what, when it happened, and which ids are in use then.

Events are numbered from 2: upstream adds one to the number of the first, so that person 1000 and auction 1000 never
appear as rows. Ids in here start at 0; columns add 1000.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

Longs = npt.NDArray[np.int64]

PERSONS, AUCTIONS, TOTAL = 1, 3, 50
"""In each 50 events: 1 person, 3 auctions, 46 bids."""

HOT_BLOCK = 100
ACTIVE_PEOPLE, ACTIVE_AUCTIONS, LEAD = 1000, 100, 10
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Event time of the first event; upstream takes the wall clock."""
START_MS = int(START.timestamp() * 1000)
AUCTION_LIFE_EVENTS = ACTIVE_AUCTIONS * TOTAL // AUCTIONS


def times_ms(events: Longs, rate: float) -> Longs:
    """Event times, milliseconds since 1970-01-01 UTC, with `rate` events to a second of event time."""
    microseconds = np.floor((events - 1) * (1e6 / rate))
    found: Longs = START_MS + np.floor_divide(microseconds, 1000).astype(np.int64)
    return found


def span(events: int, rate: float) -> timedelta:
    """How much event time the first `events` events cover."""
    return timedelta(seconds=events / rate)


def rests(events: Longs) -> Longs:
    """Place of each event in its 50: 0 is a person, 1 to 3 are auctions, the rest are bids."""
    return events % TOTAL


def newest_person(events: Longs) -> Longs:
    """Id of the newest person at each event."""
    return events // TOTAL * PERSONS


def newest_auction(events: Longs) -> Longs:
    """Id of the newest auction at each event."""
    blocks, rest = events // TOTAL, events % TOTAL
    inside = np.minimum(rest - PERSONS, AUCTIONS - 1)
    return np.where(rest < PERSONS, (blocks - 1) * AUCTIONS + AUCTIONS - 1, blocks * AUCTIONS + inside)


def any_person(rng: np.random.Generator, events: Longs) -> Longs:
    """One of the people active at each event, or one of the next few."""
    known = newest_person(events) + 1
    active = np.minimum(known, ACTIVE_PEOPLE)
    return known - active + rng.integers(0, active + LEAD)


def any_auction(rng: np.random.Generator, events: Longs) -> Longs:
    """One of the auctions in flight at each event, or one of the next few."""
    newest = newest_auction(events)
    oldest = np.maximum(newest - ACTIVE_AUCTIONS, 0)
    return oldest + rng.integers(0, newest - oldest + 1 + LEAD)


def hot(newest: Longs) -> Longs:
    """The one id in a hundred that most refer to."""
    return newest // HOT_BLOCK * HOT_BLOCK


def expiry_ms(rng: np.random.Generator, events: Longs, rate: float) -> Longs:
    """When auctions end: within about twice the time in which 1,666 events happen."""
    now = times_ms(events, rate)
    horizon = times_ms(events + AUCTION_LIFE_EVENTS, rate) - now
    ends: Longs = now + 1 + rng.integers(0, np.maximum(2 * horizon, 1))
    return ends


def prices(rng: np.random.Generator, count: int) -> Longs:
    """Cents, log-uniform from 100 to 100,000,000."""
    found: Longs = np.floor(10.0 ** (6.0 * rng.random(count)) * 100.0 + 0.5).astype(np.int64)
    return found
