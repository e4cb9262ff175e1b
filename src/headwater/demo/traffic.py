"""A shop's traffic, run as a process of its own: `python -m headwater.demo.traffic URL --rate 200 --seconds 20`.

It writes through one connection in pipeline mode, paced to the rate, until its time is over, SIGTERM or SIGINT
comes or the stop file appears, and ends by printing one JSON line of what it committed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from headwater.clock import Clock, SystemClock
from headwater.demo.purchases import Purchases, Shelf, Transaction

TICK_S = 0.02
BATCH_MAX = 50
"""Most transactions in one round trip; bounds how long a stop waits."""


@dataclass
class Tally:
    """What was committed (and, apart, what was rolled back).

    Attributes:
        transactions: committed transactions. rolled_back: those that were not.
        rows: rows written by committed transactions, by insert, update and delete.
        kinds: committed transactions by kind.
    """

    transactions: int = 0
    rolled_back: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, transaction: Transaction, results: list[psycopg.Cursor]) -> None:
        """Counts one transaction by what the server answered to its statements."""
        if not transaction.commits:
            self.rolled_back += 1
            return
        self.transactions += 1
        self.kinds[transaction.kind] += 1
        for result in results:
            verb = (result.statusmessage or "").partition(" ")[0].lower()
            self.rows[verb] += result.rowcount

    def report(self, seconds: float) -> dict[str, object]:
        """What is printed at the end; `seconds` is how long it took."""
        return {
            "transactions": self.transactions,
            "rolled_back": self.rolled_back,
            "rows": {verb: self.rows[verb] for verb in ("insert", "update", "delete")},
            "kinds": dict(sorted(self.kinds.items())),
            "seconds": round(seconds, 3),
            "transactions_per_s": round(self.transactions / seconds, 1) if seconds else 0.0,
        }


def carry_out(connection: psycopg.Connection, transactions: list[Transaction], tally: Tally) -> None:
    """Sends `transactions` in one round trip and counts what came of them.

    Raises:
        psycopg.Error: the database refused one or went away; nothing of this batch is counted, though some may stand.
    """
    sent: list[tuple[Transaction, list[psycopg.Cursor]]] = []
    with connection.pipeline():
        for transaction in transactions:
            connection.execute("BEGIN")
            results = [connection.execute(sql.encode(), values) for sql, values in transaction.statements]
            connection.execute("COMMIT" if transaction.commits else "ROLLBACK")
            sent.append((transaction, results))
    for transaction, results in sent:
        tally.add(transaction, results)


def run(
    url: str, *, rate: float, seconds: float, seed: int, stop: threading.Event, stop_file: Path | None, clock: Clock
) -> dict[str, object]:
    """Writes `rate` transactions per second for `seconds` seconds or until told to stop; returns the tally's report."""
    tally = Tally()
    never = threading.Event()  # `stop` is set by a signal handler in this thread, which must not be waiting on it
    with psycopg.connect(url, autocommit=True, application_name="headwater demo traffic") as connection:
        purchases = Purchases(Shelf.read(connection), clock, seed)
        start = clock.monotonic_s()
        made = 0
        while (elapsed := clock.monotonic_s() - start) < seconds and not stop.is_set():
            if stop_file is not None and stop_file.exists():
                break
            due = min(int(rate * elapsed) - made, BATCH_MAX)
            if due > 0:
                carry_out(connection, [purchases.next() for _ in range(due)], tally)
                made += due
            if due < BATCH_MAX:
                clock.wait(never, TICK_S)
    return tally.report(clock.monotonic_s() - start)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="headwater.demo.traffic", description=__doc__)
    parser.add_argument("url", help="the shop's connection URL")
    parser.add_argument("--rate", type=float, default=200.0, help="transactions per second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long; inf for until told to stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop-file", type=Path, help="ends gracefully once this file is there")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        report = run(
            options.url, rate=options.rate, seconds=options.seconds, seed=options.seed,
            stop=stop, stop_file=options.stop_file, clock=SystemClock(),
        )  # fmt: skip
    except psycopg.OperationalError as error:
        sys.stderr.write(f"the shop's database went away: {error}\n")
        return 1
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
