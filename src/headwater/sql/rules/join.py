"""JOIN: by pairs of rows where that serves, else by key or by the last resort that the kind of join allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pyarrow as pa
from sqlglot import exp

from headwater.sql.arguments import can_fail
from headwater.sql.bind import quote
from headwater.sql.expressions import (
    CannotDecompose,
    column,
    columns,
    conjunction,
    has_subquery,
    internal,
    substitute,
    tables,
    text,
)
from headwater.sql.join_plan import Join, JoinWord, Ranged
from headwater.sql.plan import Aggregate, Column, Node
from headwater.sql.planner import Planner, closing, named
from headwater.sql.rules.aggregate import distinct_node
from headwater.sql.rules.join_ceiling import ceiling_of
from headwater.sql.rules.join_condition import comparison_of
from headwater.sql.rules.join_keys import Keyed, Pair, keyed_sides, refs_of
from headwater.sql.rules.join_range import with_operands, with_range


@dataclass(frozen=True)
class JoinKind:
    """What stands before ON.

    Attributes:
        word: MARK is a semi join that keeps every row and says in a further column whether it has a match.
        asof: each row meets the nearest.
    """

    word: JoinWord
    asof: bool = False

    @property
    def left_only(self) -> bool:
        """The result has the columns of the left side alone."""
        return self.word in ("SEMI", "ANTI", "MARK")


def kind_of(join: exp.Join) -> JoinKind:
    """Reads the kind of a join.

    Raises:
        CannotDecompose: there is no such kind here.
    """
    side, kind, method = join.side.upper(), join.kind.upper(), join.method.upper()
    if method not in ("", "ASOF") or kind not in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"):
        raise CannotDecompose(f"{method} {kind} JOIN".strip())
    word = kind if kind in ("SEMI", "ANTI") else side or "INNER"
    return JoinKind(cast(JoinWord, word), method == "ASOF")


@dataclass(frozen=True)
class JoinParts:
    """A join of two nodes.

    Attributes:
        kind: its kind.
        left: left node.
        right: right node.
        pairs: equalities between the sides.
        rest: the other conjuncts of the ON clause, over the relation names.
        wanted: the columns of the result that are read; None for all.
        mark: name of the column of a MARK join that says whether a row has a match.
    """

    kind: JoinKind
    left: Node
    right: Node
    pairs: tuple[Pair, ...]
    rest: tuple[exp.Expr, ...] = ()
    wanted: frozenset[str] | None = None
    mark: str = ""


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
    if not isinstance(part, exp.EQ | exp.NullSafeEQ) or has_subquery(part):
        return None
    null_safe = isinstance(part, exp.NullSafeEQ)
    one, other = tables(part.this), tables(part.expression)
    if one and other and one <= left and other <= right:
        return Pair(part.this, part.expression, null_safe)
    if one and other and one <= right and other <= left:
        return Pair(part.expression, part.this, null_safe)
    return None


def join(planner: Planner, parts: JoinParts) -> Node:
    """Builds the node of a join by the first rule that applies."""
    for rule in JOIN_RULES:
        node = rule(planner, parts)
        if node is not None:
            return node
    raise CannotDecompose(f"{parts.kind.word} JOIN")


def pair_join(planner: Planner, parts: JoinParts) -> Node | None:
    """Every kind of join but ASOF: each change meets the rows of the other side that match."""
    word = parts.kind.word
    if parts.kind.asof or not planner.allows("join_pairs"):
        return None
    keyed = keyed_sides(planner, parts.left, parts.right, parts.pairs, parts.rest)
    if parts.kind.left_only and not keyed.rest:
        keyed = replace(keyed, right=_once(planner, keyed))
    keyed = with_operands(planner, keyed)
    keyed, ranged = with_range(planner, keyed) if planner.allows("join_ranges") else (keyed, None)
    left, right = keyed.left, keyed.right
    described = _described(planner, left, right)
    moved = dict(zip(refs_of(left, left.names) + refs_of(right, right.names), _columns(described), strict=True))
    residual = [substitute(part, moved) for part in keyed.rest]
    if word != "INNER" and any(can_fail(part, {c.name: c.type for c in described.columns}) for part in residual):
        # A pair on which the condition fails is no match: rows would show as if they had none.
        return None
    listed = _listed(parts, keyed)
    shown = tuple((0 if node is left else 1, name) for node, name in listed)
    if ranged is not None and len(ranged.bounds) == len(keyed.rest) == 1:
        alone = len({side for side, _ in shown}) == 1 and word in ("INNER", "SEMI", "ANTI", "MARK")
        ranged = replace(ranged, threshold=alone)
    outputs = tuple(named(node.columns, name) for node, name in listed)
    if word == "MARK":
        outputs = (*outputs, Column(parts.mark, "BOOLEAN", pa.bool_()))
    windows = {**({} if parts.kind.left_only else right.windows), **left.windows}
    made = Join(
            planner.name(), outputs, (left, right), _title(parts.kind, keyed, ranged),
            {name: window for name, window in windows.items() if name in {c.name for c in outputs}},
            left.open or right.open, "join_ranges" if ranged else "join_pairs", word=word, ranged=ranged,
            left_keys=keyed.left_keys, right_keys=keyed.right_keys, nulls_match=keyed.nulls_match, pairs=described,
            residual=conjunction(residual), needed=tuple(dict.fromkeys(c.name for c in columns(residual))),
            comparison=comparison_of(residual, described), shown=shown, condition=keyed.condition,
            closes=_closes(keyed), begins=planner.begins,
        )  # fmt: skip
    return planner.add(replace(made, ceiling=ceiling_of(planner, made)))


def _closes(keyed: Keyed) -> tuple[str, str]:
    """When the rows of each side can be forgotten: once the window is closed that both sides' keys belong to."""
    pairs = list(zip(keyed.left_keys, keyed.right_keys, strict=True))
    both = [(one, other) for one, other in pairs if one in keyed.left.windows and other in keyed.right.windows]
    same = [(one, other) for one, other in both if keyed.left.windows[one] == keyed.right.windows[other]]
    left = closing({one: keyed.left.windows[one] for one, _ in same})
    return left, closing({other: keyed.right.windows[other] for _, other in same})


