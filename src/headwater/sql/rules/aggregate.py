"""GROUP BY: accumulators where every aggregate has one, else the recompute of the groups that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from headwater.sql.arguments import Arguments
from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import CannotDecompose, column, columns, has_subquery, internal, substitute, text
from headwater.sql.plan import Accumulator, Aggregate, Gate, Hop, Node
from headwater.sql.planner import Planner, Selected, carried_windows, closing
from headwater.sql.rules.accumulator import Accumulators
from headwater.sql.rules.grouping_sets import union_of_sets
from headwater.sql.rules.hop import on_last_windows
from headwater.sql.rules.session_aggregate import session_entries
from headwater.sql.rules.time_key import Key, cut_keys


@dataclass(frozen=True)
class Grouping:
    """A GROUP BY to be planned.

    Attributes:
        block: over the rows to group.
        keys: key expressions and the names they get.
        calls: the distinct aggregate calls.
        cut: the keys, where some can be grouped by as a shorter time; else none.
    """

    block: Block
    keys: list[tuple[exp.Expr, str]]
    calls: list[exp.Expr]
    cut: tuple[Key, ...] = ()


def aggregate(block: Block) -> None:
    """Replaces the rows of the block by its groups; does nothing without GROUP BY and aggregates."""
    if block.group is None:
        return
    if any(has_subquery(e) for e in block.remaining()):
        raise CannotDecompose("a subquery in the SELECT list or HAVING")
    keys = _named_keys(block.group)
    found = {text(call): call for e in block.remaining() for call in block.planner.aggregates.find(e)}
    grouping = Grouping(block, keys, list(found.values()))
    if block.sets is None:
        grouping = replace(grouping, cut=cut_keys(block, keys))
        _replace(grouping, _grouped(grouping))
        return
    node = union_of_sets(block, keys, grouping.calls, lambda *parts: _grouped(Grouping(*parts)))
    block.sets, block.filters = None, []
    _replace(grouping, node)
    block.key = None


def _grouped(grouping: Grouping) -> Node:
    """The node of a grouping, by the first rule that has one."""
    return next(node for rule in AGGREGATE_RULES if (node := rule(grouping)) is not None)


def _named_keys(group: Sequence[exp.Expr]) -> list[tuple[exp.Expr, str]]:
    distinct = {text(key): key for key in group}
    return [(key, internal("k", i)) for i, key in enumerate(distinct.values())]


def _replace(grouping: Grouping, node: Node) -> None:
    block = grouping.block
    mapping: dict[str, exp.Expr] = {text(key): column(node.name, name) for key, name in grouping.keys}
    if _is_cut(node):
        mapping |= {text(key.written): key.shown(node) for key in grouping.cut}
    mapping |= {text(call): column(node.name, internal("a", i)) for i, call in enumerate(grouping.calls)}
    block.key = [key.copy() for key, _ in grouping.keys] if grouping.keys else None
    block.group = None
    block.move(node, mapping)
    block.filters = block.having
    block.having = []


def _is_cut(node: Node) -> bool:
    source = node.inputs[0] if isinstance(node, Gate) else node
    return isinstance(source, Aggregate) and source.cut


def accumulated(grouping: Grouping) -> Node | None:
    """Calls that can all be kept up to date by their accumulators. If one cannot, the group's rows are aggregated again
    anyway, and the others at the same time cost next to nothing."""
    block = grouping.block
    if not block.planner.allows("accumulators"):
        return None
    calls = Accumulators(block.planner, block.node)
    accumulators: list[Accumulator] = []
    for i, call in enumerate(grouping.calls):
        found = calls.of(call, internal("a", i))
        if found is None:
            return None
        accumulators.append(found)
    keys = [(key.computed, key.name) for key in grouping.cut] or grouping.keys
    types = _types_sql(replace(grouping, keys=keys))
    cut = bool(grouping.cut)
    last = on_last_windows(block.planner, block.node, keys, calls.columns, block.filters)
    if last is not None:
        block.filters = []
        return aggregate_node(block.planner, last[0], keys, accumulators, types, last[1], cut=cut)
    source = block.project([*keys, *calls.columns])
    return aggregate_node(block.planner, source, keys, accumulators, types, cut=cut)


def aggregate_node(
    planner: Planner, source: Node, keys: Selected, accumulators: Sequence[Accumulator], sql: str,
    hop: Hop | None = None, *, cut: bool = False,
) -> Node:  # fmt: skip
    """An `Aggregate` over `source`, which has the key and argument columns; `sql` gives the types."""
    columns = planner.describe(sql)
    names = tuple(name for _, name in keys)
    windows = {name: source.windows[name] for name in names if name in source.windows}
    title = "distinct" if names and not accumulators else "aggregate by key" if names else "aggregate all"
    node = Aggregate(
        planner.name(), columns, (source,), title, windows, source.open,
        fast="accumulators" if accumulators else "",
        keys=names, accumulators=tuple(accumulators), closes=closing(windows), hop=hop, cut=cut,
        partial=planner.allows("partial_aggregates"),
    )  # fmt: skip
    return planner.gated(planner.add(node))


def _types_sql(grouping: Grouping) -> str:
    """The GROUP BY as it was, over the rows before projection: what DuckDB says of its types holds."""
    listed = [f"{text(key)} AS {quote(name)}" for key, name in grouping.keys]
    listed += [f"{text(call)} AS {quote(internal('a', i))}" for i, call in enumerate(grouping.calls)]
    by = ", ".join(text(key) for key, _ in grouping.keys)
    node = grouping.block.node.name
    return f"SELECT {', '.join(listed) or 'true'} FROM {quote(node)}{f' GROUP BY {by}' if by else ''}"


def recomputed(grouping: Grouping) -> Node | None:
    """Any aggregate: the rows of each group that changed are aggregated again."""
    block = grouping.block
    old = block.node
    arguments = Arguments(block.planner, old, {text(key): name for key, name in grouping.keys})
    calls = [_settled(arguments.rewritten(call)) for call in grouping.calls]
    plain = [c for c in columns(calls) if c.table == old.name and c.name in old.names]
    made = [*grouping.keys, *arguments.columns]
    source = block.project([*made, *((c, c.name) for c in plain)])
    inner = {text(column(old.name, name)): column(source.name, name) for name in source.names}
    keys = [text(column(source.name, name)) for _, name in grouping.keys]
    listed = [f"{key} AS {quote(name)}" for key, (_, name) in zip(keys, grouping.keys, strict=True)]
    listed += [f"{text(substitute(call, inner))} AS {quote(internal('a', i))}" for i, call in enumerate(calls)]
    by = f" GROUP BY {', '.join(keys)}" if keys else ""
    why = ", ".join(text(call)[:40] for call in grouping.calls)
    windows = carried_windows(old, grouping.keys)
    names = tuple(name for _, name in grouping.keys)
    sql = f"SELECT {', '.join(listed)} FROM {quote(source.name)}{by}"
    return block.planner.gated(block.planner.recompute((source,), (names,), sql, why, windows, output_keys=names))


def _settled(call: exp.Expr) -> exp.Expr:
    """Has mode choose the least of equally frequent values: DuckDB chooses another from run to run."""
    for mode in call.find_all(exp.Mode):
        if not isinstance(mode.this, exp.Order | exp.Distinct):
            by = exp.Ordered(this=mode.this.copy(), nulls_first=False)
            mode.set("this", exp.Order(this=mode.this, expressions=[by]))
    return call


def sessions(grouping: Grouping) -> Node | None:
    """SESSION and its own grouping in one."""
    calls = [(call, internal("a", i)) for i, call in enumerate(grouping.calls)]
    return session_entries(grouping.block, grouping.keys, calls, _types_sql(grouping))


AGGREGATE_RULES: tuple[Callable[[Grouping], Node | None], ...] = (sessions, accumulated, recomputed)


def distinct_node(planner: Planner, node: Node) -> Node:
    """The distinct rows of a node."""
    keys = [(column(node.name, name), name) for name in node.names]
    return aggregate_node(planner, node, keys, (), f"SELECT * FROM {quote(node.name)}")
