"""FROM, JOIN and WHERE: one node for all the rows that the rest of the SELECT works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from headwater.sql.block import Block, passed
from headwater.sql.expressions import (
    CannotDecompose,
    column,
    columns,
    conjuncts,
    has_subquery,
    internal,
    substitute,
    substitute_order,
    tables,
    text,
)
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Node
from headwater.sql.planner import Planner
from headwater.sql.rules.from_rows import is_function, is_lateral, is_per_row, with_named_rows
from headwater.sql.rules.grouping_sets import has_sets, sets_of
from headwater.sql.rules.join import JoinKind, JoinParts, join, kind_of, split_equalities
from headwater.sql.rules.join_keys import Pair
from headwater.sql.rules.lateral import lateral_rows
from headwater.sql.rules.source import Compile, Environment, constant, localise, renamed, resolve_table
from headwater.sql.rules.subquery import restrict
from headwater.sql.rules.subquery_inner import Scope


@dataclass
class FromClause:
    """A qualified SELECT and the nodes behind its FROM items.

    Attributes:
        planner: makes nodes.
        select: qualified: every column names its table.
        sources: FROM items by alias, in order; None for an UNNEST.
        joins: the JOINs, one for each source but the first.
        environment: what relation names inside subqueries stand for.
        compile: compiles subqueries.
        mapping: what the qualified columns have become so far.
        read: what is computed over the sources once their own conditions are applied.
        asked: the conditions with a subquery.
    """

    planner: Planner
    select: exp.Select
    sources: dict[str, Node | None]
    joins: list[exp.Join]
    environment: Environment
    compile: Compile
    mapping: dict[str, exp.Expr] = field(default_factory=dict)
    read: list[exp.Expr] = field(default_factory=list)
    asked: list[exp.Expr] = field(default_factory=list)


def begin(planner: Planner, select: exp.Select, environment: Environment, compile_: Compile) -> FromClause:
    """Resolves and qualifies the names of one SELECT.

    Raises:
        CannotDecompose: a name or a FROM item has no rule.
    """
    copy = with_named_rows(planner, select, environment)
    items = [copy.args["from_"].this, *(found.this for found in copy.args.get("joins") or [])]
    resolved = [_resolve(planner, item, environment, compile_, i) for i, item in enumerate(items)]
    known = {**environment, **{node.name: node for _, node in resolved if node is not None}}
    for item, (alias, node) in zip(items, resolved, strict=True):
        if node is not None:
            item.replace(exp.table_(node.name, quoted=True, alias=exp.to_identifier(alias, quoted=True)))
    local, used = localise(planner, copy, known)
    qualified = _qualify(local, [*used.values()])
    sources = {alias.lower(): node for alias, node in resolved}
    if len(sources) != len(resolved):
        raise CannotDecompose("two FROM items of one name")
    known.update(used)
    _part_aliases(qualified, set(sources))
    return FromClause(planner, qualified, sources, list(qualified.args.get("joins") or []), known, compile_)


def _resolve(
    planner: Planner, item: exp.Expr, environment: Environment, compile_: Compile, index: int
) -> tuple[str, Node | None]:
    """A FROM item's alias and node; no node for what makes rows of a row, which stays where it is."""
    alias = item.args.get("alias")
    if index and (is_per_row(item) or is_lateral(item)):
        return item.alias, None
    if is_function(item) or isinstance(item, exp.Unnest):
        return item.alias_or_name or f"_from{index}", constant(planner, f"SELECT * FROM {text(item)}")
    if isinstance(item, exp.Table):
        node = renamed(planner, resolve_table(planner, item, environment), alias)
        return item.alias or item.this.name, node
    if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Query) and not item.args.get("pivots"):
        return item.alias or f"_from{index}", renamed(planner, compile_(planner, item.this, environment), alias)
    if isinstance(item, exp.Values):
        return item.alias or f"_from{index}", constant(planner, f"SELECT * FROM {text(item)}")
    raise CannotDecompose(f"{item.key.upper()} in FROM")


