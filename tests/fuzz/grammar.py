"""Random SELECTs over random tables. Each has one answer: whatever needs an order has a total one.

A relation that is made here always has the columns `id` (int), `a` (int), `b` (text) and `ts` (time), so that
anything can be built over it.
"""

from __future__ import annotations

import random

from tests.fuzz.data import KINDS, TableOf
from tests.fuzz.expressions import Column, Expressions

_COLUMNS = (("id", "int"), ("a", "int"), ("b", "text"), ("ts", "time"))


class Grammar:
    """Writes queries.

    Args:
        rng: the source of chance.
        tables: what may be read.
    """

    def __init__(self, rng: random.Random, tables: tuple[TableOf, ...]) -> None:
        self.rng, self.tables = rng, tables
        self._count = 0
        self._ctes: list[str] = []
        self.make = Expressions(rng, self._subquery)
        self.plain = Expressions(rng)

    def query(self) -> str:
        """One query."""
        kinds = (
            self._projected, self._grouped, self._grouped, self._sets, self._ranked, self._joined, self._joined,
            self._united, self._distinct, self._top, self._distinct_on, self._windowed, self._scalar,
        )  # fmt: skip
        made = self.rng.choice(kinds)(2)
        if self._ctes:
            listed = ", ".join(f"w{i} AS ({sql})" for i, sql in enumerate(self._ctes))
            made = f"WITH {listed} {made}"
        return made

    def _alias(self) -> str:
        self._count += 1
        return f"q{self._count}"

    def _relation(self, depth: int) -> tuple[str, list[tuple[str, str]]]:
        """A FROM item without alias, and its columns with their families."""
        choice = self.rng.random()
        if depth <= 0 or choice < 0.5:
            table = self.rng.choice(self.tables)
            return table.name, [(name, KINDS[kind].family) for name, kind in table.columns]
        if choice < 0.6 and self._ctes and depth < 2:
            return f"w{self.rng.randrange(len(self._ctes))}", list(_COLUMNS)
        if choice < 0.65 and depth == 2 and len(self._ctes) < 2:
            self._ctes.append(self._inner(0))
            return f"w{len(self._ctes) - 1}", list(_COLUMNS)
        return f"({self._inner(depth - 1)})", list(_COLUMNS)

    def _inner(self, depth: int) -> str:
        made = (self._narrow, self._narrow, self._grouped_inner, self._joined_inner, self._united, self._top_inner)
        return self.rng.choice(made)(depth)

    def _from(self, depth: int) -> tuple[str, list[Column]]:
        """`FROM item AS alias` and the scope."""
        item, columns = self._relation(depth)
        alias = self._alias()
        return f"{item} AS {alias}", [Column(f"{alias}.{name}", family) for name, family in columns]

    def _where(self, scope: list[Column], chance: float = 0.6) -> str:
        if self.rng.random() > chance:
            return ""
        parts = [self.make.condition(scope) for _ in range(self.rng.choice((1, 1, 2)))]
        return f" WHERE {self.rng.choice((' AND ', ' AND ', ' OR ')).join(parts)}"

    def _four(self, scope: list[Column]) -> str:
        """The four columns that every inner relation has."""
        make = self.plain
        at = self.plain.of("time", scope, 0)
        return (
            f"{make.of('int', scope, 1)} AS id, {make.of('int', scope)} AS a, {make.of('text', scope)} AS b, {at} AS ts"
        )

    def _narrow(self, depth: int) -> str:
        item, scope = self._from(depth)
        return f"SELECT {self._four(scope)} FROM {item}{self._where(scope)}"

    def _grouped_inner(self, depth: int) -> str:
        item, scope = self._from(depth)
        key = self.plain.of(self.rng.choice(("int", "text")), scope, 1)
        last = f"max({self.plain.of('text', scope, 1)}) AS b, min({self.plain.of('time', scope, 0)}) AS ts"
        return f"SELECT count(*)::INTEGER AS id, max(length(({key})::VARCHAR))::INTEGER AS a, {last} FROM {item}" + (
            f"{self._where(scope)} GROUP BY {key}"
        )

    def _joined_inner(self, depth: int) -> str:
        body, scope = self._join(depth)
        return f"SELECT {self._four(scope)} FROM {body}{self._where(scope, 0.3)}"

    def _top_inner(self, depth: int) -> str:
        order = f"{self.rng.randint(1, 4)} {self.rng.choice(('DESC', 'ASC', 'DESC NULLS FIRST'))}, 1, 2, 3, 4"
        return f"{self._narrow(depth)} ORDER BY {order} LIMIT {self.rng.choice((1, 3, 6))}"

    def _join(self, depth: int) -> tuple[str, list[Column]]:
        body, scope = self._from(depth)
        for _ in range(self.rng.choice((1, 1, 2))):
            item, more = self._from(depth - 1)
            kind = self.rng.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"))
            body += f" {kind} {item} ON {self._on(scope, more, kind)}"
            scope = scope if kind in ("SEMI JOIN", "ANTI JOIN") else scope + more
        return body, scope

    def _on(self, left: list[Column], right: list[Column], kind: str) -> str:
        family = self.rng.choice(("int", "int", "text", "time"))
        word = self.rng.choice(("=", "=", "=", "IS NOT DISTINCT FROM"))
        parts = [f"{self.plain.of(family, left, 1)} {word} {self.plain.of(family, right, 0)}"]
        if self.rng.random() < 0.3:
            parts.append(f"{self.plain.of('text', left, 0)} = {self.plain.of('text', right, 0)}")
        if self.rng.random() < 0.3:
            parts.append(f"{self.plain.of('int', left, 0)} < {self.plain.of('int', right, 0)}")
        if self.rng.random() < 0.08 and kind == "JOIN":
            parts = [f"{self.plain.of('int', left, 0)} <= {self.plain.of('int', right, 0)}"]
        return " AND ".join(parts)

    def _subquery(self, scope: list[Column]) -> str:
        """A condition with a subquery."""
        table = self.rng.choice(self.tables)
        alias = self._alias()
        inner = [Column(f"{alias}.{name}", KINDS[kind].family) for name, kind in table.columns]
        family = self.rng.choice(("int", "text"))
        mine, own = self.plain.of(family, scope, 0), self.plain.of(family, inner, 0)
        extra = f" AND {self.plain.condition(inner, 1)}" if self.rng.random() < 0.5 else ""
        body = f"FROM {table.name} AS {alias} WHERE {own} = {mine}{extra}"
        call = self.rng.choice((f"max({alias}.id)", "count(*)", f"min({alias}.a)"))
        number = self.plain.of("int", scope, 0)
        return self.rng.choice((
            f"(EXISTS (SELECT 1 {body}))", f"(NOT EXISTS (SELECT 1 {body}))",
            f"({mine} IN (SELECT {own} FROM {table.name} AS {alias}))",
            f"({mine} NOT IN (SELECT {own} FROM {table.name} AS {alias} WHERE {self.plain.condition(inner, 1)}))",
            f"({number} >= (SELECT {call} {body}))", f"({number} <= (SELECT {call} FROM {table.name} AS {alias}))",
        ))  # fmt: skip

    def _projected(self, depth: int) -> str:
        item, scope = self._from(depth)
        chosen = ", ".join(f"{self.plain.any(scope)[0]} AS o{i}" for i in range(self.rng.randint(1, 4)))
        return f"SELECT {chosen} FROM {item}{self._where(scope, 0.8)}"

    def _aggregate(self, scope: list[Column]) -> str:
        of, rng = self.plain.of, self.rng
        family = rng.choice([c.family for c in scope if c.family != "list"])
        value, whole = of(family, scope, 1), of("int", scope, 1)
        total = ", ".join(c.sql for c in scope)
        call = rng.choice((
            "count(*)", f"count({value})", f"sum({whole})", f"avg({whole})", f"sum({of('decimal', scope, 0)})",
            f"sum({of('float', scope, 0)})", f"avg({of('float', scope, 0)})", f"sum({of('big', scope, 0)})",
            f"min({value})", f"max({value})", f"count(DISTINCT {value})", f"sum(DISTINCT {whole})",
            f"bool_or({of('bool', scope, 1)})", f"bool_and({of('bool', scope, 1)})", f"median({whole})",
            f"string_agg({of('text', scope, 1)}, ',' ORDER BY {total})", f"list({whole} ORDER BY {total})",
            f"first({value} ORDER BY {total})", f"last({value} ORDER BY {total})", f"quantile_disc({whole}, 0.3)",
            f"stddev_pop({whole})", f"count_if({of('bool', scope, 1)})",
        ))  # fmt: skip
        return f"{call} FILTER (WHERE {self.plain.condition(scope, 1)})" if rng.random() < 0.25 else call

    def _keys(self, scope: list[Column]) -> list[str]:
        groupable = [c for c in scope if c.family != "list"]
        return list(dict.fromkeys(self.plain.any(groupable, 1)[0] for _ in range(self.rng.choice((1, 1, 2)))))

    def _grouped(self, depth: int) -> str:
        body, scope = self._from(depth) if self.rng.random() < 0.7 else self._join(depth - 1)
        keys = self._keys(scope) if self.rng.random() < 0.8 else []
        calls = [self._aggregate(scope) for _ in range(self.rng.randint(1, 3))]
        outputs = [*(f"{key} AS k{i}" for i, key in enumerate(keys)), *(f"{c} AS o{i}" for i, c in enumerate(calls))]
        having = f" HAVING {self.rng.choice(('count(*) > 1', 'max(length(1::VARCHAR)) > 0'))}"
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        tail = having if self.rng.random() < 0.25 and keys else ""
        return f"SELECT {', '.join(outputs)} FROM {body}{self._where(scope, 0.4)}{group}{tail}"

    def _sets(self, depth: int) -> str:
        item, scope = self._from(depth)
        names = [c.sql for c in scope if c.family in ("int", "text", "date", "bool")]
        one, two = self.rng.choice(names), self.rng.choice(names)
        group = self.rng.choice((
            f"ROLLUP ({one}, {two})", f"CUBE ({one}, {two})", f"GROUPING SETS (({one}), ({two}), ())",
        ))  # fmt: skip
        calls = ", ".join(f"{self._aggregate(scope)} AS o{i}" for i in range(2))
        return f"SELECT {one} AS k0, {two} AS k1, {calls} FROM {item}{self._where(scope, 0.3)} GROUP BY {group}"

    def _ranked(self, depth: int) -> str:
        item, scope = self._from(depth)
        total = ", ".join(c.sql for c in scope)
        key = self.rng.choice(scope)
        order = f"{self.rng.choice(scope).sql} {self.rng.choice(('', 'DESC', 'NULLS FIRST'))}, {total}"
        number = self.plain.of("int", scope, 0)
        call = self.rng.choice(("row_number()", "rank()", "dense_rank()", f"sum({number})", f"lag({number})",
                                "count(*)", f"first_value({number})", f"max({number})"))  # fmt: skip
        by = f"PARTITION BY {key.sql} " if self.rng.random() < 0.85 else ""
        frame = " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW" if self.rng.random() < 0.2 and "rank" not in call else ""
        last = self.rng.choice(("", "", " QUALIFY w <= 2", " QUALIFY w = 1"))
        shown = ", ".join(f"{c.sql} AS o{i}" for i, c in enumerate(self.rng.sample(scope, min(3, len(scope)))))
        window = f"{call} OVER ({by}ORDER BY {order}{frame})"
        return f"SELECT {shown}, {window} AS w FROM {item}{self._where(scope, 0.4)}{last}"

    def _joined(self, depth: int) -> str:
        body, scope = self._join(depth)
        shown = ", ".join(f"{c.sql} AS o{i}" for i, c in enumerate(self.rng.sample(scope, min(4, len(scope)))))
        return f"SELECT {shown} FROM {body}{self._where(scope, 0.5)}"

    def _united(self, depth: int) -> str:
        words = ("UNION ALL", "UNION", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL", "UNION ALL BY NAME")
        return f"{self._narrow(depth)} {self.rng.choice(words)} {self._narrow(depth)}"

    def _distinct(self, depth: int) -> str:
        item, scope = self._from(depth)
        chosen = ", ".join(f"{self.plain.any(scope, 1)[0]} AS o{i}" for i in range(2))
        return f"SELECT DISTINCT {chosen} FROM {item}{self._where(scope, 0.5)}"

    def _top(self, depth: int) -> str:
        item, scope = self._from(depth)
        chosen = [self.plain.any(scope, 1)[0] for _ in range(2)]
        listed = ", ".join(f"{e} AS o{i}" for i, e in enumerate(chosen))
        way = self.rng.choice(("DESC", "ASC NULLS FIRST", ""))
        tail = self.rng.choice(("LIMIT 1", "LIMIT 5", "LIMIT 3 OFFSET 2"))
        return f"SELECT {listed} FROM {item}{self._where(scope, 0.4)} ORDER BY o0 {way}, o1 {tail}"

    def _distinct_on(self, depth: int) -> str:
        item, scope = self._from(depth)
        key, total = self.rng.choice(scope).sql, ", ".join(c.sql for c in scope)
        shown = ", ".join(f"{c.sql} AS o{i}" for i, c in enumerate(scope[:4]))
        return f"SELECT DISTINCT ON ({key}) {shown} FROM {item}{self._where(scope, 0.4)} ORDER BY {key}, {total}"

    def _windowed(self, depth: int) -> str:
        table = self.rng.choice(self.tables)
        function = self.rng.choice((
            f"TUMBLE({table.name}, ts, INTERVAL 10 SECOND)",
            f"HOP({table.name}, ts, INTERVAL 5 SECOND, INTERVAL 10 SECOND)",
            f"HOP({table.name}, ts, INTERVAL 4 SECOND, INTERVAL 10 SECOND)",
        ))  # fmt: skip
        scope = [Column(name, KINDS[kind].family) for name, kind in table.columns]
        key = self.rng.choice(("", "b, ", "a, "))
        calls = ", ".join(f"{self._aggregate(scope)} AS o{i}" for i in range(2))
        body = f"FROM {function}{self._where(scope, 0.3)}"
        return f"SELECT {key}window_start, window_end, {calls} {body} GROUP BY {key}window_start, window_end"

    def _scalar(self, depth: int) -> str:
        item, scope = self._from(depth)
        table = self.rng.choice(self.tables)
        alias = self._alias()
        call = self.rng.choice((f"max({alias}.id)", "count(*)", f"sum({alias}.a)", f"min({alias}.b)"))
        link = f" WHERE {alias}.a = {self.plain.of('int', scope, 0)}" if self.rng.random() < 0.6 else ""
        number = self.plain.of("int", scope, 0)
        return f"SELECT {number} AS o0, (SELECT {call} FROM {table.name} AS {alias}{link}) AS s FROM {item}" + (
            self._where(scope, 0.4)
        )
