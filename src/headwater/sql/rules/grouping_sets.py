"""GROUPING SETS, ROLLUP and CUBE: which keys each set groups by, and the groups of all sets as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, combinations, product

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import CannotDecompose, column, function_name, internal, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Node, Union

Keys = list[tuple[exp.Expr, str]]
_SETS = (exp.GroupingSets, exp.Rollup, exp.Cube)


def has_sets(group: exp.Group) -> bool:
    """Whether a GROUP BY groups by more than one set of keys."""
    if any(group.args.get(word) for word in ("grouping_sets", "cube", "rollup", "totals")):
        raise CannotDecompose("GROUPING SETS")
    return any(isinstance(item, _SETS) for item in group.expressions)


def sets_of(group: exp.Group) -> list[list[exp.Expr]]:
    """The sets that a GROUP BY stands for, each with its keys."""
    return [list(chain(*parts)) for parts in product(*map(_sets, group.expressions))]


def _sets(item: exp.Expr) -> list[list[exp.Expr]]:
    """The sets that one item of a GROUP BY stands for."""
    if isinstance(item, exp.GroupingSets):
        return [found for part in item.expressions for found in _sets(part)]
    if isinstance(item, exp.Rollup):
        parts = [_keys(part) for part in item.expressions]
        return [list(chain(*parts[:count])) for count in range(len(parts), -1, -1)]
    if isinstance(item, exp.Cube):
        parts = [_keys(part) for part in item.expressions]
        return [list(chain(*some)) for count in range(len(parts) + 1) for some in combinations(parts, count)]
    return [_keys(item)]


def _keys(part: exp.Expr) -> list[exp.Expr]:
    return list(part.expressions) if isinstance(part, exp.Tuple) else [part.unnest()]


def tells_sets(call: exp.Expr) -> bool:
    """Whether a call tells by which keys its row was grouped."""
    return isinstance(call, exp.Grouping | exp.GroupingId) or function_name(call) in ("grouping", "grouping_id")


def union_of_sets(
    block: Block, keys: Keys, calls: Sequence[exp.Expr], group: Callable[[Block, Keys, list[exp.Expr]], Node]
) -> Node:
    """The groups of all sets of a block: a column for each of `keys`, NULL where the set does not have it, and one for
    each of `calls`.

    Args:
        calls: named `internal("a", i)`.
        group: makes the node of one grouping, which has the keys given and the calls, likewise named.
    """
    planner, source = block.planner, block.node
    plain = [call for call in calls if not tells_sets(call)]
    types = planner.binder.types_of([text(key) for key, _ in keys], quote(source.name)) if keys else []
    told = {text(call): str(i) for i, call in enumerate(calls) if tells_sets(call)}
    nodes = []
    for chosen in block.sets or []:
        own = [(key, name) for key, name in keys if text(key) in {text(part) for part in chosen}]
        # Over no keys there is one row, whatever is asked of it.
        asked: list[exp.Expr] = plain if plain or own else [exp.Count(this=exp.Star(), big_int=True)]
        node = group(replace(block, filters=list(block.filters), sets=None), own, asked)
        names = {name for _, name in own}
        selected: Keys = [
            (column(node.name, name) if name in names else _null(type_), name)
            for (_, name), type_ in zip(keys, types, strict=True)
        ]
        number = 0
        for i, call in enumerate(calls):
            if text(call) in told:
                value: exp.Expr = _grouping(call, {text(key) for key, _ in own})
            else:
                value, number = column(node.name, internal("a", number)), number + 1
            selected.append((value, internal("a", i)))
        nodes.append(planner.linear(node, selected))
    opened = any(node.open for node in nodes)
    return planner.add(Union(planner.name(), nodes[0].columns, tuple(nodes), "union all of grouping sets", {}, opened))


def _null(type_: str) -> exp.Expr:
    return exp.cast(exp.null(), type_, dialect=DIALECT)


def _grouping(call: exp.Expr, own: set[str]) -> exp.Expr:
    """grouping(a, b, ...) of a set: a bit for each argument, the first the highest, that is 1 if it is not a key."""
    bits = "".join("0" if text(argument) in own else "1" for argument in call.iter_expressions())
    return exp.cast(exp.Literal.number(int(bits or "0", 2)), "BIGINT", dialect=DIALECT)
