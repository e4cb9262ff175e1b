"""SQL that says in a few words what a longer SELECT says: PIVOT, UNPIVOT, COLUMNS(...), joins in parentheses.

Each is written out as that SELECT, which the other rules take apart. Names and types stay DuckDB's: the result's are
compared afterwards with those of the text as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, text
from headwater.sql.planner import Planner
from headwater.sql.rules.parentheses import open_parentheses
from headwater.sql.rules.source import Environment, described, localise


def written_out(planner: Planner, select: exp.Select, environment: Environment) -> exp.Select:
    """A copy of a SELECT with such spellings written out.

    Raises:
        CannotDecompose: one of them is of a form that has no rule.
    """
    copy = select.copy()
    open_parentheses(planner, copy, environment)
    for item in [copy.args["from_"].this, *(join.this for join in copy.args.get("joins") or [])]:
        _unpivoted(planner, item, environment)
    _lists_of_queries(copy)
    _expand_columns(planner, copy, environment)
    _name_rows(planner, copy, environment)
    return copy


def pivot_of(planner: Planner, pivot: exp.Pivot, environment: Environment) -> exp.Select:
    """The statement `PIVOT ...` or `UNPIVOT ...` as a SELECT."""
    return _rewritten(planner, pivot.this, pivot, environment)


def _unpivoted(planner: Planner, item: exp.Expr, environment: Environment) -> None:
    """Replaces a FROM item that is or has a PIVOT by a derived table."""
    pivots = item.args.get("pivots") or []
    statement = item.this if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Pivot) else None
    if statement is None and not pivots:
        return
    if len(pivots) > 1:
        raise CannotDecompose("PIVOT of a PIVOT")
    pivot = statement or pivots[0]
    source = statement.this if statement is not None else item.copy()
    if statement is None:
        source.set("pivots", None)
    alias = (pivot.args.get("alias") if statement is None else None) or item.args.get("alias")
    made = _rewritten(planner, source, pivot, environment)
    item.replace(exp.Subquery(this=made, alias=alias.copy() if alias is not None else None))


def _rewritten(planner: Planner, source: exp.Expr, pivot: exp.Pivot, environment: Environment) -> exp.Select:
    if pivot.args.get("unpivot"):
        return _unpivot(planner, source, pivot, environment)
    return _pivot(planner, source, pivot, environment)


def _from(source: exp.Expr, *expressions: exp.Expr) -> exp.Select:
    item = source.copy()
    if isinstance(item, exp.Query) and not isinstance(item, exp.Subquery):
        item = exp.Subquery(this=item)
    return exp.Select(expressions=list(expressions), from_=exp.From(this=item))


def _pivot(planner: Planner, source: exp.Expr, pivot: exp.Pivot, environment: Environment) -> exp.Select:
    """Fixed values: an aggregate with FILTER for each."""
    simple = bool(pivot.args.get("fields"))
    fields = pivot.args["fields"] if simple else pivot.expressions
    calls = pivot.expressions if simple else pivot.args.get("using") or [exp.Count(this=exp.Star())]
    if not all(isinstance(field, exp.In) and field.expressions for field in fields):
        raise CannotDecompose("PIVOT without a list of values")
    group = pivot.args.get("group")
    by = list(group.expressions) if group is not None else _rest(planner, source, [*fields, *calls], environment)
    names = _pivot_names(planner, source, pivot, environment)[len(by) :]
    outputs: list[exp.Expr] = []
    for values in product(*(field.expressions for field in fields)):
        conditions = [exp.EQ(this=f.this.copy(), expression=_value(v)) for f, v in zip(fields, values, strict=True)]
        for call in calls:
            outputs.append(exp.Filter(this=call.unalias().copy(), expression=exp.Where(this=exp.and_(*conditions))))
    if len(names) != len(outputs):
        raise CannotDecompose("PIVOT whose columns are others than its values")
    made = [exp.alias_(output, name, quoted=True) for output, name in zip(outputs, names, strict=True)]
    select = _from(source, *(key.copy() for key in by), *made)
    if by:
        select.set("group", exp.Group(expressions=[key.copy() for key in by]))
    return select


def _value(value: exp.Expr) -> exp.Expr:
    return (value.this if isinstance(value, exp.PivotAlias | exp.Alias) else value).copy()


def _pivot_names(planner: Planner, source: exp.Expr, pivot: exp.Pivot, environment: Environment) -> list[str]:
    if pivot.args.get("fields"):
        item = source.copy()
        item.set("pivots", [pivot.copy()])
    else:
        item = exp.Subquery(this=pivot.copy())
    return described(planner, exp.Select(expressions=[exp.Star()], from_=exp.From(this=item)), environment)


def _rest(
    planner: Planner, source: exp.Expr, used: Sequence[exp.Expr], environment: Environment
) -> list[exp.Expr]:  # fmt: skip
    """The columns of a relation that expressions do not name."""
    named = {found.name.lower() for e in used for found in e.find_all(exp.Column, exp.Identifier)}
    names = described(planner, _from(source, exp.Star()), environment)
    return [exp.column(name, quoted=True) for name in names if name.lower() not in named]


def _unpivot(planner: Planner, source: exp.Expr, pivot: exp.Pivot, environment: Environment) -> exp.Select:
    """A row for each of the columns: two lists unnested side by side."""
    into = pivot.args.get("into")
    if pivot.args.get("fields"):
        (field,) = pivot.args["fields"]
        listed, name, value = field.expressions, field.this.name, pivot.expressions[0].name
    else:
        listed = pivot.expressions
        name = into.this.name if into is not None else "name"
        value = into.expressions[0].name if into is not None else "value"
    chosen = [column for part in listed for column in _listed(planner, source, part, environment)]
    rest = _rest(planner, source, chosen, environment)
    names = exp.Array(expressions=[exp.Literal.string(column.name) for column in chosen])
    lists = ((names, name), (exp.Array(expressions=[column.copy() for column in chosen]), value))
    unnested = [exp.alias_(exp.Explode(this=e), shown, quoted=True) for e, shown in lists]
    select = _from(source, *(column.copy() for column in rest), *unnested)
    if pivot.args.get("include_nulls"):
        return select
    there = exp.Not(this=exp.Is(this=exp.column(value, quoted=True), expression=exp.Null()))
    return exp.Select(
        expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=select)), where=exp.Where(this=there)
    )


def _listed(planner: Planner, source: exp.Expr, part: exp.Expr, environment: Environment) -> list[exp.Expr]:
    if isinstance(part, exp.Column) and not part.is_star:
        return [exp.column(part.name, quoted=True)]
    if isinstance(part, exp.Columns | exp.Star):
        return [exp.column(n, quoted=True) for n in described(planner, _from(source, part.copy()), environment)]
    raise CannotDecompose(f"{text(part)} in UNPIVOT")


def _expand_columns(planner: Planner, select: exp.Select, environment: Environment) -> None:
    """COLUMNS(...), `struct.*` and unnest(struct) in the SELECT list, and COLUMNS(...) in WHERE."""
    body = _body(select)
    written: list[exp.Expr] = []
    for item in select.expressions:
        written += _expanded(planner, item, body, environment)
    select.set("expressions", written)
    where = select.args.get("where")
    if where is not None and where.find(exp.Columns):
        parts = _per_column(planner, where.this, body, environment)
        select.set("where", exp.Where(this=exp.and_(*parts, dialect="duckdb")))


def _body(select: exp.Select) -> Callable[[exp.Expr], exp.Select]:
    """Makes a SELECT of one expression from the same tables."""

    def of(expression: exp.Expr) -> exp.Select:
        tables = {"from_": select.args["from_"].copy(), "joins": [j.copy() for j in select.args.get("joins") or []]}
        return exp.Select(expressions=[expression.copy()], **tables)

    return of


def _expanded(
    planner: Planner, item: exp.Expr, body: Callable[[exp.Expr], exp.Select], environment: Environment
) -> list[exp.Expr]:
    plain = item.unalias()
    if item.find(exp.Columns):
        return _per_column(planner, item, body, environment)
    if isinstance(plain, exp.Column) and plain.is_star and plain.table.lower() not in _aliases(body(plain)):
        names = described(planner, body(plain), environment)
        return [_field(exp.column(plain.table, plain.args.get("db")), name) for name in names]
    if isinstance(plain, exp.Explode) and not plain.expressions:
        columns = planner.describe(text(localise(planner, body(plain.this), environment)[0]))
        if len(columns) == 1 and columns[0].type.startswith("STRUCT(") and not columns[0].type.endswith("]"):
            return [_field(plain.this, name) for name in described(planner, body(plain), environment)]
    return [item]


def _field(struct: exp.Expr, name: str) -> exp.Expr:
    call = exp.Anonymous(this="struct_extract", expressions=[struct.copy(), exp.Literal.string(name)])
    return exp.alias_(call, name, quoted=True)


def _aliases(select: exp.Select) -> set[str]:
    items = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]
    return {item.alias_or_name.lower() for item in items}


def _per_column(
    planner: Planner, item: exp.Expr, body: Callable[[exp.Expr], exp.Select], environment: Environment
) -> list[exp.Expr]:
    """An expression for each of the columns that its COLUMNS(...), which must all be the same, stand for."""
    found = list(item.find_all(exp.Columns))
    if len({text(call) for call in found}) > 1:
        raise CannotDecompose("several COLUMNS(...) in one expression")
    names = described(planner, body(found[0]), environment)
    if len({name.lower() for name in names}) < len(names):
        raise CannotDecompose("COLUMNS(...) over columns of one name")
    return [item.copy().transform(_chosen, name) for name in names]


def _chosen(node: exp.Expr, name: str) -> exp.Expr:
    return exp.column(name, quoted=True) if isinstance(node, exp.Columns) else node


def _name_rows(planner: Planner, select: exp.Select, environment: Environment) -> None:
    """`#2`, the second column of FROM, and `t` for a row of t as a struct."""
    positions = list(select.find_all(exp.PositionalColumn))
    plain = _aliases(select)
    # What TUMBLE and its like are given first is the name of a stream, whatever an outer FROM calls by it.
    named = [c for c in select.find_all(exp.Column) if not c.table and c.name.lower() in plain and not c.is_star]
    rows = [c for c in named if c.find_ancestor(exp.Table) is None]
    if not positions and not rows:
        return
    names = described(planner, _body(select)(exp.Star()), environment)
    for position in positions:
        position.replace(exp.column(names[int(position.name) - 1], quoted=True))
    for row in rows:
        if row.name.lower() in {name.lower() for name in names}:
            continue
        inner = exp.Column(this=exp.Star(), table=exp.to_identifier(row.name))
        parts = [
            exp.PropertyEQ(
                this=exp.to_identifier(name, quoted=True), expression=exp.column(name, row.name, quoted=True)
            )
            for name in described(planner, _body(select)(inner), environment)
        ]
        row.replace(exp.Struct(expressions=parts))


def _lists_of_queries(select: exp.Select) -> None:
    """`ARRAY(SELECT x FROM ... ORDER BY y)` as `coalesce((SELECT list(x ORDER BY y) FROM ...), [])`."""
    for call in list(select.find_all(exp.Array)):
        inner = call.expressions[0] if len(call.expressions) == 1 else None
        if not isinstance(inner, exp.Query):
            continue
        ordered = inner.args.get("order") if isinstance(inner, exp.Select) else None
        shaped = ("group", "having", "qualify", "limit", "offset", "distinct", "with_")
        if not isinstance(inner, exp.Select) or any(inner.args.get(part) for part in shaped) or inner.find(exp.AggFunc):
            raise CannotDecompose("ARRAY of a query that is more than rows in an order")
        query = inner.copy()
        value = query.expressions[0].unalias()
        listed = exp.Order(this=value.copy(), expressions=ordered.expressions) if ordered is not None else value.copy()
        query.set("expressions", [exp.ArrayAgg(this=listed)])
        query.set("order", None)
        call.replace(exp.Coalesce(this=exp.Subquery(this=query), expressions=[exp.Array(expressions=[])]))
