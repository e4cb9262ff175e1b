"""Joins in parentheses: `a LEFT JOIN (b JOIN c ON ...) ON ...` as a chain of joins, or as a derived table."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, internal
from headwater.sql.planner import Planner
from headwater.sql.rules.source import Environment, described


def open_parentheses(planner: Planner, select: exp.Select, environment: Environment) -> None:
    """Takes parentheses away where that changes nothing; where an outer join needs them, a derived table takes their
    place."""
    first = _joined(select.args["from_"].this)
    joins = list(select.args.get("joins") or [])
    if first is not None:
        select.args["from_"].set("this", first[0])
        joins = [*first[1], *joins]
    opened = [part for join in joins for part in _opened(join)]
    if opened:
        select.set("joins", opened)
    if first is not None or len(opened) > len(joins):
        open_parentheses(planner, select, environment)
        return
    for number, join in enumerate(opened):
        if _joined(join.this) is not None:
            _derive(planner, select, join, internal("joined", number), environment)


def _joined(item: exp.Expr) -> tuple[exp.Expr, list[exp.Join]] | None:
    """What stands in the parentheses around a join; None if these are none."""
    table = item.this if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table) else None
    if table is None or item.args.get("alias") or item.args.get("pivots"):
        return None
    table = table.copy()
    return table, [join.copy() for join in table.args.pop("joins", None) or []]


def _opened(join: exp.Join) -> Iterator[exp.Join]:
    """The joins in parentheses after the one that they stand in, if all are inner."""
    inner = _joined(join.this)
    if inner is None or not all(_plain(part) for part in (join, *inner[1])):
        yield join.copy()
        return
    table, more = inner
    yield exp.Join(this=table)
    on = join.args.get("on")
    if not more:
        return
    yield from more[:-1]
    both = [part.copy() for part in (more[-1].args.get("on"), on) if part is not None]
    yield exp.Join(this=more[-1].this, on=exp.and_(*both, dialect="duckdb") if both else None)


def _plain(join: exp.Join) -> bool:
    kind = join.kind.upper()
    return not (join.side or join.method or join.args.get("using")) and kind in ("", "INNER", "CROSS")


def _derive(planner: Planner, select: exp.Select, join: exp.Join, name: str, environment: Environment) -> None:
    """Makes a derived table of a join in parentheses, its columns called `table.column`."""
    inner = _joined(join.this)
    assert inner is not None
    table, more = inner
    aliases = [part.alias_or_name for part in (table, *(j.this for j in more))]
    listed: list[exp.Expr] = []
    known: dict[tuple[str, str], str] = {}
    for alias in aliases:
        star = exp.Column(this=exp.Star(), table=exp.to_identifier(alias, quoted=True))
        own = exp.Select(expressions=[star], from_=exp.From(this=table.copy()), joins=[j.copy() for j in more])
        for column in described(planner, own, environment):
            known[alias.lower(), column.lower()] = f"{alias}.{column}"
            listed.append(exp.alias_(exp.column(column, alias, quoted=True), f"{alias}.{column}", quoted=True))
    derived = exp.Select(expressions=listed, from_=exp.From(this=table), joins=more)
    join.this.replace(exp.Subquery(this=derived, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True))))
    loose = {column for _, column in known}
    for found in list(select.find_all(exp.Column)):
        if found.parent_select is derived or derived in _ancestors(found):
            continue
        if found.is_star or (not found.table and found.name.lower() in loose):
            raise CannotDecompose("a column of a join in parentheses without its table")
        shown = known.get((found.table.lower(), found.name.lower()))
        if shown is not None:
            found.replace(exp.column(shown, name, quoted=True))
    if any(e.is_star for e in select.expressions):
        raise CannotDecompose("a star over a join in parentheses")


def _ancestors(expression: exp.Expr) -> Iterator[exp.Expr]:
    parent = expression.parent
    while parent is not None:
        yield parent
        parent = parent.parent