def _part_aliases(select: exp.Select, outer: set[str]) -> None:
    """Renames FROM items of subqueries that have an alias of the outer query: inside they hide the outer one."""
    for number, inner in enumerate(query for query in select.find_all(exp.Select) if query is not select):
        sources = [inner.args.get("from_"), *(inner.args.get("joins") or [])]
        hiding = {source.this.alias_or_name for source in sources if source is not None} & outer
        for node in inner.walk():
            if isinstance(node, exp.Column) and node.table in hiding:
                node.set("table", exp.to_identifier(f"{node.table}.{number}", quoted=True))
            elif isinstance(node, exp.TableAlias) and node.name in hiding:
                node.set("this", exp.to_identifier(f"{node.name}.{number}", quoted=True))


def _qualify(select: exp.Query, nodes: Sequence[Node]) -> exp.Select:
    schema: dict[str, object] = {node.name: dict.fromkeys(node.names, "unknown") for node in nodes}
    try:
        qualified = qualify(select, schema=schema, dialect=DIALECT, validate_qualify_columns=False)
    except SqlglotError as error:
        raise CannotDecompose(f"its names are not plain: {error}") from error
    if not isinstance(qualified, exp.Select):
        raise CannotDecompose("it is no plain SELECT")
    outputs = {e.alias_or_name.lower() for e in qualified.expressions}
    for found in qualified.find_all(exp.Column):
        if not found.table and found.name.lower() not in outputs:
            raise CannotDecompose(f"the name {text(found)}")
    return qualified


def build(clause: FromClause) -> tuple[Node, list[exp.Expr]]:
    """Joins the sources and applies WHERE; returns the node and the conditions still to be applied to it.

    `clause.mapping` then tells what became of each column.
    """
    where = [*conjuncts(clause.select.args.get("where")), *_asked_in_inner_joins(clause)]
    clause.asked = [part for part in where if has_subquery(part)]
    plain = [part for part in where if not has_subquery(part)]
    node, waiting = _single(clause, plain) if len(clause.sources) == 1 else _join_all(clause, plain)
    waiting = [substitute(part, clause.mapping) for part in waiting]
    for part in (part for part in where if has_subquery(part)):
        node = clause.planner.linear(node, [(column(node.name, n), n) for n in node.names], waiting)
        _follow(clause, node)
        node = restrict(clause.planner, node, substitute(part, clause.mapping), clause.environment, clause.compile)
        _follow(clause, node)
        waiting = []
    return node, waiting


def _asked_in_inner_joins(clause: FromClause) -> list[exp.Expr]:
    """Takes conditions with a subquery out of ON where they may as well stand in WHERE."""
    if any(_kind(found).word != "INNER" or _kind(found).asof for found in clause.joins):
        return []
    taken: list[exp.Expr] = []
    for found in clause.joins:
        parts = conjuncts(found.args.get("on"))
        asked = [part for part in parts if has_subquery(part)]
        if asked:
            rest = [part.copy() for part in parts if part not in asked]
            found.set("on", exp.and_(*rest, dialect="duckdb") if rest else None)
            taken += asked
    return taken


def _follow(clause: FromClause, node: Node) -> None:
    """Points the mapping at a node that passes every column on."""
    clause.mapping = {key: column(node.name, found.name) for key, found in clause.mapping.items()}


def _single(clause: FromClause, where: list[exp.Expr]) -> tuple[Node, list[exp.Expr]]:
    ((alias, node),) = clause.sources.items()
    if node is None:
        raise CannotDecompose("UNNEST without a table")
    clause.mapping = {text(column(alias, name.lower())): column(node.name, name) for name in node.names}
    return node, where


