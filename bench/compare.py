"""Runs the Nexmark queries on Headwater and on other engines, over the same rows and on the same cores.

    .venv/bin/python bench/compare.py --engines flink,spark --events 2000000 --cores 2 --queries all

Installs what is missing under .bench/, prints a table per engine, and writes it with the machine's facts to
bench/results/ENGINE.json and ENGINE.md (not where only some queries are run, unless --keep says so).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flink.engine import Flink
from side_by_side import machine, report
from side_by_side.engine import Engine, NotMeasured
from side_by_side.events import Events
from side_by_side.headwater import Headwater
from spark.engine import Spark

from headwater.bench.nexmark import queries as texts

_ROOT = Path(__file__).parents[1]
_ENGINES: dict[str, type[Flink] | type[Spark]] = {"flink": Flink, "spark": Spark}


def main() -> int:
    """The command. Returns 1 if an engine cannot run here."""
    asked = _arguments()
    if unknown := set(asked.engines.split(",")) - set(_ENGINES):
        sys.stderr.write(f"no engine is called {', '.join(sorted(unknown))}: they are {', '.join(_ENGINES)}\n")
        return 1
    builds = _ROOT / ".bench"
    events = Events(builds / "events", asked.events, asked.seed, asked.tps)
    try:
        engines: list[Engine] = [_ENGINES[name](builds, asked.runs, asked.heap) for name in asked.engines.split(",")]
        pinned = machine.pin(asked.cores)
        ours: Sequence[Engine] = [Headwater(asked.batch), Headwater(asked.batch, workers=1)]
        about = {engine.name: engine.prepare() for engine in (ours[0], *engines)}
    except NotMeasured as error:
        sys.stderr.write(f"{error}\n")
        return 1
    result: dict[str, Any] = {
        "v": 1, "date": f"{datetime.now(UTC):%Y-%m-%d}", "events": asked.events, "seed": asked.seed, "rate": asked.tps,
        "pinned": pinned, "machine": machine.facts(), "engines": about, "queries": [],
    }  # fmt: skip
    for query in texts.chosen(asked.queries):
        figures = {"query": query, **_measured(query, ours, engines, events, len(pinned), asked.limit)}
        result["queries"].append(figures)
        for engine in engines:
            sys.stderr.write("  ".join(report.line(figures, engine.name, asked.events)) + "\n")
    for engine in engines:
        _tell(result, engine.name, asked)
    return 0


def _measured(
    query: str, ours: Sequence[Engine], others: Sequence[Engine], events: Events, cores: int, limit_s: float
) -> dict[str, Any]:
    """Each engine's figures of one query, or `why_not`; Headwater runs before the others, with a worker on each core,
    and after them, with one, and the better run counts."""
    found = [(engine.name, _figures(engine, query, events, cores, limit_s)) for engine in (ours[0], *others, ours[1])]
    (name, first), (_, last) = found[0], found[-1]
    best = min(first, last, key=lambda figures: figures.get("seconds", math.inf))
    return {**dict(found), name: best}


def _figures(engine: Engine, query: str, events: Events, cores: int, limit_s: float) -> dict[str, Any]:
    try:
        return engine.measure(query, events, cores, limit_s).json()
    except NotMeasured as why:
        return {"why_not": str(why)}


def _tell(result: dict[str, Any], engine: str, asked: argparse.Namespace) -> None:
    """Prints one engine's table or JSON, and keeps both."""
    mine = {**result, "summary": report.summary(result["queries"], engine)}
    mine["queries"] = [{name: f[name] for name in ("query", "headwater", engine)} for f in result["queries"]]
    mine["engines"] = {name: result["engines"][name] for name in ("headwater", engine)}
    page = report.markdown(mine, engine)
    sys.stdout.write(f"{json.dumps(mine)}\n" if asked.json else page)
    if asked.keep or asked.queries == "all":
        kept = _ROOT / "bench" / "results"
        (kept / f"{engine}.json").write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
        (kept / f"{engine}.md").write_text(page, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="flink", help="flink, spark or flink,spark")
    parser.add_argument("--queries", default="all", help="such as q0,q5; or all")
    parser.add_argument("--events", type=int, default=2_000_000, help="people, auctions and bids, together")
    parser.add_argument("--cores", type=int, default=2, help="of this machine, for every engine")
    parser.add_argument(
        "--runs", type=int, default=2, help="timed runs of the other engines after one that warms up; the best counts"
    )
    parser.add_argument("--batch", type=int, default=500_000, help="events that Headwater applies at once")
    parser.add_argument("--heap", default="6g", help="memory of the other engines' JVM")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    parser.add_argument("--tps", type=float, default=10_000, help="events to a second of event time")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one engine's runs of one query")
    parser.add_argument("--keep", action="store_true", help="write to bench/results even where not all queries are run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
