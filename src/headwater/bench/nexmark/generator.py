"""Nexmark's events as Arrow tables, the same for the same seed whatever the batches: `Generator(seed).batches(...)`.

Parameters are upstream's defaults: one generator, hot ratios 2/4/4, average sizes 200/500/100 bytes. As upstream,
`bid.bidder` is 1,000 higher than the person's id that it was drawn from; only q23 notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.bench.nexmark import timeline
from headwater.bench.nexmark.text import Longs, digits, extra_text, extras, text_lengths, words

_TIME = pa.timestamp("us")
SCHEMAS: dict[str, pa.Schema] = {
    "person": pa.schema(
        [("id", pa.int64()), *((name, pa.string()) for name in ("name", "emailAddress", "creditCard", "city", "state")),
         ("dateTime", _TIME), ("extra", pa.string())]
    ),
    "auction": pa.schema(
        [("id", pa.int64()), ("itemName", pa.string()), ("description", pa.string()), ("initialBid", pa.int64()),
         ("reserve", pa.int64()), ("dateTime", _TIME), ("expires", _TIME), ("seller", pa.int64()),
         ("category", pa.int64()), ("extra", pa.string())]
    ),
    "bid": pa.schema(
        [("auction", pa.int64()), ("bidder", pa.int64()), ("price", pa.int64()), ("channel", pa.string()),
         ("url", pa.string()), ("dateTime", _TIME), ("extra", pa.string())]
    ),
}  # fmt: skip
"""The streams' columns. Times are whole milliseconds."""

BLOCK_EVENTS = 100_000
"""Events made at a time, each block from random numbers of its own."""

_FIRST_ID = 1000
_FIRST_CATEGORY, _CATEGORIES = 10, 5
_FIRST_NAMES = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
_LAST_NAMES = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")
_CITIES = ("Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent",
           "Cheyenne")  # fmt: skip
_STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
_HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
_COLD_CHANNELS = 10_000

Batch = dict[str, pa.Table]