def _join_all(clause: FromClause, where: list[exp.Expr]) -> tuple[Node, list[exp.Expr]]:
    """Joins from the left; conditions go down to the sources and into inner joins where that changes nothing."""
    aliases = list(clause.sources)
    kinds = [_kind(found) for found in clause.joins]
    inner = all(kind.word == "INNER" and not kind.asof for kind in kinds)
    ons = [conjuncts(found.args.get("on")) for found in clause.joins]
    pool = [*where, *(part for on in ons for part in on)] if inner else where
    tables_only = [alias for alias in aliases if clause.sources[alias] is not None]
    safe = [alias for alias in tables_only if not _nullable(aliases.index(alias), kinds)]
    pushed = {alias: [part for part in pool if tables(part) == {alias}] for alias in safe}
    rest = [part for part in pool if not any(part in parts for parts in pushed.values())]
    later = _after_joins(clause)
    if inner:
        ons = [[] for _ in clause.joins]
    own = {alias: _own_part(alias, kind, on) for alias, kind, on in zip(aliases[1:], kinds, ons, strict=True)}
    clause.read = [*later, *rest, *(part for alias, on in zip(aliases[1:], ons, strict=True) for part in on
                                    if part not in own[alias])]  # fmt: skip
    node = _prepare(clause, aliases[0], pushed.get(aliases[0], []))
    seen = {aliases[0]}
    for number, (alias, found, kind) in enumerate(zip(aliases[1:], clause.joins, kinds, strict=True)):
        fitting = [part for part in rest if inner and alias in tables(part) and tables(part) <= seen | {alias}]
        rest = [part for part in rest if part not in fitting]
        on = fitting if inner else [part for part in ons[number] if part not in own[alias]]
        wanted = [*later, *rest, *(part for parts in ons[number + 1 :] for part in parts)]
        one = OneJoin(alias, found, kind, on, [*pushed.get(alias, []), *own[alias]], wanted)
        node = _join_one(clause, node, seen, one)
        seen.add(alias)
    return node, rest


def _after_joins(clause: FromClause) -> list[exp.Expr]:
    """The parts of the SELECT that are computed over the joined rows, whatever the joins leave over."""
    parts = [clause.select.args[name] for name in clause.select.args if name not in ("from_", "joins", "where")]
    flat = [part for found in parts for part in (found if isinstance(found, list) else [found])]
    joined = zip(list(clause.sources.values())[1:], clause.joins, strict=True)
    unnested = [found.this for node, found in joined if node is None]
    return [part for part in [*flat, *clause.asked, *unnested] if isinstance(part, exp.Expr)]


def _own_part(alias: str, kind: JoinKind, on: list[exp.Expr]) -> list[exp.Expr]:
    """What of an ON clause may as well be applied to the right side before the join."""
    if kind.word not in ("INNER", "LEFT", "SEMI", "ANTI") or kind.asof:
        return []
    return [part for part in on if tables(part) == {alias} and not has_subquery(part)]


@dataclass(frozen=True)
class OneJoin:
    """One JOIN of a FROM clause.

    Attributes:
        alias: the FROM item joined.
        found: as it was written.
        kind: its kind.
        on: what is to be evaluated over pairs.
        pushed: conditions over the item alone.
        wanted: expressions that are computed over the result.
    """

    alias: str
    found: exp.Join
    kind: JoinKind
    on: list[exp.Expr]
    pushed: list[exp.Expr]
    wanted: list[exp.Expr]


def _kind(found: exp.Join) -> JoinKind:
    if found.args.get("using"):
        raise CannotDecompose("USING")
    return kind_of(found)


def _nullable(index: int, kinds: Sequence[JoinKind]) -> bool:
    """Whether a source's columns may be made up of NULLs by an outer join, or are gone after it."""
    own = kinds[index - 1].word in ("LEFT", "FULL", "ANTI", "SEMI") if index else False
    return own or any(kind.word in ("RIGHT", "FULL") or kind.asof for kind in kinds[max(index - 1, 0) :])


def _join_one(clause: FromClause, node: Node, seen: set[str], one: OneJoin) -> Node:
    if is_lateral(one.found.this):
        return _lateral(clause, node, one)
    if clause.sources[one.alias] is None:
        return _unnest(clause, node, one.found, one.kind, [*one.on, *one.pushed])
    right = _prepare(clause, one.alias, one.pushed)
    left_map = {key: column(node.name, ref.name) for key, ref in clause.mapping.items() if ref.name in node.names}
    mapping = {**left_map, **{key: ref for key, ref in clause.mapping.items() if key not in left_map}}
    pairs, rest = split_equalities(one.on, seen, {one.alias})
    if any(has_subquery(part) for part in rest):
        raise CannotDecompose("a subquery in ON")
    pairs = [Pair(substitute(p.left, mapping), substitute(p.right, mapping), p.null_safe) for p in pairs]
    wanted = frozenset(mapping[text(c)].name for c in columns(one.wanted) if text(c) in mapping)
    parts = JoinParts(one.kind, node, right, tuple(pairs), tuple(substitute(part, mapping) for part in rest), wanted)
    joined = join(clause.planner, parts)
    clause.mapping = {key: column(joined.name, ref.name) for key, ref in mapping.items() if ref.name in joined.names}
    return joined


