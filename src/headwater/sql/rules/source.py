"""FROM items: streams, CTEs, derived tables, time windows, VALUES."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, column, text
from headwater.sql.parse import WINDOW_FUNCTIONS
from headwater.sql.plan import Node, Recompute
from headwater.sql.planner import Planner
from headwater.sql.rules.time_window import windowed

Environment = Mapping[str, Node]
"""What names in FROM stand for, in lower case: CTEs, else inputs."""

Compile = Callable[[Planner, exp.Query, Environment], Node]

PURE_TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree", *WINDOW_FUNCTIONS}
)
"""Table functions whose answer depends on nothing but their arguments."""


def resolve_table(planner: Planner, table: exp.Table, environment: Environment) -> Node:
    """The node that a table or window function in FROM reads.

    Raises:
        CannotDecompose: it is another table function, or has parts that only DuckDB understands.
    """
    if table.args.get("pivots") or table.args.get("sample"):
        raise CannotDecompose("PIVOT")
    function = table.this
    if isinstance(function, exp.Identifier):
        return _named(planner, function.name, environment)
    name = function.name.lower() if isinstance(function, exp.Anonymous) else ""
    if name not in WINDOW_FUNCTIONS:
        raise CannotDecompose(f"the table function {name or text(function)}")
    stream = _named(planner, function.expressions[0].name, environment)
    return windowed(planner, function, stream)


def _named(planner: Planner, name: str, environment: Environment) -> Node:
    if name.lower() in environment:
        return environment[name.lower()]
    if name.lower() not in planner.binder.inputs:
        raise CannotDecompose(f"the table {name}")
    return planner.scan(planner.binder.inputs[name.lower()])


def constant(planner: Planner, sql: str) -> Recompute:
    """Rows that depend on no input."""
    return planner.recompute((), (), sql, "constant rows")


def renamed(planner: Planner, node: Node, alias: exp.Expr | None) -> Node:
    """A node under the column names of a table alias such as `t(a, b)`."""
    given = [c.name for c in alias.args.get("columns") or []] if isinstance(alias, exp.TableAlias) else []
    if not given:
        return node
    names = [*given, *node.names[len(given) :]]
    return planner.linear(node, [(column(node.name, old), new) for old, new in zip(node.names, names, strict=True)])


def localise(planner: Planner, expression: exp.Query, environment: Environment) -> tuple[exp.Query, dict[str, Node]]:
    """A copy that reads relations of the plan instead of streams, CTEs and window functions, and the nodes that it
    reads.

    WITHs inside the expression stay and shadow.
    """
    used: dict[str, Node] = {}
    copy = expression.copy()
    _localise(planner, copy, environment, used)
    return copy, used


def described(planner: Planner, query: exp.Query, environment: Environment) -> list[str]:
    """The names of a query's columns."""
    local, _ = localise(planner, query, environment)
    return [column.name for column in planner.describe(text(local))]


def _localise(planner: Planner, node: exp.Expr, environment: Environment, used: dict[str, Node]) -> None:
    visible = dict(environment)
    with_ = node.args.get("with_")
    if isinstance(with_, exp.With):
        for cte in with_.expressions:
            if with_.args.get("recursive"):
                visible[cte.alias.lower()] = _SHADOW
            _localise(planner, cte.this, visible, used)
            visible[cte.alias.lower()] = _SHADOW
    if isinstance(node, exp.Table):
        _localise_table(planner, node, visible, used)
        return
    for child in list(node.iter_expressions()):
        if child is not with_:
            _localise(planner, child, visible, used)


def _localise_table(planner: Planner, table: exp.Table, environment: Environment, used: dict[str, Node]) -> None:
    function = table.this
    name = function.name
    if isinstance(function, exp.Identifier):
        if environment.get(name.lower()) is _SHADOW or name in {n.name for n in used.values()}:
            return
    elif name.lower() not in WINDOW_FUNCTIONS:
        if name.lower() not in PURE_TABLE_FUNCTIONS and not isinstance(function, exp.GenerateSeries | exp.Unnest):
            raise CannotDecompose(f"the table function {name}")
        return
    pivots = table.args.pop("pivots", None)
    resolved = resolve_table(planner, table, environment)
    if pivots:
        table.set("pivots", pivots)
    used[resolved.name] = resolved
    for join in table.args.get("joins") or []:
        _localise(planner, join, environment, used)
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(_implied_alias(function), quoted=True)))
    table.set("this", exp.to_identifier(resolved.name, quoted=True))


def _implied_alias(function: exp.Expr) -> str:
    """What columns of a FROM item without alias are qualified with: DuckDB calls a function's rows by its name."""
    return str(function.name)


_SHADOW = Node("", (), (), "a name of an inner WITH")
