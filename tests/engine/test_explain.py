"""explain: every fast path is named where it is taken, and only there."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from headwater import View
from headwater.sql.fast_paths import FAST_PATHS

COLUMNS = pa.schema(
    [("id", pa.int64()), ("k", pa.int64()), ("a", pa.int64()), ("p", pa.float64()), ("b", pa.string()),
     ("ts", pa.timestamp("us"))]
)  # fmt: skip
SHOWN_BY = {
    "accumulators": "SELECT k, count(*) AS n FROM t GROUP BY k",
    "float_sums": "SELECT k, avg(p) AS m FROM t GROUP BY k",
    "distinct": "SELECT k, count(DISTINCT a) FILTER (WHERE p > 1) AS n FROM t GROUP BY k",
    "moments": "SELECT k, stddev(a) AS s FROM t GROUP BY k",
    "extremes": "SELECT k, max(a) AS m FROM t GROUP BY k",
    "quantiles": "SELECT k, median(a) AS m FROM t GROUP BY k",
    "modes": "SELECT k, mode(a) AS m FROM t GROUP BY k",
    "hop_panes": "SELECT window_end, count(*) AS n FROM HOP(t, ts, INTERVAL 2 SECOND, INTERVAL 10 SECOND) "
    "GROUP BY window_end",
    "append_only": "SELECT k, max(a) AS m FROM logs GROUP BY k",
    "top_n": "SELECT id, a FROM t ORDER BY a, id LIMIT 3",
    "join_ranges": "SELECT t.id, u.id AS other FROM t JOIN u ON t.a BETWEEN u.a AND u.k",
    "join_extremes": "SELECT a.id FROM logs AS a JOIN (SELECT max(a) AS best, window_end FROM TUMBLE(logs, ts, "
    "INTERVAL 1 MINUTE) GROUP BY window_end) AS w ON a.a = w.best "
    "WHERE a.ts BETWEEN w.window_end - INTERVAL 1 MINUTE AND w.window_end",
    "join_pairs": "SELECT t.id, u.id AS other FROM t JOIN u ON t.k = u.k",
    "session_entries": "SELECT k, window_end, count(*) AS n FROM SESSION(logs, k, ts, INTERVAL 1 MINUTE) "
    "GROUP BY k, window_end",
    "even_windows": "SELECT k, window_end, count(*) AS n FROM TUMBLE(t, ts, INTERVAL 1 MINUTE) GROUP BY k, window_end",
    "distinct_texts": "SELECT id, regexp_extract(b, 'x=([a-z]+)', 1) AS x FROM t",
    "coarse_times": "SELECT id, strftime(ts, '%H:%M') AS minute FROM t",
    "plain_filters": "SELECT id FROM t WHERE a > 3",
    "plain_values": "SELECT id, 0.5 * a AS half FROM t",
    "set_counts": "SELECT k FROM t INTERSECT SELECT k FROM u",
    "partial_aggregates": "SELECT k, sum(a) AS s FROM t GROUP BY k",
    "time_keys": "SELECT strftime(ts, '%Y-%m-%d') AS day, count(*) AS n FROM t GROUP BY day",
}


def _named(sql: str, without: str = "") -> set[str]:
    inputs = dict.fromkeys(("t", "u", "logs"), COLUMNS)
    view = View(sql, inputs, append_only=["logs"], without=[without] if without else [], threads=2)
    lists = re.findall(r"\[fast paths? ([a-z_, ]+)\]", view.explain())
    return {name for listed in lists for name in listed.split(", ")}


@pytest.mark.parametrize("path", FAST_PATHS)
def test_explain_names_the_fast_path(path: str) -> None:
    assert path in _named(SHOWN_BY[path])
    assert path not in _named(SHOWN_BY[path], without=path)


@pytest.mark.parametrize("path", FAST_PATHS)
def test_explain_names_nothing_else(path: str) -> None:
    assert _named(SHOWN_BY[path]) <= FAST_PATHS.keys()