def _lateral(clause: FromClause, node: Node, one: OneJoin) -> Node:
    """`FROM t, LATERAL (SELECT ... FROM u WHERE u.a = t.a) AS x`."""
    on = [part for part in [*one.on, *one.pushed] if text(part).upper() != "TRUE"]
    if one.kind.word not in ("INNER", "LEFT") or (on and one.kind.word == "LEFT"):
        raise CannotDecompose("a LATERAL subquery joined on a condition")
    item = one.found.this
    given = [identifier.name.lower() for identifier in item.args["alias"].args["columns"]]
    names = [f"{one.alias}.{name}" for name in given]
    scope = Scope(clause.planner, clause.environment, clause.compile)
    query = cast(exp.Query, substitute(item.this, clause.mapping))
    wider = lateral_rows(scope, node, query, names, padded=one.kind.word == "LEFT")
    _follow(clause, wider)
    shown = zip(given, names, strict=True)
    clause.mapping |= {text(column(one.alias, short)): column(wider.name, name) for short, name in shown}
    conditions = [substitute(part, clause.mapping) for part in on]
    kept = clause.planner.linear(wider, [(column(wider.name, name), name) for name in wider.names], conditions)
    _follow(clause, kept)
    return kept


def _unnest(clause: FromClause, node: Node, found: exp.Join, kind: JoinKind, on: list[exp.Expr]) -> Node:
    """`FROM t, UNNEST(t.items) AS u(item)`, range(t.n), LATERAL (SELECT ...): rows of one row, so linear."""
    on = [part for part in on if text(part).upper() != "TRUE"]
    if kind.word not in ("INNER", "LEFT") or (on and kind.word == "LEFT"):
        raise CannotDecompose("an UNNEST joined on a condition")
    item = found.this
    alias = item.alias.lower()
    names = [identifier.name.lower() for identifier in item.args["alias"].args["columns"]]
    given, argument = _argument_first(clause, node, item)
    selected: list[tuple[exp.Expr, str]] = [(column(given.name, n), n) for n in node.names]
    selected += [(column(alias, name), f"{alias}.{name}") for name in names]
    word = "LEFT JOIN" if kind.word == "LEFT" else "CROSS JOIN"
    after = " ON true" if kind.word == "LEFT" else ""
    lateral = f" {word} {text(argument)}{after}"
    wider = clause.planner.linear(given, selected, [substitute(part, clause.mapping) for part in on], lateral)
    clause.mapping = {key: column(wider.name, ref.name) for key, ref in clause.mapping.items()}
    clause.mapping |= {text(column(alias, name)): column(wider.name, f"{alias}.{name}") for name in names}
    return wider


def _argument_first(clause: FromClause, node: Node, item: exp.Expr) -> tuple[Node, exp.Expr]:
    """The node with what UNNEST is given as columns, so that rows on which that fails are told apart before they
    become several, and the UNNEST over them."""
    moved = substitute(item, clause.mapping)
    call = moved.this if isinstance(moved, exp.Lateral | exp.Table) else moved
    arguments = [e for e in call.expressions if not isinstance(e, exp.Column) and tables(e) == {node.name}]
    named = {text(e): internal("u", i) for i, e in enumerate(arguments)}
    plain = [(column(node.name, n), n) for n in node.names]
    given = clause.planner.linear(node, [*plain, *((e, named[text(e)]) for e in arguments)])
    for e in arguments:
        e.replace(column(given.name, named[text(e)]))
    _follow(clause, given)
    return given, substitute(moved, passed(node, given, node.names))


def _prepare(clause: FromClause, alias: str, where: list[exp.Expr]) -> Node:
    """A source reduced to the columns read after this and the rows wanted, columns named `alias.column`."""
    node = clause.sources[alias]
    if node is None:
        raise CannotDecompose("UNNEST before a table")
    real = {name.lower(): name for name in node.names}
    used = [c.name for c in columns(clause.read) if c.table == alias and c.name in real] or list(real)[:1]
    own = {text(column(alias, name)): column(node.name, real[name]) for name in real}
    selected = [(column(node.name, real[name]), f"{alias}.{name}") for name in used]
    prepared = clause.planner.linear(node, selected, [substitute(part, own) for part in where])
    clause.mapping |= {text(column(alias, name)): column(prepared.name, f"{alias}.{name}") for name in used}
    return prepared


