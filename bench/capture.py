"""Drains the same backlog of changes with Headwater, pg_recvlogical and Debezium's embedded engine, one after the other.

    .venv/bin/python bench/capture.py --rows 2000000 --shape all

Needs a JDK and Maven; copies jars under .bench/. Prints a table and writes it with the machine's facts to
bench/results/capture.json and capture.md (with --keep, or when every shape is measured).
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from debezium.engine import Debezium
from side_by_side import machine
from side_by_side.engine import NotMeasured

from headwater.bench.capture import backlog, suite

_ROOT = Path(__file__).parents[1]


def main() -> int:
    """The command. Returns 1 if an engine cannot run here."""
    asked = _arguments()
    debezium = Debezium(_ROOT / ".bench", asked.limit)
    try:
        about = debezium.prepare()
    except NotMeasured as error:
        sys.stderr.write(f"{error}\n")
        return 1
    shapes = backlog.chosen(asked.shape)
    found = suite.suite("postgres", shapes, asked.rows, asked.limit, _tell, {debezium.name: debezium.read})
    result = {"v": 1, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts(), "engines": about, **found}
    text = _table(result)
    sys.stdout.write(text)
    if asked.keep or asked.shape == "all":
        results = _ROOT / "bench" / "results"
        (results / "capture.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
        (results / "capture.md").write_text(text, encoding="utf-8")
    return 0


def _tell(found: dict[str, Any]) -> None:
    for line in suite.lines([found]):
        sys.stderr.write("  ".join(line) + "\n")


def _table(result: dict[str, Any]) -> str:
    lines = [list(suite.HEADER), ["---"] * len(suite.HEADER), *suite.lines(result["shapes"])]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    versions = ", ".join(f"{name} {result['engines'][name]}" for name in ("debezium", "java"))
    return (
        f"# A backlog of {result['rows']:,} row changes, drained ({result['date']})\n\n{rows}\n"
        f"{versions}. Headwater and pg_recvlogical write and fsync what they read; Debezium counts it and lets it go, "
        "and its clock starts with its first batch. `of floor`: the rate as a part of pg_recvlogical's.\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--shape", default="all", help=f"all, or of {', '.join(backlog.SHAPES)}")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one reader may take")
    parser.add_argument("--keep", action="store_true", help="write bench/results also when not all shapes are measured")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
