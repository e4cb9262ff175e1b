"""Random SQL of the supported grammar over random histories, against the oracle.

HEADWATER_FUZZ=N runs N queries (default 12) from seed HEADWATER_SEED (default 1); a failure names its seed.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from oracle import Case, Input, compare

COLUMNS = {
    "t": ("id", "a", "b", "p"),
    "u": ("id", "a", "b", "d"),
}
INPUTS = {
    "t": Input((("id", "int"), ("a", "small"), ("b", "varchar"), ("p", "plain"))),
    "u": Input((("id", "int"), ("a", "int"), ("b", "varchar"), ("d", "decimal(10,2)"))),
}
FIRST = int(os.environ.get("HEADWATER_SEED", "1"))


class Writer:
    """Writes one query; the relations that it makes all have the columns id, a and b, and perhaps n."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def query(self) -> str:
        return self.rng.choice((self.projected, self.grouped, self.ranked, self.joined, self.united, self.distinct))(2)

    def relation(self, depth: int) -> str:
        """Something with columns id, a and b."""
        if depth <= 0 or self.rng.random() < 0.4:
            return self.rng.choice(("t", "u"))
        made = self.rng.choice((self.narrow, self.grouped_again, self.joined_again, self.united_again))(depth - 1)
        return f"({made})"

    def condition(self, name: str) -> str:
        return self.rng.choice((
            f"{name}.a > 0", f"{name}.b <> 'x'", f"{name}.id % 3 = 1", f"{name}.a IS NULL OR {name}.b = 'y'",
            f"{name}.a BETWEEN 0 AND 2 AND {name}.id > 1", f"coalesce({name}.b, 'z') LIKE '_'",
            f"EXISTS (SELECT 1 FROM u WHERE u.a = {name}.a AND u.id > 2)",
            f"{name}.a IN (SELECT a FROM t WHERE b = 'x')",
            f"NOT EXISTS (SELECT 1 FROM t WHERE t.b = {name}.b AND t.a > {name}.a)",
        ))  # fmt: skip

    def where(self, *names: str) -> str:
        parts = [self.condition(self.rng.choice(names)) for _ in range(self.rng.choice((0, 0, 1, 2)))]
        return f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""

    def narrow(self, depth: int) -> str:
        return f"SELECT q.id, q.a + 1 AS a, upper(q.b) AS b FROM {self.relation(depth)} AS q{self.where('q')}"

    def grouped_again(self, depth: int) -> str:
        body = f"FROM {self.relation(depth)} AS q{self.where('q')} GROUP BY q.a"
        return f"SELECT max(q.id) AS id, q.a, min(q.b) AS b {body}"

    def joined_again(self, depth: int) -> str:
        return f"SELECT x.id, y.a, x.b FROM {self.join(depth)}{self.where('x', 'y')}"

    def united_again(self, depth: int) -> str:
        word = self.rng.choice(("UNION ALL", "UNION", "EXCEPT", "INTERSECT"))
        return f"{self.narrow(depth)} {word} {self.narrow(depth)}"

    def join(self, depth: int) -> str:
        kind = self.rng.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
        on = self.rng.choice(("x.a = y.a", "x.b = y.b", "x.a = y.a AND x.b = y.b", "x.a = y.a AND x.id <> y.id"))
        return f"{self.relation(depth)} AS x {kind} {self.relation(depth)} AS y ON {on}"

    def projected(self, depth: int) -> str:
        body = f"FROM {self.relation(depth)} AS q{self.where('q')}"
        return f"SELECT q.id, CASE WHEN q.a > 1 THEN q.b ELSE 'few' END AS c, q.a {body}"

    def grouped(self, depth: int) -> str:
        calls = ("count(*)", "sum(q.a)", "avg(q.a)", "max(q.id)", "count(DISTINCT q.b)", "count(q.b) FILTER (q.a > 0)",
                 "string_agg(q.b, ',' ORDER BY q.b)", "median(q.id)")  # fmt: skip
        chosen = ", ".join(f"{call} AS c{i}" for i, call in enumerate(self.rng.sample(calls, 2)))
        keys = self.rng.choice(("q.b", "q.a, q.b", "q.a % 2", "q.b, q.a IS NULL"))
        having = self.rng.choice(("", " HAVING count(*) > 1"))
        return f"SELECT {keys}, {chosen} FROM {self.relation(depth)} AS q{self.where('q')} GROUP BY {keys}{having}"

    def ranked(self, depth: int) -> str:
        order = "q.a NULLS FIRST, q.id, q.b"
        call = self.rng.choice(("row_number()", "rank()", "sum(q.a)", "lag(q.a)", "count(*)"))
        last = self.rng.choice(("", " QUALIFY w <= 2"))
        window = f"{call} OVER (PARTITION BY q.b ORDER BY {order})"
        return f"SELECT q.id, q.a, q.b, {window} AS w FROM {self.relation(depth)} AS q{self.where('q')}{last}"

    def joined(self, depth: int) -> str:
        return f"SELECT x.id, y.id AS yid, x.b, y.a FROM {self.join(depth)}{self.where('x')}"

    def united(self, depth: int) -> str:
        return self.united_again(depth)

    def distinct(self, depth: int) -> str:
        return f"SELECT DISTINCT q.a, q.b FROM {self.relation(depth)} AS q{self.where('q')}"


@pytest.mark.parametrize("seed", range(FIRST, FIRST + int(os.environ.get("HEADWATER_FUZZ", "12"))))
def test_random_query_equals_duckdb(seed: int, tmp_path: Path) -> None:
    case = Case(f"seed {seed}", Writer(seed).query(), INPUTS)
    compare(case, seed, tmp_path, steps=4)
