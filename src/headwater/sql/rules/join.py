"""JOIN: by key where the condition has equalities, else by the last resort that the kind of join allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import passed
from headwater.sql.expressions import (
    CannotDecompose,
    column,
    conjunction,
    has_subquery,
    internal,
    substitute,
    tables,
    text,
)
from headwater.sql.plan import Join, Node, WindowColumn
from headwater.sql.planner import Planner

Pair = tuple[exp.Expr, exp.Expr]


@dataclass(frozen=True)
class JoinKind:
    """What stands before ON.

    Attributes:
        word: INNER, LEFT, RIGHT, FULL, SEMI or ANTI.
        asof: each row meets the nearest.
    """

    word: str
    asof: bool = False

    @property
    def left_only(self) -> bool:
        """The result has the columns of the left side alone."""
        return self.word in ("SEMI", "ANTI")


def kind_of(join: exp.Join) -> JoinKind:
    """Reads the kind of a join.

    Raises:
        CannotDecompose: there is no such kind here.
    """
    side, kind, method = join.side.upper(), join.kind.upper(), join.method.upper()
    if method not in ("", "ASOF") or kind not in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"):
        raise CannotDecompose(f"{method} {kind} JOIN".strip())
    word = kind if kind in ("SEMI", "ANTI") else side or "INNER"
    return JoinKind(word, method == "ASOF")


@dataclass(frozen=True)
class JoinParts:
    """A join of two nodes.

    Attributes:
        kind: its kind.
        left: left node.
        right: right node.
        pairs: equalities, left expression and right expression.
        rest: the other conjuncts of the ON clause, over the relation names.
    """

    kind: JoinKind
    left: Node
    right: Node
    pairs: tuple[Pair, ...]
    rest: tuple[exp.Expr, ...] = ()


def split_equalities(parts: Sequence[exp.Expr], left: set[str], right: set[str]) -> tuple[list[Pair], list[exp.Expr]]:
    """Divides conjuncts into equalities between the sides and the rest."""
    pairs: list[Pair] = []
    rest: list[exp.Expr] = []
    for part in parts:
        pair = _equality(part, left, right)
        if pair is None:
            rest.append(part)
        else:
            pairs.append(pair)
    return pairs, rest


def _equality(part: exp.Expr, left: set[str], right: set[str]) -> Pair | None:
    if not isinstance(part, exp.EQ) or has_subquery(part):
        return None
    one, other = tables(part.this), tables(part.expression)
    if one and other and one <= left and other <= right:
        return part.this, part.expression
    if one and other and one <= right and other <= left:
        return part.expression, part.this
    return None


def join(planner: Planner, parts: JoinParts) -> Node:
    """Builds the node of a join by the first rule that applies."""
    for rule in JOIN_RULES:
        node = rule(planner, parts)
        if node is not None:
            return node
    raise CannotDecompose(f"{parts.kind.word} JOIN")


def inner_join(planner: Planner, parts: JoinParts) -> Node | None:
    """Inner joins, with or without a key: each change meets the other side's rows."""
    if parts.kind.word != "INNER" or parts.kind.asof or not planner.allows("join_pairs"):
        return None
    keyed = _keyed(planner, parts)
    left, right = keyed.left, keyed.right
    select = _select(left, right)
    listed = ", ".join(f"{expression} AS {quote(name)}" for expression, name in select)
    sql = f"SELECT {listed} FROM {quote(left.name)} JOIN {quote(right.name)} ON {keyed.condition}"
    title = "join by key" if keyed.left_keys else "join every row with every row"
    name = planner.name()
    return planner.add(
        Join(
            name, planner.describe(sql), (left, right), title, _windows(left, right), left.open or right.open,
            left_keys=keyed.left_keys, right_keys=keyed.right_keys, condition=keyed.condition,
            matching=keyed.matching, residual=_residual(name, keyed, select), select=select,
        )
    )  # fmt: skip


def _residual(name: str, keyed: Keyed, select: Sequence[tuple[str, str]]) -> str:
    """The conditions besides the keys, over the columns of the join, whose name is given."""
    own: dict[str, exp.Expr] = {expression: column(name, shown) for expression, shown in select}
    moved = [substitute(part, own) for part in keyed.rest]
    if any(tables(part) - {name} for part in moved):
        raise CannotDecompose("a join of columns of one name")
    return conjunction(moved) or "true"


