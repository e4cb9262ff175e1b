"""Random expressions by family of type, none of which can fail on a row and all of which have one answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.data import KINDS


@dataclass(frozen=True)
class Column:
    """A column in scope: how it is written, and its family."""

    sql: str
    family: str


FAMILIES = tuple(dict.fromkeys(kind.family for kind in KINDS.values()))
ORDERED = tuple(family for family in FAMILIES if family != "list")


class Expressions:
    """Writes expressions over the columns of a scope.

    Args:
        rng: the source of chance.
        subquery: writes a condition with a subquery over a scope; None where none may stand.
    """

    def __init__(self, rng: random.Random, subquery: Callable[[list[Column]], str] | None = None) -> None:
        self.rng, self._subquery = rng, subquery

    def of(self, family: str, scope: list[Column], depth: int = 2) -> str:
        """An expression of a family."""
        own = [c.sql for c in scope if c.family == family]
        if own and (depth <= 0 or self.rng.random() < 0.5):
            return self.rng.choice(own)
        if depth <= 0:
            return self._literal(family)
        made = getattr(self, f"_{family}", None)
        if made is None or self.rng.random() < 0.1:
            return own[0] if own else self._literal(family)
        return str(made(scope, depth - 1))

    def any(self, scope: list[Column], depth: int = 2) -> tuple[str, str]:
        """An expression of any family that the scope has, and the family."""
        family = self.rng.choice([c.family for c in scope] or ["int"])
        return self.of(family, scope, depth), family

    def condition(self, scope: list[Column], depth: int = 2) -> str:
        """A condition."""
        if self._subquery is not None and self.rng.random() < 0.15:
            return self._subquery(scope)
        return self._bool(scope, depth)

    def _literal(self, family: str) -> str:
        return {
            "int": self.rng.choice(("0", "1", "2", "NULL::INTEGER")), "big": "1::BIGINT",
            "decimal": "1.25::DECIMAL(10,2)",
            "float": "0.5::DOUBLE", "wild": "'nan'::DOUBLE", "text": self.rng.choice(("'x'", "''", "NULL::VARCHAR")),
            "bool": self.rng.choice(("true", "false")), "date": "DATE '2024-05-02'",
            "time": "TIMESTAMP '2024-05-01 12:00:10'", "zoned": "TIMESTAMPTZ '2024-05-01 12:00:10+00'",
            "list": "[1, 2]::INTEGER[]",
        }[family]  # fmt: skip

    def _int(self, scope: list[Column], depth: int) -> str:
        of = self.of
        return self.rng.choice((
            lambda: f"({of('int', scope, depth)} + 1)", lambda: f"(({of('int', scope, depth)}) % 3)",
            lambda: f"coalesce({of('int', scope, depth)}, 0)", lambda: f"length({of('text', scope, depth)})::INTEGER",
            lambda: f"CASE WHEN {self._bool(scope, depth)} THEN {of('int', scope, depth)} ELSE 7 END",
            lambda: f"CASE {of('text', scope, depth)} WHEN 'x' THEN 1 WHEN 'y' THEN 2 END",
            lambda: f"extract('second' FROM {of('time', scope, depth)})::INTEGER",
            lambda: f"greatest({of('int', scope, depth)}, 1)", lambda: f"nullif({of('int', scope, depth)}, 1)",
            lambda: f"len({of('list', scope, depth)})::INTEGER",
            lambda: f"hour({of('time', scope, depth)})::INTEGER",
            lambda: (lambda t: f"(length({t}) - length(replace({t}, 'x', '')))::INTEGER")(of("text", scope, 0)),
        ))()  # fmt: skip

    def _decimal(self, scope: list[Column], depth: int) -> str:
        return f"CASE WHEN {self._bool(scope, depth)} THEN {self.of('decimal', scope, 0)} END"

    def _float(self, scope: list[Column], depth: int) -> str:
        return self.rng.choice((
            f"(-{self.of('float', scope, depth)})", f"coalesce({self.of('float', scope, depth)}, 0.5)",
            f"({self.of('int', scope, depth)} / 2)",
        ))  # fmt: skip

    def _text(self, scope: list[Column], depth: int) -> str:
        return self.rng.choice((
            f"upper({self.of('text', scope, depth)})", f"({self.of('text', scope, depth)} || 'q')",
            f"CAST({self.of('int', scope, depth)} AS VARCHAR)", f"coalesce({self.of('text', scope, depth)}, 'none')",
            f"CASE WHEN {self._bool(scope, depth)} THEN {self.of('text', scope, depth)} ELSE 'else' END",
            f"left({self.of('text', scope, depth)}, 1)", f"strftime({self.of('time', scope, depth)}, '%H:%M')",
            f"replace(lower({self.of('text', scope, depth)}), 'x', {self.of('text', scope, 0)})",
        ))  # fmt: skip

    def _date(self, scope: list[Column], depth: int) -> str:
        return f"CAST({self.of('time', scope, depth)} AS DATE)"

    def _time(self, scope: list[Column], depth: int) -> str:
        return self.rng.choice((
            f"date_trunc('minute', {self.of('time', scope, depth)})",
            f"({self.of('time', scope, depth)} + INTERVAL 5 SECOND)",
        ))  # fmt: skip

    def _bool(self, scope: list[Column], depth: int = 1) -> str:
        below = depth - 1
        family = self.rng.choice([c.family for c in scope if c.family != "list"] or ["int"])
        one, other = self.of(family, scope, below), self.of(family, scope, below)
        choice = self.rng.random()
        if choice < 0.35:
            word = self.rng.choice(("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"))
            return f"({one} {word} {other})"
        if choice < 0.5:
            return f"({one} IS {self.rng.choice(('', 'NOT '))}NULL)"
        if choice < 0.6:
            return f"({self.of('text', scope, below)} {self.rng.choice(('LIKE', 'NOT LIKE', 'ILIKE'))} '%x%')"
        if choice < 0.7:
            return f"({self.of('int', scope, below)} {self.rng.choice(('IN', 'NOT IN'))} (0, 2, 70000))"
        if choice < 0.78:
            return f"({self.of('int', scope, below)} BETWEEN 0 AND 2)"
        if depth <= 0:
            return f"({one} IS NOT NULL)"
        if choice < 0.85:
            return f"(NOT {self._bool(scope, below)})"
        word = self.rng.choice(("AND", "OR"))
        return f"({self._bool(scope, below)} {word} {self._bool(scope, below)})"
