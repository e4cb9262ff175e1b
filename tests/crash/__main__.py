"""`python -m tests.crash --runs 100`, from the repository's root. Exit code 1 if anything was lost or doubled."""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import signal
import sys
from pathlib import Path

from tests.crash.bug_names import OF_DESTINATIONS, OF_SOURCES
from tests.crash.campaign import KEPT, REACHED, SENT, Campaign, Choice, save
from tests.crash.case import NO_BUG

RESULTS = Path("bench/results/crash.json")
SCENARIOS = {
    "all": ("",), "snapshot": ("capture.snapshot.", "capture.reread.", "capture.confirm."), "mysql": ("",),
    "lake": ("lake.", "epoch.sinks."),
    "http": ("log.", "capture.http.", "capture.confirm.", "epoch.", "checkpoint.", "lake.commit."),
    "deliver": ("outbox.", "deliver.", "epoch.", "checkpoint."),
    "rabbitmq": ("log.", "capture.confirm.", "epoch.", "checkpoint.", "lake.commit."),
    "kafka": ("log.", "capture.confirm.", "epoch.", "checkpoint.", "lake.commit."),
    "files": ("log.", "files.", "epoch.", "checkpoint.", "lake.commit."),
}  # fmt: skip
"""The beginnings of the names of failpoints that a campaign kills at. `mysql` has MariaDB for its source, `lake`
a table of every kind and maintenance all the time, `http` an endpoint, `rabbitmq` queues, `kafka` topics, `files`
logs that grow and are rotated, `deliver` syncs into PostgreSQL and MariaDB."""
SCENE = {
    "deliver": "crm", "mysql": "bank", "lake": "ledger", "rabbitmq": "queues", "http": "web", "kafka": "topics",
    "files": "logs",
}  # fmt: skip
ALSO = {"http": ("capture.http.keys_stored",), "files": ("files.group.after",)}
"""Failpoints that only this source passes."""
ONLY_POSTGRES = "capture.snapshot.after_slot"
WORKERS = max(1, min(3, (os.cpu_count() or 2) - 1))


def main(arguments: list[str] | None = None) -> int:
    """Runs a campaign, says how it went, and returns the exit code."""
    options = _parser().parse_args(arguments)
    faulthandler.enable()  # a segmentation fault in a library names its place
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    choice = Choice(
        runs=0 if options.failpoints_only else options.runs,
        failpoints=_failpoints(options.failpoints, options.seed, options.scenario),
        twice=options.failpoints is None,
        seed=options.seed,
        only=options.only,
        bug=options.seeded_bug,
        workers=options.workers,
        scene=SCENE.get(options.scenario, "shop"),
        keep=_empty(options.keep),
    )
    campaign = Campaign(choice, _say)
    well = campaign.run()
    summary = campaign.summary()
    _say(f"{'ok' if well else 'FAILED'} in {campaign.seconds:.0f} s: {summary}")
    if options.results or (choice.whole and choice.runs):
        save(summary, options.results or RESULTS)
    return 0 if well else 1


def _failpoints(count: int | None, seed: int, scenario: str) -> tuple[str, ...]:
    reached = {"lake": KEPT, "deliver": SENT}.get(scenario, (*REACHED, *ALSO.get(scenario, ())))
    names = tuple(name for name in reached if name.startswith(SCENARIOS[scenario]))
    if scenario == "mysql":
        names = tuple(name for name in names if name != ONLY_POSTGRES)
    return names if count is None else tuple(random.Random(seed).sample(names, count))


def _empty(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    return folder.absolute()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="cases killed at random instants")
    parser.add_argument("--failpoints", type=int, help="so many by the seed, once each; default all, twice")
    parser.add_argument("--failpoints-only", action="store_true", help="no random instants")
    parser.add_argument("--only", default="", help="cases whose name begins so, or FAILPOINT:N")
    parser.add_argument("--scenario", default="all", choices=sorted(SCENARIOS), help="which failpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=WORKERS, help="cases at a time, each with its own PostgreSQL")
    parser.add_argument(
        "--seeded-bug",
        default=NO_BUG,
        nargs="?",
        const="confirm-before-fsync",
        choices=sorted({*OF_SOURCES, *OF_DESTINATIONS}),
    )
    parser.add_argument(
        "--keep", type=Path, help="an empty folder for the projects, `python -m tests.readers` reads them"
    )
    parser.add_argument("--results", type=Path, help=f"where the figures go; {RESULTS} if the campaign is whole")
    return parser


if __name__ == "__main__":
    sys.exit(main())