def recomputed_join(planner: Planner, parts: JoinParts) -> Node | None:
    """Outer, semi, anti and AS OF joins: the rows of each key that changed are joined again."""
    keyed = _keyed(planner, parts)
    left, right = keyed.left, keyed.right
    word = f"ASOF {parts.kind.word}" if parts.kind.asof else parts.kind.word
    select = _select(left, right)[: len(left.names) if parts.kind.left_only else None]
    refs = zip(_refs(left, keyed.left_keys), _refs(right, keyed.right_keys), strict=True)
    keys = [_output_key(parts.kind, *pair) for pair in refs]
    listed = [f"{key} AS {quote(internal('j', i))}" for i, key in enumerate(keys)]
    listed += [f"{expression} AS {quote(name)}" for expression, name in select if not name.startswith("j#")]
    body = f"FROM {quote(left.name)} {word} JOIN {quote(right.name)} ON {keyed.condition}"
    why = f"{word} JOIN" if keys else f"{word} JOIN without an equality"
    windows = _windows(left, right) if not parts.kind.left_only else dict(left.windows)
    sql = f"SELECT {', '.join(listed)} {body}"
    return planner.recompute((left, right), (keyed.left_keys, keyed.right_keys), sql, why, windows, "j")


JOIN_RULES: tuple[Callable[[Planner, JoinParts], Node | None], ...] = (inner_join, recomputed_join)


@dataclass(frozen=True)
class Keyed:
    """A join whose keys are columns.

    Attributes:
        left: left node, with the key columns.
        right: right node, with the key columns.
        left_keys: names of the left key columns, which have the type in which the sides compare.
        right_keys: as many of the right.
        rest: what the keys do not say of the ON clause.
    """

    left: Node
    right: Node
    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    rest: tuple[exp.Expr, ...]

    @property
    def matching(self) -> str:
        """SQL: the keys are equal; "" without keys."""
        sides = zip(_refs(self.left, self.left_keys), _refs(self.right, self.right_keys), strict=True)
        return " AND ".join(f"({left} = {right})" for left, right in sides)

    @property
    def condition(self) -> str:
        """SQL: the ON clause."""
        return " AND ".join(part for part in (self.matching, conjunction(self.rest)) if part) or "true"


def _keyed(planner: Planner, parts: JoinParts) -> Keyed:
    """Makes the sides of equalities columns in the type in which they compare; those that do not compare so are no
    key."""
    left: list[tuple[exp.Expr, str]] = []
    right: list[tuple[exp.Expr, str]] = []
    rest: list[exp.Expr] = []
    relations = f"{quote(parts.left.name)}, {quote(parts.right.name)}"
    for ours, theirs in parts.pairs:
        try:
            type_, same = planner.common_type(ours, theirs, relations)
        except CannotDecompose:
            rest.append(exp.EQ(this=ours.copy(), expression=theirs.copy()))
            continue
        left.append((ours if same else exp.cast(ours.copy(), type_, dialect="duckdb"), internal("l", len(left))))
        right.append((theirs if same else exp.cast(theirs.copy(), type_, dialect="duckdb"), internal("r", len(right))))
    new_left, left_keys = key_columns(planner, parts.left, left)
    new_right, right_keys = key_columns(planner, parts.right, right)
    moved = {**passed(parts.left, new_left, parts.left.names), **passed(parts.right, new_right, parts.right.names)}
    return Keyed(new_left, new_right, left_keys, right_keys, tuple(substitute(e, moved) for e in (*rest, *parts.rest)))


def key_columns(planner: Planner, node: Node, keys: Sequence[tuple[exp.Expr, str]]) -> tuple[Node, tuple[str, ...]]:
    """A node that has the key expressions as columns, and their names."""
    extra = [(key, f"{name}.{node.name}") for key, name in keys if not isinstance(key, exp.Column)]
    if extra:
        named = {text(key): name for key, name in extra}
        wider = planner.linear(node, [*((column(node.name, n), n) for n in node.names), *extra])
        return wider, tuple(named.get(text(key), key.name) for key, _ in keys)
    return node, tuple(key.name for key, _ in keys)


def _select(left: Node, right: Node) -> tuple[tuple[str, str], ...]:
    taken = {name.lower() for name in left.names}
    ours = [(text(column(left.name, name)), name) for name in left.names]
    theirs = [(text(column(right.name, name)), name) for name in right.names if name.lower() not in taken]
    return (*ours, *theirs)


def _refs(node: Node, keys: Sequence[str]) -> list[str]:
    return [text(column(node.name, key)) for key in keys]


def _output_key(kind: JoinKind, left: str, right: str) -> str:
    if kind.word == "FULL":
        return f"coalesce({left}, {right})"
    return right if kind.word == "RIGHT" else left


def _windows(left: Node, right: Node) -> dict[str, WindowColumn]:
    return {**right.windows, **left.windows}