def _title(kind: JoinKind, keyed: Keyed, ranged: Ranged | None) -> str:
    word = "join" if kind.word == "INNER" else f"{kind.word} JOIN"
    if ranged is not None:
        return f"{word} by threshold" if ranged.threshold else f"{word} by range"
    return f"{word} by key" if keyed.left_keys else f"{word} every row with every row"


def _once(planner: Planner, keyed: Keyed) -> Node:
    """The right side's keys, each once: how many rows have them does not matter where there is no other condition."""
    right = keyed.right
    if planner.emit == "final" and right.open:
        return right
    if isinstance(right, Aggregate) and set(right.keys) == set(keyed.right_keys):
        return right
    names = list(dict.fromkeys(keyed.right_keys))
    return distinct_node(planner, planner.linear(right, [(column(right.name, name), name) for name in names]))


def _described(planner: Planner, left: Node, right: Node) -> Node:
    """Describes pairs of rows: the columns of both sides, renamed where their names clash."""
    taken: set[str] = set()
    columns = []
    for found in (*left.columns, *right.columns):
        name = found.name
        while name.lower() in taken:
            name = f"{name}#"
        taken.add(name.lower())
        columns.append(replace(found, name=name))
    return planner.add(Node(planner.name(), tuple(columns), (), "pairs"))


def _columns(node: Node) -> list[exp.Column]:
    return [column(node.name, name) for name in node.names]


def _listed(parts: JoinParts, keyed: Keyed) -> list[tuple[Node, str]]:
    """The columns shown: those wanted, but for key columns that were made."""
    left, right = keyed.left, keyed.right
    given = [(left, name) for name in parts.left.names]
    taken = {name.lower() for name in parts.left.names}
    if not parts.kind.left_only:
        given += [(right, name) for name in parts.right.names if name.lower() not in taken]
    wanted = [(node, name) for node, name in given if parts.wanted is None or name in parts.wanted]
    return wanted or given[:1]


def recomputed_join(planner: Planner, parts: JoinParts) -> Node | None:
    """What pairs do not serve: the rows of each key that changed are joined again."""
    keyed = keyed_sides(planner, parts.left, parts.right, parts.pairs, parts.rest)
    left, right, kind = keyed.left, keyed.right, parts.kind
    word = f"ASOF {kind.word}" if kind.asof else kind.word
    refs = zip(refs_of(left, keyed.left_keys), refs_of(right, keyed.right_keys), strict=True)
    keys = [_output_key(kind, *pair) for pair in refs]
    listed = [f"{key} AS {quote(internal('j', i))}" for i, key in enumerate(keys)]
    # Keys of a join before this one are called so too, and nobody reads them.
    shown = [(node, name) for node, name in _listed(parts, keyed) if not name.startswith(internal("j", 0)[:-1])]
    listed += [f"{text(column(node.name, name))} AS {quote(name)}" for node, name in shown]
    body = f"FROM {quote(left.name)} {word} JOIN {quote(right.name)} ON {keyed.condition}"
    if kind.word == "MARK":
        listed.append(f"EXISTS(SELECT 1 FROM {quote(right.name)} WHERE {keyed.condition}) AS {quote(parts.mark)}")
        body = f"FROM {quote(left.name)}"
    why = f"{word} JOIN" if keys else f"{word} JOIN without an equality"
    windows = {**({} if kind.left_only else right.windows), **left.windows}
    sql = f"SELECT {', '.join(listed)} {body}"
    return planner.recompute((left, right), (keyed.left_keys, keyed.right_keys), sql, why, windows, "j")


JOIN_RULES: tuple[Callable[[Planner, JoinParts], Node | None], ...] = (pair_join, recomputed_join)


def _output_key(kind: JoinKind, left: str, right: str) -> str:
    if kind.word == "FULL":
        return f"coalesce({left}, {right})"
    return right if kind.word == "RIGHT" else left
