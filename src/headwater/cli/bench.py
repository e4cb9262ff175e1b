"""`headwater bench`: figures of this machine, measured side by side."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Any

from cyclopts import App

from headwater.cli import output

app = App(name="bench", help="Measure parts of Headwater on this machine.")


@app.command
def log(*, json: bool = False) -> int:
    """Append to and read from a log in a temporary folder.

    Args:
        json: Print one JSON object.
    """
    import tempfile

    from headwater.bench.log import benchmark

    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        figures = benchmark(Path(folder))
    return _print(figures, json)


@app.command
def spine(*, rows: int = 500_000, updates: int = 200_000, json: bool = False) -> int:
    """Mirror a table from a PostgreSQL of its own, with a model over it: first its rows, then updates of them.

    Args:
        rows: How many rows the table has.
        updates: How many updates follow.
        json: Print one JSON object.
    """
    from headwater.bench.spine import spine as measure

    return _print(measure(rows=rows, updates=updates), json)


@app.command
def checks(*, rows: int = 100_000, batches: int = 10, json: bool = False) -> int:
    """Time the kinds of quality checks over batches of changes.

    Args:
        rows: How many rows a batch has.
        batches: How many batches there are.
        json: Print one JSON object.
    """
    from headwater.bench.checks import checks as measure

    return _print(measure(rows=rows, batches=batches), json)


@app.command
def capture_latency(*, seconds: float = 60.0, rate: int = 10_000, json: bool = False) -> int:
    """Write to a PostgreSQL of its own at a steady rate, and measure how long changes take from their commit until they
    are durable in the log.

    Args:
        seconds: For how long.
        rate: Changes per second, in transactions of 10.
        json: Print one JSON object.
    """
    from headwater.bench.capture_latency import capture_latency as measure

    return _print(measure(seconds=seconds, rate=rate), json)


@app.command
def freshness(*, seconds: float = 60.0, rate: int = 10_000, json: bool = False) -> int:
    """Write to a PostgreSQL of its own at a steady rate while a project runs, and measure how long changes take from
    their commit until a query sees them, and until a table snapshot holds them.

    Args:
        seconds: For how long.
        rate: Changes per second, in transactions of 10.
        json: Print one JSON object.
    """
    from headwater.bench.freshness import freshness as measure

    return _print(measure(seconds=seconds, rate=rate), json)


@app.command
def nexmark(
    *,
    queries: str = "all",
    events: int = 1_000_000,
    threads: int = 1,
    batch: int = 100_000,
    seed: int = 1,
    tps: float = 10_000,
    verify: bool = False,
    without: str = "",
    profile: bool = False,
    runs: int = 1,
    limit: float = 600,
    json: bool = False,
) -> int:
    """Run the Nexmark queries on the engine, and on DuckDB over the same rows at once.

    Rows are generated, and results counted, with the clock stopped. Each query runs in a process of its own.

    Args:
        queries: Which, such as q0,q5; or all.
        events: How many people, auctions and bids, together.
        threads: Worker threads of the engine, and threads of DuckDB.
        batch: How many events are applied at once.
        seed: Of the generator; the same gives the same rows.
        tps: Events to a second of event time.
        verify: Add up all changes and compare them with DuckDB's answer.
        without: Fast paths to switch off, such as accumulators,join_pairs.
        profile: Tell where the engine's time goes, which makes it slower.
        runs: How often all events go through a query, each time in a new view; the quickest counts.
        limit: Seconds that one query may take.
        json: Print one JSON object.
    """
    from headwater.bench.nexmark import queries as texts
    from headwater.bench.nexmark import suite
    from headwater.bench.nexmark.run import Settings

    switched_off = tuple(name for name in without.split(",") if name)
    settings = Settings(events, batch, threads, seed, tps, verify, switched_off, profile, runs=runs)
    result = suite.suite(
        texts.chosen(queries), settings, limit, lambda one: output.note("  ".join(suite.lines([one])[0]))
    )
    if json:
        output.print_json(result)
    else:
        _print_nexmark(result)
    return output.WRONG_DATA if suite.failed(result["queries"]) else output.OK


def _print_nexmark(result: dict[str, Any]) -> None:
    from headwater.bench.nexmark import suite

    output.print_table(suite.HEADER, suite.lines(result["queries"]))
    for query, rows in suite.profiles(result["queries"]):
        output.print_data(f"\n{query}: where the time goes")
        output.print_table(suite.PROFILE_HEADER, rows)
    output.note(suite.summary(result))


@app.command
def incremental(
    *,
    rows: str = "50000,5000000",
    only: str = "all",
    limit: float = 600,
    memory: float = 6,
    verify: bool = False,
    json: bool = False,
) -> int:
    """Apply 1,000 changes to each construct of SQL with few rows behind it and with many.

    A third of the changes are retractions. Each construct runs at each size in a process of its own. It fails if one
    that is no last resort takes more than three times as long with many rows as with few.

    Args:
        rows: How many rows, few and many.
        only: Which constructs, such as left_join,median_by_key; or all.
        limit: Seconds that one may take at one size, loading included.
        memory: GB that one may take.
        verify: Add up all changes and compare them with DuckDB's answer.
        json: Print one JSON object.
    """
    from headwater.bench.incremental import constructs, suite

    few, _, many = rows.partition(",")
    sizes = (int(few), int(many or few))
    result = suite.suite(
        constructs.chosen(only), sizes, (limit, int(memory * 1e9)), verify,
        lambda one: output.note("  ".join(suite.lines([one], sizes)[0])),
    )  # fmt: skip
    if json:
        output.print_json(result)
    else:
        output.print_table(suite.HEADER, suite.lines(result["constructs"], sizes))
    slow = suite.slow(result["constructs"])
    if slow:
        output.note(f"follow the history, or did not run: {', '.join(slow)}")
    wrong = suite.wrong(result["constructs"])
    if wrong:
        output.note(f"not what DuckDB says: {', '.join(wrong)}")
    return output.WRONG_DATA if slow or wrong else output.OK


@app.command
def latency(*, rows: int = 200_000, threads: int = 1, json: bool = False) -> int:
    """Apply 1,000 changes 50 times a second to a filter, a join and an aggregate, and 100 changes to single operators.

    Args:
        rows: How many rows are there before.
        threads: Worker threads of the engine.
        json: Print one JSON object.
    """
    from headwater.bench import latency as bench

    result = bench.suite(rows, threads)
    if json:
        output.print_json(result)
        return output.OK
    output.print_table(["figure", "value"], [[name, _shown(value)] for name, value in result["model"].items()])
    output.print_data("")
    header = ["operator", "ms", "operators", "ms_per_operator"]
    output.print_table(header, [[_shown(one.get(name, "-")) for name in header] for one in result["operators"]])
    return output.OK


@app.command
def capture(
    *, source: str = "postgres", rows: int = 2_000_000, shape: str = "all", limit: float = 600, json: bool = False
) -> int:
    """Drain a prepared backlog of a server of its own into a log, beside the server's own reader writing it to a file.

    Args:
        source: Which: postgres, or mysql (a MariaDB).
        rows: How many row changes wait.
        shape: Which: insert, update, mixed, wide, tiny-tx, separated by commas; or all.
        limit: Seconds that one reader may take.
        json: Print one JSON object.
    """
    from headwater.bench.capture import backlog, suite

    def tell(found: dict[str, Any]) -> None:
        for line in suite.lines([found]):
            output.note("  ".join(line))

    result = suite.suite(source, backlog.chosen(shape), rows, limit, tell)
    if json:
        output.print_json(result)
    else:
        output.print_table(suite.HEADER, suite.lines(result["shapes"]))
    return output.OK


@app.command
def ingest(*, source: str = "kafka", records: int = 1_000_000, json: bool = False) -> int:
    """Take in messages, requests or lines from a server of its own and decode them to Arrow, beside others.

    Args:
        source: Which.
        records: How many.
        json: Print one JSON object.
    """
    from headwater.bench.ingest import sources

    result = sources.ingest(source, records, lambda found: output.note("  ".join(sources.line(found))))
    if json:
        output.print_json(result)
    else:
        output.print_table(sources.HEADER, [sources.line(found) for found in result["readers"]])
    return output.OK


@app.command
def console(*, records: int = 1_000_000, clients: int = 8, rounds: int = 3, json: bool = False) -> int:
    """Take in a file at full rate while clients query the console's API without a pause, beside the same without them.

    Args:
        records: How many records the file has.
        clients: How many ask, each one query after the other.
        rounds: How often each is measured; the medians count.
        json: Print one JSON object.
    """
    from headwater.bench.console import console as measure

    figures = measure(records, clients, rounds, output.note)
    if json:
        return _print(figures, json)
    output.note(f"ingestion is {figures['slower']:.1%} slower with clients")
    return _print({name: value for name, value in figures.items() if not isinstance(value, list)}, json)


@app.command
def swap(*, rows: str = "100000,2000000", rounds: int = 3, json: bool = False) -> int:
    """Swap a changed model in while its input grows, and measure how long epochs wait for that, by the size of its
    table.

    Args:
        rows: Sizes of the table, with commas between them.
        rounds: How often each is swapped; the medians count.
        json: Print one JSON object.
    """
    from headwater.bench.swap import swap as measure

    return _print(measure([int(size) for size in rows.split(",")], rounds, output.note), json)


@app.command
def lake(
    *,
    rows: int = 1_000_000,
    changes: int = 100_000,
    upsert: str = "100000,10000",
    merge: str = "",
    memory: float = 4,
    folder: str = "",
    commits: int = 0,
    changes_per_commit: int = 2_000,
    json: bool = False,
) -> int:
    """Load an Iceberg table of five columns, update random keys in one commit, delete a tenth of its rows, and read it;
    beside PyIceberg's upsert and delta-rs' merge.

    With `--commits`, many small commits instead: one a second of logical time, with maintenance going on.

    Args:
        rows: Rows of the table.
        changes: Keys updated.
        upsert: Rows and changes for PyIceberg's upsert, which takes long; 0 leaves it out.
        merge: Rows and changes for delta-rs' merge, such as 1000000,100000; as many as Headwater's if empty, 0 leaves
            it out.
        memory: GB of RAM for the key index; what more it needs is mapped from files.
        folder: Where tables are put; the system's folder for temporary files if empty.
        commits: How many small commits.
        changes_per_commit: Changes in each of them, nine updates to one insert.
        json: Print one JSON object.
    """
    from headwater.bench.lake import suite
    from headwater.bench.lake.commits import campaign

    if commits:
        found = {"commits": campaign(commits, changes_per_commit, folder)}
    else:
        theirs = [_pair(upsert, rows, changes), _pair(merge, rows, changes)]
        found = suite.suite(rows, changes, theirs[0], theirs[1], folder, int(memory * 1e9), output.note)
    if json:
        output.print_json(found)
    else:
        output.print_table(suite.HEADER, suite.lines(found))
    return output.WRONG_DATA if any("error" in figures for figures in found.values()) else output.OK


def _pair(text: str, rows: int, changes: int) -> tuple[int, int]:
    if not text:
        return rows, changes
    first, _, second = text.partition(",")
    return int(first), int(second or 0)


def _shown(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _print(figures: dict[str, float], json: bool) -> int:
    if json:
        output.print_data(dumps({"v": 1, **figures}))
    else:
        output.print_table(["figure", "value"], [[name, f"{value:,.1f}"] for name, value in figures.items()])
    return output.OK
