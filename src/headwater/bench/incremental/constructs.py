"""The constructs of SQL that are measured, each as one model over `facts`, `dims`, `more` and `regions`.

`facts` has about ten rows of each key, `dims` one, `more` two; the number of keys grows with the rows. What is named
`..._hot` has 20 groups however many rows there are; what is named `..._global` has one.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.errors import UserError


@dataclass(frozen=True)
class Construct:
    """One construct.

    Attributes:
        name: what it is.
        sql: a model that has it.
    """

    name: str
    sql: str


_LINEAR = {
    "filter": "SELECT * FROM facts WHERE amount > 50000 AND region <> 3",
    "project": "SELECT id, CAST(amount AS DECIMAL(18, 2)) * 1.21 AS gross, CASE WHEN region < 5 THEN 'a' ELSE 'b' END "
    "AS part, upper(name) AS name FROM facts",
    "unnest": "SELECT id, unnest(string_split(name, '-')) AS word FROM facts",
    "lateral_unnest": "SELECT id, word FROM facts, unnest(string_split(name, '-')) AS w(word)",
    "union_all": "SELECT key, amount FROM facts UNION ALL SELECT key, amount FROM more",
}
_JOINS = {
    "inner_join": "SELECT f.id, f.amount, d.label FROM facts f JOIN dims d ON d.key = f.key",
    "left_join": "SELECT f.id, f.amount, d.label FROM facts f LEFT JOIN dims d ON d.key = f.key",
    "right_join": "SELECT f.id, f.amount, d.label FROM dims d RIGHT JOIN facts f ON d.key = f.key",
    "full_join": "SELECT f.id, f.amount, d.label FROM facts f FULL JOIN dims d ON d.key = f.key",
    "semi_join": "SELECT f.* FROM facts f SEMI JOIN dims d ON d.key = f.key",
    "anti_join": "SELECT f.* FROM facts f ANTI JOIN dims d ON d.key = f.key",
    "cross_join": "SELECT m.id, r.title FROM more m CROSS JOIN regions r",
    "asof_join": "SELECT f.id, m.amount FROM facts f ASOF JOIN more m ON f.key = m.key AND f.moment >= m.moment",
    "self_join": "SELECT a.id, b.id AS next FROM facts a JOIN facts b ON a.key = b.key AND a.amount < b.amount",
    "many_to_many_join": "SELECT f.id, m.id AS other FROM facts f JOIN more m ON f.key = m.key AND f.amount > m.amount",
    "left_join_residual": "SELECT f.id, m.id AS other FROM facts f LEFT JOIN more m ON f.key = m.key "
    "AND f.amount > m.amount",
    "three_way_join": "SELECT f.id, d.label, r.title FROM facts f JOIN dims d ON d.key = f.key "
    "JOIN regions r ON r.region = f.region",
    "range_join": "SELECT f.id, m.id AS other FROM facts f JOIN more m "
    "ON f.moment BETWEEN m.moment - INTERVAL '50 ms' AND m.moment + INTERVAL '50 ms'",
    "range_join_by_key": "SELECT f.id, m.id AS other FROM facts f JOIN more m ON f.key = m.key "
    "AND f.moment BETWEEN m.moment - INTERVAL '1 hour' AND m.moment",
    "lateral_join": "SELECT d.key, x.most FROM dims d, LATERAL (SELECT max(amount) AS most FROM facts f "
    "WHERE f.key = d.key) AS x",
}
_SUBQUERIES = {
    "in": "SELECT id, key FROM facts WHERE key IN (SELECT key FROM dims WHERE rate > 5)",
    "not_in": "SELECT id, key FROM facts WHERE key NOT IN (SELECT key FROM dims WHERE rate > 5)",
    "exists": "SELECT id FROM facts f WHERE EXISTS (SELECT 1 FROM more m WHERE m.key = f.key AND m.amount > f.amount)",
    "not_exists": "SELECT id FROM facts f WHERE NOT EXISTS (SELECT 1 FROM more m WHERE m.key = f.key)",
    "scalar_subquery": "SELECT d.key, (SELECT sum(amount) FROM facts f WHERE f.key = d.key) AS total FROM dims d",
    "scalar_subquery_where": "SELECT id FROM facts f WHERE amount > (SELECT avg(amount) FROM more m "
    "WHERE m.key = f.key)",
    "scalar_subquery_global": "SELECT id FROM facts WHERE amount >= (SELECT max(amount) FROM more)",
    "cte": "WITH k AS (SELECT key, sum(amount) AS s FROM facts GROUP BY key) "
    "SELECT a.key, a.s, m.amount FROM k a JOIN more m ON m.key = a.key",
}
_FUNCTIONS = {
    "count_sum_avg": "count(*) AS n, sum(amount) AS s, avg(amount) AS a",
    "sum_avg_float": "sum(price) AS s, avg(price) AS a",
    "min_max": "min(amount) AS low, max(amount) AS high",
    "filter": "count(*) FILTER (WHERE region < 5) AS n, sum(amount) FILTER (WHERE region > 9) AS s",
    "count_distinct": "count(DISTINCT name) AS n",
    "sum_distinct": "sum(DISTINCT amount) AS n",
    "arg_max": "arg_max(name, amount * 10000000 + id) AS best",
    "first_ordered": "first(name ORDER BY moment, id) AS first, last(name ORDER BY moment, id) AS last",
    "stddev": "stddev_samp(price) AS s, var_pop(price) AS v",
    "corr": "corr(price, amount) AS c",
    "bool_and": "bool_and(amount > 10) AS every, bool_or(region = 3) AS any",
    "bit_xor": "bit_xor(amount) AS x, bit_or(amount) AS o",
    "median": "median(amount) AS m",
    "quantile": "quantile_cont(price, 0.9) AS q, quantile_disc(amount, 0.1) AS r",
    "mode": "mode(region) AS m",
    "string_agg": "string_agg(name, ',' ORDER BY id) AS names",
    "array_agg": "array_agg(amount ORDER BY moment, id) AS amounts",
    "histogram": "histogram(region) AS h",
    "approx_count_distinct": "approx_count_distinct(id) AS n",
}
_HOT = ("count_sum_avg", "sum_avg_float", "min_max", "filter", "count_distinct", "arg_max", "stddev", "median", "mode")
_GLOBAL = (*_HOT, "sum_distinct", "first_ordered", "quantile", "string_agg")
_GROUPING = {
    "having": "SELECT key, sum(amount) AS s FROM facts GROUP BY key HAVING count(*) > 10",
    "group_by_expression": "SELECT amount // 100 AS band, region, count(*) AS n FROM facts GROUP BY ALL",
    "grouping_sets": "SELECT key, region, sum(amount) AS s FROM facts GROUP BY GROUPING SETS ((key), (region), ())",
    "rollup": "SELECT region, key, count(*) AS n, sum(amount) AS s FROM facts GROUP BY ROLLUP (region, key)",
    "cube": "SELECT region, name, count(*) AS n FROM facts GROUP BY CUBE (region, name)",
    "aggregate_of_aggregate": "SELECT n, count(*) AS keys FROM (SELECT key, count(*) AS n FROM facts GROUP BY key) "
    "GROUP BY n",
    "max_of_sums": "SELECT max(s) AS most FROM (SELECT key, sum(amount) AS s FROM facts GROUP BY key)",
    "join_then_aggregate": "SELECT d.label, sum(f.amount) AS s FROM facts f JOIN dims d ON d.key = f.key "
    "GROUP BY d.label",
}
_SETS = {
    "distinct": "SELECT DISTINCT key, region FROM facts",
    "distinct_on": "SELECT DISTINCT ON (key) key, id, amount FROM facts ORDER BY key, amount DESC, id",
    "union": "SELECT key, region FROM facts UNION SELECT key, 0 FROM more",
    "intersect": "SELECT key FROM facts INTERSECT SELECT key FROM more",
    "except": "SELECT key FROM facts EXCEPT SELECT key FROM more",
    "intersect_all": "SELECT key FROM facts INTERSECT ALL SELECT key FROM more",
    "except_all": "SELECT key FROM facts EXCEPT ALL SELECT key FROM more",
}
_WINDOWS = {
    "row_number": "SELECT id, key, row_number() OVER (PARTITION BY key ORDER BY amount, id) AS n FROM facts",
    "rank": "SELECT id, key, rank() OVER (PARTITION BY key ORDER BY region) AS n, "
    "dense_rank() OVER (PARTITION BY key ORDER BY region) AS d FROM facts",
    "running_sum": "SELECT id, sum(amount) OVER (PARTITION BY key ORDER BY moment, id) AS s FROM facts",
    "lag_lead": "SELECT id, lag(amount) OVER w AS before, lead(amount) OVER w AS after FROM facts "
    "WINDOW w AS (PARTITION BY key ORDER BY moment, id)",
    "frame_rows": "SELECT id, avg(amount) OVER (PARTITION BY key ORDER BY moment, id ROWS BETWEEN 2 PRECEDING AND "
    "CURRENT ROW) AS a FROM facts",
    "frame_range": "SELECT id, count(*) OVER (PARTITION BY key ORDER BY moment RANGE BETWEEN INTERVAL '1 hour' "
    "PRECEDING AND CURRENT ROW) AS n FROM facts",
    "share_of_partition": "SELECT id, amount / sum(amount) OVER (PARTITION BY key) AS share FROM facts",
    "ntile": "SELECT id, ntile(4) OVER (PARTITION BY key ORDER BY amount, id) AS quarter FROM facts",
    "qualify_first": "SELECT id, key, amount FROM facts "
    "QUALIFY row_number() OVER (PARTITION BY key ORDER BY amount DESC, id) = 1",
    "top_3": "SELECT id, key, amount FROM facts QUALIFY row_number() OVER (PARTITION BY key ORDER BY moment, id) <= 3",
    "top_3_rank": "SELECT id, key, amount FROM facts QUALIFY rank() OVER (PARTITION BY key ORDER BY amount DESC) <= 3",
    "top_10_hot": "SELECT id, region, amount FROM facts "
    "QUALIFY row_number() OVER (PARTITION BY region ORDER BY amount DESC, id) <= 10",
    "top_10_global": "SELECT id, amount FROM facts ORDER BY amount DESC, id LIMIT 10",
    "top_10_offset_global": "SELECT id, amount FROM facts ORDER BY amount DESC, id LIMIT 10 OFFSET 100",
    "top_of_aggregate_global": "SELECT key, sum(amount) AS s FROM facts GROUP BY key ORDER BY s DESC, key LIMIT 10",
    "row_number_global": "SELECT id, row_number() OVER (ORDER BY amount, id) AS n FROM facts",
    "running_sum_global": "SELECT id, sum(amount) OVER (ORDER BY moment, id) AS s FROM facts",
}
_TIME = {
    "tumble": "SELECT window_start, count(*) AS n, max(amount) AS most FROM "
    "TUMBLE(facts, moment, INTERVAL '10 seconds') GROUP BY window_start",
    "tumble_by_key": "SELECT key, window_end, sum(amount) AS s FROM TUMBLE(facts, moment, INTERVAL '1 hour') "
    "GROUP BY key, window_end",
    "hop": "SELECT window_start, window_end, count(*) AS n, sum(amount) AS s "
    "FROM HOP(facts, moment, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY ALL",
    "cumulate": "SELECT window_start, window_end, count(*) AS n, sum(amount) AS s "
    "FROM CUMULATE(facts, moment, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY ALL",
    "session": "SELECT key, window_start, window_end, count(*) AS n, sum(amount) AS s "
    "FROM SESSION(facts, key, moment, INTERVAL '5 minutes') GROUP BY ALL",
}


def _aggregates() -> dict[str, str]:
    """Each aggregate function per key, those that are likely to be asked so for 20 groups, and for all rows."""
    per_key = {name: f"SELECT key, {sql} FROM facts GROUP BY key" for name, sql in _FUNCTIONS.items()}
    hot = {f"{name}_hot": f"SELECT region, {_FUNCTIONS[name]} FROM facts GROUP BY region" for name in _HOT}
    whole = {f"{name}_global": f"SELECT {_FUNCTIONS[name]} FROM facts" for name in _GLOBAL}
    return {**{f"{name}_by_key": sql for name, sql in per_key.items()}, **hot, **whole}


LEFT_OPEN = {"mode_by_key", "mode_hot", "mode_global", "approx_count_distinct_by_key"}
"""What DuckDB itself answers differently when the same rows come in another order."""

CONSTRUCTS: dict[str, Construct] = {
    name: Construct(name, sql)
    for group in (_LINEAR, _JOINS, _SUBQUERIES, _aggregates(), _GROUPING, _SETS, _WINDOWS, _TIME)
    for name, sql in group.items()
}
"""All of them by name."""


def chosen(names: str) -> list[str]:
    """The names in a list such as "left_join,median_by_key", or "all".

    Raises:
        UserError: one of them is not a construct.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    wrong = [name for name in given if name not in CONSTRUCTS and name != "all"]
    if wrong:
        raise UserError(f"there is no construct {wrong[0]!r}", hint=f"they are {', '.join(CONSTRUCTS)}")
    return list(CONSTRUCTS) if "all" in given else given
