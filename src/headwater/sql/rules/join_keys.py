"""The equalities of a join as key columns of its sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import passed
from headwater.sql.expressions import CannotDecompose, column, conjunction, internal, substitute, text
from headwater.sql.plan import Node
from headwater.sql.planner import Planner


@dataclass(frozen=True)
class Pair:
    """An equality between the sides of a join: two expressions, and whether NULL is equal to NULL in it."""

    left: exp.Expr
    right: exp.Expr
    null_safe: bool = False

    @property
    def condition(self) -> exp.Expr:
        """The equality as it was written."""
        kind = exp.NullSafeEQ if self.null_safe else exp.EQ
        return kind(this=self.left.copy(), expression=self.right.copy())


@dataclass(frozen=True)
class Keyed:
    """A join whose keys are columns.

    Attributes:
        left: left node, with the key columns.
        right: right node, with the key columns.
        left_keys: names of the left key columns, which have the type in which the sides compare.
        right_keys: as many of the right.
        nulls_match: for each key, whether NULL is equal to NULL.
        rest: what the keys do not say of the ON clause.
    """

    left: Node
    right: Node
    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    nulls_match: tuple[bool, ...]
    rest: tuple[exp.Expr, ...]

    @property
    def matching(self) -> str:
        """SQL: the keys are equal; "" without keys."""
        sides = zip(refs_of(self.left, self.left_keys), refs_of(self.right, self.right_keys), strict=True)
        words = ("IS NOT DISTINCT FROM" if both else "=" for both in self.nulls_match)
        return " AND ".join(f"({left} {word} {right})" for (left, right), word in zip(sides, words, strict=True))

    @property
    def condition(self) -> str:
        """SQL: the ON clause."""
        return " AND ".join(part for part in (self.matching, conjunction(self.rest)) if part) or "true"


def keyed_sides(planner: Planner, left: Node, right: Node, pairs: Sequence[Pair], rest: Sequence[exp.Expr]) -> Keyed:
    """Makes the sides of equalities columns in the type in which they compare; those that do not compare so are no
    key."""
    ours: list[tuple[exp.Expr, str]] = []
    theirs: list[tuple[exp.Expr, str]] = []
    nulls: list[bool] = []
    others: list[exp.Expr] = []
    relations = f"{quote(left.name)}, {quote(right.name)}"
    for pair in pairs:
        try:
            type_, same = planner.common_type(pair.left, pair.right, relations)
        except CannotDecompose:
            others.append(pair.condition)
            continue
        given = (pair.left, pair.right)
        one, other = given if same else (exp.cast(side.copy(), type_, dialect="duckdb") for side in given)
        ours.append((one, internal("l", len(ours))))
        theirs.append((other, internal("r", len(theirs))))
        nulls.append(pair.null_safe)
    new_left, left_keys = key_columns(planner, left, ours)
    new_right, right_keys = key_columns(planner, right, theirs)
    moved = {**passed(left, new_left, left.names), **passed(right, new_right, right.names)}
    kept = tuple(substitute(e, moved) for e in (*others, *rest))
    return Keyed(new_left, new_right, left_keys, right_keys, tuple(nulls), kept)


def key_columns(planner: Planner, node: Node, keys: Sequence[tuple[exp.Expr, str]]) -> tuple[Node, tuple[str, ...]]:
    """A node that has the key expressions as columns, and their names, each once: a column that is compared with two
    others is two key columns."""
    extra: list[tuple[exp.Expr, str]] = []
    names: list[str] = []
    for key, name in keys:
        own = isinstance(key, exp.Column) and key.name not in names
        names.append(key.name if own else f"{name}.{node.name}")
        if not own:
            extra.append((key.copy(), names[-1]))
    if extra:
        node = planner.linear(node, [*((column(node.name, n), n) for n in node.names), *extra])
    return node, tuple(names)


def refs_of(node: Node, names: Sequence[str]) -> list[str]:
    """References to columns of a node, in SQL."""
    return [text(column(node.name, name)) for name in names]