def block_of(clause: FromClause, node: Node, waiting: list[exp.Expr]) -> Block:
    """The rest of the SELECT over the joined rows."""
    select, mapping = clause.select, clause.mapping
    outputs = [substitute(e.unalias(), mapping) for e in select.expressions]
    names = [e.alias_or_name for e in select.expressions]
    if any(e.find(exp.Columns) or e.is_star for e in select.expressions):
        raise CannotDecompose("COLUMNS(...) in the SELECT list")
    block = Block(clause.planner, node, outputs, names, waiting)
    block.having = [substitute(part, mapping) for part in conjuncts(select.args.get("having"))]
    qualify_ = select.args.get("qualify")
    block.qualify = substitute(qualify_.this, mapping) if qualify_ is not None else None
    block.group = _group(select, block, mapping)
    aliases = {text(exp.column(name, quoted=True)): output for name, output in zip(names, outputs, strict=True)}
    _refuse_contested(select, aliases, mapping)
    block.distinct_on = _distinct(select, {**mapping, **aliases})
    block.order = _order(select, block, {**mapping, **aliases})
    return block


def _group(select: exp.Select, block: Block, mapping: dict[str, exp.Expr]) -> list[exp.Expr] | None:
    group = select.args.get("group")
    found = any(True for e in block.remaining() for _ in block.planner.aggregates.find(e))
    if group is None:
        return [] if found else None
    if has_sets(group):
        aliases = dict(zip(block.names, block.outputs, strict=True))
        block.sets = [[_key(e, block.outputs, aliases, mapping) for e in keys] for keys in sets_of(group)]
        return list({text(key): key for keys in block.sets for key in keys}.values())
    if group.args.get("all"):
        return [e for e in block.outputs if not any(True for _ in block.planner.aggregates.find(e))]
    return [substitute(e, mapping) for e in group.expressions]


def _key(
    key: exp.Expr, outputs: Sequence[exp.Expr], aliases: Mapping[str, exp.Expr], mapping: Mapping[str, exp.Expr]
) -> exp.Expr:
    """A key of a grouping set, in which positions and names of outputs are left as they were written."""
    if isinstance(key, exp.Literal) and not key.is_string:
        return outputs[int(key.name) - 1].copy()
    if isinstance(key, exp.Column) and not key.table and key.name in aliases:
        return aliases[key.name].copy()
    return substitute(key, mapping)


def _refuse_contested(select: exp.Select, aliases: Mapping[str, exp.Expr], mapping: Mapping[str, exp.Expr]) -> None:
    """A name of both an output and another column means the output as a whole ORDER BY item, elsewhere the column."""
    order = select.args.get("order")
    distinct = select.args.get("distinct")
    on = distinct.args.get("on") if distinct is not None else None
    parts = [e.this for e in order.expressions if not isinstance(e.this, exp.Column)] if order is not None else []
    for found in columns([*parts, *(on.expressions if on is not None else [])]):
        own = [new for old, new in mapping.items() if old.endswith(f".{text(found)}")]
        if not found.table and own and own != [aliases.get(text(found))]:
            raise CannotDecompose(f"the name {found.name} of an output and of another column")


def _distinct(select: exp.Select, mapping: dict[str, exp.Expr]) -> list[exp.Expr] | None:
    distinct = select.args.get("distinct")
    if distinct is None:
        return None
    on = distinct.args.get("on")
    return [substitute(e, mapping) for e in on.expressions] if on is not None else []


def _order(select: exp.Select, block: Block, mapping: dict[str, exp.Expr]) -> list[exp.Ordered]:
    order = select.args.get("order")
    if order is None:
        return []
    if any(isinstance(e.this, exp.Var) and e.this.name.upper() == "ALL" for e in order.expressions):
        return [exp.Ordered(this=output.copy(), nulls_first=False) for output in block.outputs]
    return [substitute_order(found, mapping) for found in order.expressions]