class Generator:
    """Makes events.

    Args:
        seed: the same gives the same rows, of which a shorter run gives the first.
        rate: events to a second of event time (upstream's TPS).
    """

    def __init__(self, seed: int = 1, rate: float = 10_000) -> None:
        self._seed, self._rate = seed, rate

    def batches(self, events: int, batch_events: int) -> Iterator[Batch]:
        """The first `events` events in order, cut into batches of `batch_events` (the last may be shorter).

        Yields:
            The batch's rows of each stream, in one piece.
        """
        block, number = self.block(0), 0
        for start in range(0, events, batch_events):
            end, pieces = min(start + batch_events, events), []
            while start < end:
                if start // BLOCK_EVENTS != number:
                    number = start // BLOCK_EVENTS
                    block = self.block(number)
                stop = min(end, (number + 1) * BLOCK_EVENTS)
                pieces.append(_cut(block, number * BLOCK_EVENTS, start, stop))
                start = stop
            yield {name: pa.concat_tables(piece[name] for piece in pieces).combine_chunks() for name in SCHEMAS}

    def block(self, number: int) -> Batch:
        """The events of one block, counted from 0."""
        rng = np.random.Generator(np.random.SFC64([self._seed, 1 + number]))
        events = np.arange(BLOCK_EVENTS, dtype=np.int64) + number * BLOCK_EVENTS + 2
        rests = timeline.rests(events)
        people, bids = rests < timeline.PERSONS, rests >= timeline.PERSONS + timeline.AUCTIONS
        return {
            "person": self._people(rng, events[people]),
            "auction": self._auctions(rng, events[~people & ~bids]),
            "bid": self._bids(rng, events[bids]),
        }

    def _people(self, rng: np.random.Generator, events: Longs) -> pa.Table:
        count = len(events)
        name = pc.binary_join_element_wise(_one_of(rng, _FIRST_NAMES, count), _one_of(rng, _LAST_NAMES, count), " ")
        local, domain = words(rng, count, 7), words(rng, count, 5)
        email = pc.binary_join_element_wise(pc.binary_join_element_wise(local, domain, "@"), "com", ".")
        card, city, state = digits(rng, count), _one_of(rng, _CITIES, count), _one_of(rng, _STATES, count)
        used = 8 + sum(text_lengths(column) for column in (name, email, card, city, state))
        extra = extras(rng, self._extra_text, used, 200, count)
        ids = timeline.newest_person(events) + _FIRST_ID
        return _table("person", [ids, name, email, card, city, state, self._times(events), extra])

    def _auctions(self, rng: np.random.Generator, events: Longs) -> pa.Table:
        count = len(events)
        item, description = words(rng, count, 20), words(rng, count, 100)
        initial = timeline.prices(rng, count)
        reserve = initial + timeline.prices(rng, count)
        newest = timeline.hot(timeline.newest_person(events))
        seller = np.where(rng.integers(0, 4, count) > 0, newest, timeline.any_person(rng, events)) + _FIRST_ID
        category = rng.integers(_FIRST_CATEGORY, _FIRST_CATEGORY + _CATEGORIES, count)
        extra = extras(rng, self._extra_text, 48 + text_lengths(item) + text_lengths(description), 500, count)
        expires = _timestamps(timeline.expiry_ms(rng, events, self._rate))
        ids = timeline.newest_auction(events) + _FIRST_ID
        columns = [ids, item, description, initial, reserve, self._times(events), expires, seller, category, extra]
        return _table("auction", columns)

    def _bids(self, rng: np.random.Generator, events: Longs) -> pa.Table:
        count = len(events)
        newest = timeline.hot(timeline.newest_auction(events))
        auction = np.where(rng.integers(0, 2, count) > 0, newest, timeline.any_auction(rng, events)) + _FIRST_ID
        newest = timeline.hot(timeline.newest_person(events)) + 1
        person = np.where(rng.integers(0, 4, count) > 0, newest, timeline.any_person(rng, events))
        channels, urls = self._channels
        hot, cold = rng.integers(0, len(_HOT_CHANNELS), count), rng.integers(len(_HOT_CHANNELS), len(channels), count)
        channel = pa.array(np.where(rng.integers(0, 2, count) > 0, hot, cold))
        extra = extras(rng, self._extra_text, 32, 100, count)
        bidder, price = person + 2 * _FIRST_ID, timeline.prices(rng, count)
        named = [channels.take(channel), urls.take(channel)]
        return _table("bid", [auction, bidder, price, *named, self._times(events), extra])

    def _times(self, events: Longs) -> pa.Array:
        return _timestamps(timeline.times_ms(events, self._rate))

    @cached_property
    def _extra_text(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        return extra_text(np.random.Generator(np.random.SFC64([self._seed, 0, 0])))

    @cached_property
    def _channels(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Names and urls of the channels, the hot ones first; nine cold urls in ten have the channel's id."""
        rng = np.random.Generator(np.random.SFC64([self._seed, 0, 1]))
        cold = pa.array(np.arange(_COLD_CHANNELS)).cast(pa.string())
        names = [*_HOT_CHANNELS, *pc.binary_join_element_wise("channel", cold, "-").to_pylist()]
        count = len(names)
        parts = [words(rng, count, 5, "_") for _ in range(3)]
        urls = pc.binary_join_element_wise("https://www.nexmark.com", *parts, "item.htm?query=1", "/")
        ids = pa.array(np.abs(_bits_reversed(np.arange(-len(_HOT_CHANNELS), _COLD_CHANNELS)))).cast(pa.string())
        with_id = (rng.integers(0, 10, count) > 0) & (np.arange(count) >= len(_HOT_CHANNELS))
        suffixed = pc.binary_join_element_wise(urls, ids, "&channel_id=")
        return pa.array(names, pa.string()), pc.if_else(pa.array(with_id), suffixed, urls)


def _cut(block: Batch, first: int, start: int, stop: int) -> Batch:
    """The rows of events `start` to `stop` (exclusive, counted from 0) of a block that begins with event `first`."""
    if stop - start == BLOCK_EVENTS:
        return block
    rests = timeline.rests(np.arange(first, stop) + 2)
    people, bids = rests < timeline.PERSONS, rests >= timeline.PERSONS + timeline.AUCTIONS
    cut: Batch = {}
    for name, mine in (("person", people), ("auction", ~people & ~bids), ("bid", bids)):
        before = int(mine[: start - first].sum())
        cut[name] = block[name].slice(before, int(mine.sum()) - before)
    return cut


def _one_of(rng: np.random.Generator, values: tuple[str, ...], count: int) -> pa.StringArray:
    return pa.array(values, pa.string()).take(pa.array(rng.integers(0, len(values), count)))


def _bits_reversed(numbers: Longs) -> Longs:
    """The 32 bits of each number in opposite order, as a signed 32-bit number."""
    bits = np.unpackbits(numbers.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    reversed_ = np.packbits(bits, axis=1, bitorder="big").view(">i4").reshape(-1)
    return reversed_.astype(np.int64)


def _timestamps(times_ms: Longs) -> pa.Array:
    return pa.array(times_ms * 1000).view(_TIME)


def _table(stream: str, columns: list[object]) -> pa.Table:
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=SCHEMAS[stream])
