"""How long a small change takes from `apply` to the result: `headwater bench latency`."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from statistics import median

import numpy as np

from headwater.bench.child import Figures, measure
from headwater.bench.incremental.rows import SCHEMAS, Changes, Sizes, load
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import Clock, SystemClock
from headwater.engine.view import View

MODEL = """
SELECT d.label, count(*) AS orders, sum(f.amount) AS total
FROM facts AS f
JOIN dims AS d ON d.key = f.key
WHERE f.amount > 1000
GROUP BY d.label
"""
"""Filter, join, aggregate."""

OPERATORS = {
    "filter": "SELECT * FROM facts WHERE amount > 1000",
    "project": "SELECT id, amount * 2 AS twice, upper(name) AS name FROM facts",
    "union_all": "SELECT id, key FROM facts UNION ALL SELECT id, key FROM more",
    "aggregate": "SELECT key, count(*) AS n, sum(amount) AS total FROM facts GROUP BY key",
    "min_max": "SELECT key, min(amount) AS low, max(amount) AS high FROM facts GROUP BY key",
    "count_distinct": "SELECT key, count(DISTINCT region) AS n FROM facts GROUP BY key",
    "distinct": "SELECT DISTINCT key, region FROM facts",
    "join": "SELECT f.id, d.label FROM facts f JOIN dims d ON d.key = f.key",
    "left_join": "SELECT f.id, d.label FROM facts f LEFT JOIN dims d ON d.key = f.key",
    "semi_join": "SELECT f.id FROM facts f SEMI JOIN dims d ON d.key = f.key",
    "top_n": "SELECT id, key, amount FROM facts "
    "QUALIFY row_number() OVER (PARTITION BY key ORDER BY amount DESC, id) <= 3",
    "window_function": "SELECT id, sum(amount) OVER (PARTITION BY key ORDER BY moment, id) AS s FROM facts",
    "recompute": "SELECT key, string_agg(name, ',' ORDER BY id) AS names FROM facts GROUP BY key",
    "tumble": "SELECT key, window_end, sum(amount) AS s FROM TUMBLE(facts, moment, INTERVAL '1 hour') GROUP BY ALL",
}
"""Models of one operator that keeps something, or of none; what else is in their plans is counted too."""

_LOAD_BATCH = 50_000
_UNTIMED = 20
SMALL = 100


def latency(
    *, rows: int = 200_000, changes: int = 1_000, per_s: int = 50, seconds: int = 20, threads: int = 1
) -> Figures:
    """Applies `changes` changes of `facts` `per_s` times a second to `MODEL`, a third of them retractions.

    Args:
        rows: of `facts` before; `dims` has a tenth.
        changes: in each apply.
        per_s: applies a second.
        seconds: how long.
        threads: of the view.

    Returns:
        p50_ms, p99_ms, max_ms: from `apply` to the changes of the result. behind: applies that began late because the
        ones before took too long. cores: used while applying, of one.
    """
    clock = SystemClock()
    view, sizes = _loaded(MODEL, rows, threads), Sizes(rows)
    source, watch, behind = Changes("facts", sizes, 1), Stopwatch(clock), 0
    batches = [source.take(changes) for _ in range(per_s * seconds + _UNTIMED)]
    gc.collect()
    for batch in batches[:_UNTIMED]:
        view.apply({"facts": batch})
    for batch, late in zip(batches[_UNTIMED:], _beats(clock, per_s), strict=False):
        behind += late
        with watch:
            view.apply({"facts": batch})
    view.close()
    laps_ms = np.array(watch.laps_s) * 1e3
    p50, p99 = np.percentile(laps_ms, [50, 99])
    return {
        "p50_ms": float(p50), "p99_ms": float(p99), "max_ms": float(laps_ms.max()), "behind": behind,
        "applies": len(laps_ms), "changes": changes, "per_s": per_s, "rows": rows, "cpu_ms": watch.cpu_s * 1e3,
    }  # fmt: skip


def _beats(clock: Clock, per_s: int) -> Iterator[bool]:
    """Comes back at each beat; whether it was missed."""
    never, due_s = threading.Event(), clock.monotonic_s()
    while True:
        due_s += 1 / per_s
        wait_s = due_s - clock.monotonic_s()
        if wait_s > 0:
            clock.wait(never, wait_s)
        yield wait_s < 0


def overhead(name: str, *, rows: int = 100_000, threads: int = 1) -> Figures:
    """What an apply of `SMALL` changes costs.

    Args:
        name: of `OPERATORS`.
        rows: of `facts` before.
        threads: of the view.

    Returns:
        ms: the median. operators: nodes of the plan that do something. ms_per_operator: of those.
    """
    clock, sizes = SystemClock(), Sizes(rows)
    view = _loaded(OPERATORS[name], rows, threads)
    source, watch = Changes("facts", sizes, 1), Stopwatch(clock)
    batches = [source.take(SMALL) for _ in range(100 + _UNTIMED)]
    for batch in batches:
        with watch:
            view.apply({"facts": batch})
    view.close()
    ms = median(watch.laps_s[_UNTIMED:]) * 1e3
    operators = sum(bool(node.inputs) for node in view.plan.nodes())
    return {"operator": name, "ms": ms, "operators": operators, "ms_per_operator": ms / operators}


def _loaded(sql: str, rows: int, threads: int) -> View:
    """A view with rows in it."""
    streams = [stream for stream in SCHEMAS if f" {stream}" in sql or f"({stream}" in sql]
    view = View(sql, {stream: SCHEMAS[stream] for stream in streams}, threads=threads, keep_result=False)
    for stream in streams:
        for batch in load(stream, Sizes(rows), _LOAD_BATCH):
            view.apply({stream: batch})
    return view


def suite(rows: int, threads: int) -> Figures:
    """All of it, each in a process of its own.

    Args:
        rows: of `facts` before.
        threads: of the views.
    """
    arguments = {"rows": rows, "threads": threads}
    return {
        "model": measure("headwater.bench.latency:latency", arguments),
        "operators": [{"operator": name, **measure("headwater.bench.latency:overhead", {"name": name, **arguments})}
                      for name in OPERATORS],
    }  # fmt: skip
