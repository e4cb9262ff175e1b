"""The generator's rows against statistics of nexmark/nexmark's own generator, and its promises."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from headwater.bench.nexmark import timeline
from headwater.bench.nexmark.generator import SCHEMAS, Batch, Generator
from headwater.bench.nexmark.text import text_lengths
from headwater.sql.prelude import connect

EVENTS = 1_000_000


@pytest.fixture(scope="module")
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """A million events at the default rate, as tables."""
    connection = connect(2)
    for stream, rows in whole(Generator(7).batches(EVENTS, 250_000)).items():
        connection.register(f"{stream}_rows", rows)
        connection.execute(f"CREATE TABLE {stream} AS FROM {stream}_rows")
    yield connection
    connection.close()


def whole(batches: Iterator[Batch]) -> Batch:
    given = list(batches)
    return {stream: pa.concat_tables([batch[stream] for batch in given]).combine_chunks() for stream in SCHEMAS}


LIVE = "FROM bid AS b JOIN auction AS a ON b.auction = a.id WHERE b.dateTime BETWEEN a.dateTime AND a.expires"
CHECKS = {
    "people": ("SELECT count(*) FROM person", 20_000, 0),
    "auctions": ("SELECT count(*) FROM auction", 60_000, 0),
    "bids": ("SELECT count(*) FROM bid", 920_000, 0),
    "span of event time in ms": ("SELECT (epoch_ms(max(dateTime)) - epoch_ms(min(dateTime))) FROM bid", 100_000, 2),
    "first person": ("SELECT min(id) FROM person", 1001, 0),
    "first auction": ("SELECT min(id) FROM auction", 1001, 2),
    "bids on hot auctions": ("SELECT avg((auction % 100 = 0)::INT) FROM bid", 0.505, 0.002),
    "bids by hot bidders": ("SELECT avg((bidder % 100 = 1)::INT) FROM bid", 0.7525, 0.002),
    "auctions of hot sellers": ("SELECT avg((seller % 100 = 0)::INT) FROM auction", 0.7525, 0.006),
    "auctions bid on": ("SELECT count(DISTINCT auction) FROM bid", 59_970, 60),
    "bidders": ("SELECT count(DISTINCT bidder) FROM bid", 19_919, 20),
    "bidder and auction pairs per bid": (
        "SELECT (SELECT count(*) FROM (SELECT DISTINCT bidder, auction FROM bid)) / count(*) FROM bid", 0.319, 0.002,
    ),
    "most bids on an auction": ("SELECT max(n) FROM (SELECT count(*) AS n FROM bid GROUP BY auction)", 850, 40),
    "q2 passes": ("SELECT avg((auction % 123 = 0)::INT) FROM bid", 0.0081, 0.0012),
    "q14 passes": ("SELECT avg((0.908 * price > 1e6 AND 0.908 * price < 5e7)::INT) FROM bid", 0.283, 0.002),
    "bids whose auction is there": ("SELECT avg((auction IN (SELECT id FROM auction))::INT) FROM bid", 0.9995, 0.0006),
    "bids inside the auction's life": (f"SELECT (SELECT count(*) {LIVE}) / count(*) FROM bid", 0.716, 0.004),
    "auctions with a winner": (f"SELECT (SELECT count(DISTINCT a.id) {LIVE}) / count(*) FROM auction", 0.933, 0.006),
    "q20 passes": (
        "SELECT (SELECT count(*) FROM bid JOIN auction ON auction = id WHERE category = 10) / count(*) FROM bid",
        0.2, 0.012,
    ),
    "q3 passes": (
        "SELECT (SELECT count(*) FROM auction AS a JOIN person AS p ON a.seller = p.id WHERE a.category = 10 AND "
        "p.state IN ('OR', 'ID', 'CA')) / count(*) FROM auction", 0.1, 0.02,
    ),
    "mean life of an auction in ms": ("SELECT avg(epoch_ms(expires) - epoch_ms(dateTime)) FROM auction", 166.5, 1.5),
    "longest life of an auction in ms": ("SELECT max(epoch_ms(expires) - epoch_ms(dateTime)) FROM auction", 333, 2),
    "bids on hot channels": ("SELECT avg((channel NOT LIKE 'channel-%')::INT) FROM bid", 0.5, 0.002),
    "urls with a channel id": ("SELECT avg((url LIKE '%&channel_id=%')::INT) FROM bid", 0.45, 0.006),
    "letters c": ("SELECT sum(length(extra) - length(replace(extra, 'c', ''))) / sum(length(extra)) FROM bid",
                  1 / 52, 0.001),
    "least price": ("SELECT min(price) FROM bid", 100, 1),
    "greatest price": ("SELECT max(price) FROM bid", 99_990_000, 10_000),
}  # fmt: skip
WIDTHS = {
    "bid.extra": 67.5, "bid.url": 63, "bid.channel": 8.9, "auction.extra": 390, "auction.description": 50.8,
    "auction.itemName": 10.8, "person.extra": 139, "person.name": 11.5, "person.emailAddress": 12.7, "person.city": 7.4,
    "person.creditCard": 19, "person.state": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_it_agrees_with_upstream(name: str, tables: duckdb.DuckDBPyConnection) -> None:
    sql, expected, tolerance = CHECKS[name]
    assert float(tables.sql(sql).fetchall()[0][0]) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("column", WIDTHS)
def test_strings_are_as_wide_as_upstream(column: str, tables: duckdb.DuckDBPyConnection) -> None:
    stream, _, name = column.partition(".")
    found = tables.sql(f"SELECT avg(length({name})) FROM {stream}").fetchall()[0][0]
    assert found == pytest.approx(WIDTHS[column], rel=0.02)


@pytest.mark.parametrize(
    ("column", "pattern"),
    [
        ("person.name", "[A-Z][a-z]+ [A-Z][a-z]+"),
        ("person.emailAddress", r"([a-z]([a-z ]{0,4}[a-z])?)?@([a-z]([a-z ]{0,2}[a-z])?)?\.com"),
        ("person.creditCard", r"\d{4} \d{4} \d{4} \d{4}"),
        ("auction.description", "([a-z]([a-z ]{0,97}[a-z])?)?"),
        ("bid.channel", r"Google|Facebook|Baidu|Apple|channel-\d{1,4}"),
        ("bid.url", r"https://www\.nexmark\.com(/[a-z_]{3,4}){3}/item\.htm\?query=1(&channel_id=\d+)?"),
        ("bid.extra", "[H-Z\\[\\\\\\]^_`a-z]{54,81}"),
    ],
)
def test_strings_look_like_upstream(column: str, pattern: str, tables: duckdb.DuckDBPyConnection) -> None:
    stream, _, name = column.partition(".")
    query = f"SELECT {name} FROM {stream} WHERE NOT regexp_full_match({name}, ?) LIMIT 3"
    assert tables.execute(query, [pattern]).fetchall() == []


def test_each_channel_has_one_url_and_its_bits_reversed(tables: duckdb.DuckDBPyConnection) -> None:
    found = tables.sql("SELECT DISTINCT channel, url FROM bid WHERE url LIKE '%channel_id=%'").fetchall()
    assert len(found) == pytest.approx(9_000, abs=150)
    for channel, url in found:
        reversed_ = int(f"{int(channel.removeprefix('channel-')):032b}"[::-1], 2)
        assert int(url.rpartition("=")[2]) == min(reversed_, (1 << 32) - reversed_)


def test_times_never_go_back(tables: duckdb.DuckDBPyConnection) -> None:
    for stream in SCHEMAS:
        back = (
            f"SELECT count(*) FROM (SELECT dateTime < lag(dateTime) OVER (ORDER BY rowid) AS b FROM {stream}) WHERE b"
        )
        assert tables.sql(back).fetchall() == [(0,)]


@pytest.mark.parametrize("batch", [7_777, 100_000, 250_001])
def test_batches_change_nothing(batch: int) -> None:
    whole_run = whole(Generator(3).batches(250_000, 250_000))
    assert whole(Generator(3).batches(250_000, batch)) == whole_run


def test_a_short_run_is_the_beginning_of_a_long_one() -> None:
    short, long = (whole(Generator(3).batches(events, 10_000)) for events in (120_010, 130_000))
    assert all(short[stream] == long[stream].slice(0, short[stream].num_rows) for stream in SCHEMAS)
    assert sum(rows.num_rows for rows in short.values()) == 120_010


def test_seeds_differ() -> None:
    first, second = (Generator(seed).block(0)["bid"] for seed in (1, 2))
    assert first.column("price") != second.column("price")
    assert first.column("extra") != second.column("extra")


def test_the_rate_spreads_events_over_time() -> None:
    assert timeline.span(100_000_000, 10_000_000).total_seconds() == 10
    times = Generator(1, rate=2.5).block(0)["bid"].column("dateTime").to_pylist()
    assert (times[-1] - times[0]).total_seconds() == pytest.approx(40_000, abs=5)


def test_lengths_are_of_the_slice() -> None:
    words = pa.array(["", "a", "bcd", "ef"])
    assert text_lengths(words.slice(1, 2)).tolist() == [1, 3]
