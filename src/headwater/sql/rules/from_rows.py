"""FROM items that make rows of a row: UNNEST, range(t.n), json_each(t.j), LATERAL (SELECT ...) without tables."""

from __future__ import annotations

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, text
from headwater.sql.parse import WINDOW_FUNCTIONS
from headwater.sql.planner import Planner
from headwater.sql.rules.source import Environment, localise


def is_function(item: exp.Expr) -> bool:
    """Whether a FROM item is a table function, time windows apart."""
    if not isinstance(item, exp.Table) or isinstance(item.this, exp.Identifier) or item.args.get("pivots"):
        return False
    return not (isinstance(item.this, exp.Anonymous) and item.this.name.lower() in WINDOW_FUNCTIONS)


def is_lateral(item: exp.Expr) -> bool:
    """Whether it is a LATERAL subquery that reads tables."""
    inner = item.this if isinstance(item, exp.Lateral) else None
    return isinstance(inner, exp.Subquery) and not is_per_row(item)


def is_per_row(item: exp.Expr) -> bool:
    """Whether an item after the first makes rows of each row before it, and of nothing else."""
    inner = item.this if isinstance(item, exp.Lateral) else item
    if isinstance(inner, exp.Unnest):
        return True
    if is_function(inner):
        return any(True for _ in inner.this.find_all(exp.Column))
    if isinstance(item, exp.Lateral) and isinstance(inner, exp.Subquery):
        alone = inner.find(exp.Table, exp.SetOperation) is None
        return alone and not any(select.args.get("limit") for select in inner.find_all(exp.Select))
    return False


def with_named_rows(planner: Planner, select: exp.Select, environment: Environment) -> exp.Select:
    """A copy in which every such item has an alias that names its columns, as DuckDB names them."""
    copy = select.copy()
    joins = copy.args.get("joins") or []
    for number, join in enumerate(joins):
        if not (is_per_row(join.this) or is_lateral(join.this)):
            continue
        _without_ordinality(join.this)
        alias = join.this.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            continue
        name = alias.name if alias is not None else _implied(join.this, number)
        join.this.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
        before = exp.Select(
            expressions=[exp.Column(this=exp.Star(), table=exp.to_identifier(name))],
            from_=copy.args["from_"].copy(), joins=[other.copy() for other in joins[: number + 1]],
        )  # fmt: skip
        local, _ = localise(planner, before, environment)
        names = [column.name for column in planner.describe(text(local))]
        if len({found.lower() for found in names}) < len(names):
            raise CannotDecompose(f"columns of one name in {name}")
        join.this.args["alias"].set("columns", [exp.to_identifier(found, quoted=True) for found in names])
    return copy


def _implied(item: exp.Expr, number: int) -> str:
    """What columns of an item without alias are qualified with."""
    inner = item.this if isinstance(item, exp.Lateral) else item
    if isinstance(inner, exp.Unnest):
        return "unnest"
    if isinstance(inner, exp.Table):
        return str(inner.this.name or text(inner.this).partition("(")[0]).lower()
    return f"_rows{number}"


def _without_ordinality(item: exp.Expr) -> None:
    """Writes `UNNEST(list) WITH ORDINALITY AS q(value, number)` as a SELECT of both."""
    inner = item.this if isinstance(item, exp.Lateral) else item
    ordinal = inner.args.get("offset") if isinstance(inner, exp.Unnest) else None
    if ordinal is None:
        return
    (argument,) = inner.expressions
    named = item.args["alias"]
    number = ordinal if isinstance(ordinal, exp.Identifier) else exp.to_identifier("ordinality")
    subscripts = exp.Anonymous(this="generate_subscripts", expressions=[argument.copy(), exp.Literal.number(1)])
    columns = [*(named.args.get("columns") or [exp.to_identifier("unnest")]), number]
    parts = [exp.alias_(exp.Explode(this=argument.copy()), columns[0].name), exp.alias_(subscripts, number.name)]
    made = exp.Lateral(
        this=exp.Subquery(this=exp.Select(expressions=parts)),
        alias=exp.TableAlias(this=named.this.copy(), columns=[column.copy() for column in columns]),
    )
    item.replace(made)
