"""`python -m tests.fuzz --queries N --seed S --jobs J`: random SELECTs against DuckDB; failures are shrunk."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.fuzz.campaign import run
from tests.fuzz.case import case_of, mistake
from tests.fuzz.shrink import shrunk


def tell(line: str) -> None:
    """Prints at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Runs the campaign; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--keep", type=int, default=10, help="how many failures to shrink and show")
    given = parser.parse_args()
    failures: list[int] = []
    started = time.monotonic()
    seeds = range(given.seed, given.seed + given.queries)
    for number, (seed, wrong) in enumerate(run(seeds, given.jobs), 1):
        if wrong:
            failures.append(seed)
            tell(f"seed {seed}: {wrong.splitlines()[0][:300]}")
        if number % 1000 == 0:
            pace = number / (time.monotonic() - started)
            tell(f"{number} queries, {len(failures)} mismatches, {pace:.1f} a second")
    for seed in sorted(failures)[: given.keep]:
        small = shrunk(case_of(seed))
        tell(f"\n{small.describe()}\n  {mistake(small)}")
    tell(f"{given.queries} queries from seed {given.seed}: {len(failures)} mismatches {sorted(failures)[:50]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
