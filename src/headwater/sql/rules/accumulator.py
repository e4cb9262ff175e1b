"""Which aggregate calls accumulators can keep up to date, and the arguments to be projected for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import column, function_name, internal, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import MOMENTS, Accumulator, Node, Ordering
from headwater.sql.planner import Planner

NARROW = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
"""Types whose values fit 64 signed bits."""

WIDE = frozenset({"UBIGINT", "HUGEINT"})

FLOATS = frozenset({"FLOAT", "DOUBLE"})

NUMBERS = NARROW - {"BOOLEAN"} | {"UBIGINT", "DOUBLE"}
"""Types between whose values quantile_cont finds a DOUBLE."""

COMPARED = NARROW | FLOATS | {
    "UBIGINT", "HUGEINT", "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S",
    "TIMESTAMP_MS", "TIMESTAMP_NS",
}  # fmt: skip
"""Types, DECIMAL apart, whose values have an order that the engine knows and fit what it keeps."""

_SUMS = {"sum": "sum", "avg": "avg", "mean": "avg"}
_KAHAN_SUMS = {"fsum": "fsum", "kahan_sum": "fsum", "sumkahan": "fsum", "favg": "favg"}


@dataclass(frozen=True)
class Call:
    """An aggregate call taken apart.

    Attributes:
        name: DuckDB's name of the function.
        arguments: what it is given.
        distinct: of each value once.
        where: condition of its FILTER.
        output: what the result is called.
    """

    name: str
    arguments: tuple[exp.Expr, ...]
    distinct: bool
    where: exp.Expr | None
    output: str


class Accumulators:
    """Turns the calls of one grouping into accumulators, and collects the columns that these need.

    Args:
        node: whose columns the calls name.

    Attributes:
        columns: (expression, name) pairs to project.
    """

    def __init__(self, planner: Planner, node: Node) -> None:
        self._planner, self._node = planner, node
        self._names: dict[str, str] = {}
        self._types = {text(column(node.name, found.name)): found.type for found in node.columns}
        self.columns: list[tuple[exp.Expr, str]] = []

    def of(self, call: exp.Expr, output: str) -> Accumulator | None:
        """The accumulator of a call; None if there is none for it."""
        taken = _taken_apart(call, output)
        if taken is None:
            return _in_order(self, call, output)
        for rule in CALL_RULES:
            found = rule(self, taken)
            if found is not None:
                return found
        return None

    def type_of(self, expression: exp.Expr) -> str:
        """DuckDB's type of an expression over a row."""
        key = text(expression)
        if key not in self._types:
            self._types[key] = self._planner.binder.types_of([key], quote(self._node.name))[0]
        return self._types[key]

    @property
    def appends(self) -> bool:
        """Whether rows only ever come."""
        return self._node.appends

    def allows(self, fast_path: str) -> bool:
        """Whether a fast path may be used."""
        return self._planner.allows(fast_path)

    def column(self, value: exp.Expr, where: exp.Expr | None = None) -> str:
        """The column that holds a value, NULL where a condition is not true."""
        if where is not None:
            value = exp.Case(ifs=[exp.If(this=where.copy(), true=value.copy())])
        key = text(value)
        if key not in self._names:
            self._names[key] = internal("x", len(self._names))
            self.columns.append((value.copy(), self._names[key]))
        return self._names[key]

    def typed(self, value: exp.Expr, type_: str) -> exp.Expr:
        """A value in a type."""
        return value if self.type_of(value) == type_ else exp.cast(value.copy(), type_, dialect=DIALECT)

    def placed(self, kind: str, call: Call, value: exp.Expr, scale: int = 0) -> Accumulator | None:
        """The accumulator over a value, with the call's DISTINCT and FILTER."""
        if not call.distinct:
            return Accumulator(kind, self.column(value, call.where), call.output, scale)  # type: ignore[arg-type]
        if not self.allows("distinct"):
            return None
        # A column is the same under every FILTER, so that calls can share what is kept of its values; any other value
        # need not be computable where the condition does not hold.
        shared = call.where is not None and isinstance(value, exp.Column)
        where = self.column(self.typed(call.where, "BOOLEAN")) if shared and call.where is not None else ""
        name = self.column(value, None if shared else call.where)
        return Accumulator(kind, name, call.output, scale, distinct=name, where=where)  # type: ignore[arg-type]


def _taken_apart(call: exp.Expr, output: str) -> Call | None:
    """The parts of a call; None if it has others, such as ORDER BY."""
    where = None
    if isinstance(call, exp.Filter):
        where, call = call.expression.this, call.this
    name = function_name(call)
    if isinstance(call, exp.IgnoreNulls) and isinstance(call.this, exp.AnyValue):
        name, call = "any_value", call.this
    if not name or not isinstance(call, exp.Func):
        return None
    given = [_least_mode(call).this] if isinstance(call, exp.Mode) else list(call.iter_expressions())
    distinct = bool(given) and isinstance(given[0], exp.Distinct)
    if distinct:
        if len(given) > 1 or given[0].args.get("on"):
            return None
        given = list(given[0].expressions)
    if any(isinstance(part, exp.Order | exp.Distinct | exp.IgnoreNulls | exp.RespectNulls) for part in given):
        return None
    return Call(name, tuple(given), distinct, where, output)


def _least_mode(call: exp.Mode) -> exp.Mode:
    """`mode(x)` for `mode(x ORDER BY x)`, which is what it means here; any other as it is."""
    order = call.this
    if isinstance(order, exp.Order) and len(order.expressions) == 1:
        (item,) = order.expressions
        if not item.args.get("desc") and text(item.this) == text(order.this):
            return exp.Mode(this=order.this)
    return call


def _mode(calls: Accumulators, call: Call) -> Accumulator | None:
    """mode of values that have an order."""
    if call.name != "mode" or len(call.arguments) != 1 or call.distinct or not calls.allows("modes"):
        return None
    type_ = calls.type_of(call.arguments[0])
    if type_ not in COMPARED and not type_.startswith("DECIMAL("):
        return None
    return Accumulator("mode", calls.column(call.arguments[0], call.where), call.output)


def _in_order(calls: Accumulators, call: exp.Expr, output: str) -> Accumulator | None:
    """first(x ORDER BY ...) and last(x ORDER BY ...)."""
    where, inner = (call.expression.this, call.this) if isinstance(call, exp.Filter) else (None, call)
    kind, order = _EXTREMES.get(function_name(inner) or ""), inner.this
    if kind not in ("first", "last") or not isinstance(order, exp.Order) or not calls.allows("extremes"):
        return None
    items = [item for item in order.expressions if isinstance(item, exp.Ordered) and not item.args.get("with_fill")]
    values = [order.this, *(item.this for item in items)]
    if len(items) < len(order.expressions) or isinstance(order.this, exp.Distinct) or any(map(_collated, values)):
        return None
    if not all(type_ in COMPARED or type_.startswith("DECIMAL(") for type_ in map(calls.type_of, values)):
        return None
    by: dict[str, Ordering] = {}
    for item in items:
        name = calls.column(item.this, where)
        by.setdefault(name, Ordering(name, bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
    condition = calls.column(calls.typed(where, "BOOLEAN")) if where is not None else ""
    argument = calls.column(order.this, where)
    return Accumulator(kind, argument, output, where=condition, by=tuple(by.values()))  # type: ignore[arg-type]


def _collated(value: exp.Expr) -> bool:
    return value.find(exp.Collate) is not None


def _count(calls: Accumulators, call: Call) -> Accumulator | None:
    """count(*), count(x), and count(DISTINCT x)."""
    if call.name != "count" or len(call.arguments) > 1:
        return None
    argument = call.arguments[0] if call.arguments else exp.Star()
    if call.where is not None and isinstance(argument, exp.Star) and not call.distinct:
        where = calls.column(calls.typed(call.where, "BOOLEAN"))
        return Accumulator("count", where, call.output, where=where)
    if not isinstance(argument, exp.Star):
        if call.distinct or isinstance(argument, exp.Column):
            return calls.placed("count", call, argument)
        known = exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=exp.paren(argument.copy()), expression=exp.Null())),
                                     true=exp.true())])  # fmt: skip
        return calls.placed("count", call, known)
    if call.distinct:
        return None
    return Accumulator("rows", "", call.output)


def _sum(calls: Accumulators, call: Call) -> Accumulator | None:
    """sum and avg of numbers."""
    kind = {**_SUMS, **_KAHAN_SUMS}.get(call.name)
    if kind is None or len(call.arguments) != 1:
        return None
    (argument,) = call.arguments
    type_ = calls.type_of(argument)
    if type_ in FLOATS or call.name in _KAHAN_SUMS:
        return calls.placed(kind, call, calls.typed(argument, "DOUBLE")) if calls.allows("float_sums") else None
    if type_ in NARROW:
        return calls.placed(kind, call, calls.typed(argument, "BIGINT"))
    if type_ in WIDE:
        return calls.placed(kind, call, calls.typed(argument, "DECIMAL(38,0)"))
    if type_.startswith("DECIMAL("):
        return calls.placed(kind, call, argument, int(type_[:-1].rpartition(",")[2]))
    return None


def _truth(calls: Accumulators, call: Call) -> Accumulator | None:
    """bool_and, bool_or and count_if."""
    if len(call.arguments) != 1:
        return None
    if call.name in ("count_if", "countif") and not call.distinct:
        # DuckDB's is a sum of 1s and 0s: HUGEINT, and NULL over nothing but NULLs.
        return calls.placed("sum", call, calls.typed(calls.typed(call.arguments[0], "BOOLEAN"), "BIGINT"))
    if call.name not in ("bool_and", "bool_or"):
        return None
    value = calls.typed(call.arguments[0], "BOOLEAN")
    return Accumulator(call.name, calls.column(value, call.where), call.output)  # type: ignore[arg-type]


def _bits(calls: Accumulators, call: Call) -> Accumulator | None:
    """bit_and and bit_or of integers of up to 64 bits."""
    if call.name not in ("bit_and", "bit_or") or len(call.arguments) != 1:
        return None
    if calls.type_of(call.arguments[0]) not in NARROW - {"BOOLEAN"} | {"UBIGINT"}:
        return None
    return Accumulator(call.name, calls.column(call.arguments[0], call.where), call.output)  # type: ignore[arg-type]


def _bit_xor(calls: Accumulators, call: Call) -> Accumulator | None:
    """bit_xor of integers of up to 64 bits."""
    if call.name != "bit_xor" or calls.type_of(call.arguments[0]) not in NARROW - {"BOOLEAN"}:
        return None
    return calls.placed("bit_xor", call, calls.typed(call.arguments[0], "BIGINT"))


_EXTREMES = {
    "min": "min", "max": "max", "any_value": "any_value", "arbitrary": "first", "first": "first", "last": "last",
    "arg_min": "arg_min", "argmin": "arg_min", "min_by": "arg_min",
    "arg_max": "arg_max", "argmax": "arg_max", "max_by": "arg_max",
}  # fmt: skip


def _extreme(calls: Accumulators, call: Call) -> Accumulator | None:
    """The least, greatest, first or last value, or that of the row where another is least or greatest."""
    kind = _EXTREMES.get(call.name)
    if kind is None or len(call.arguments) != 1 + kind.startswith("arg_") or not calls.allows("extremes"):
        return None
    if kind in ("first", "last") and not calls.appends:
        return None
    kinds = [calls.type_of(argument) for argument in call.arguments]
    if not all(type_ in COMPARED or type_.startswith("DECIMAL(") for type_ in kinds):
        return None
    by = calls.column(call.arguments[1], call.where) if kind.startswith("arg_") else ""
    where = calls.column(calls.typed(call.where, "BOOLEAN")) if kind in ("first", "last") and call.where else ""
    return Accumulator(kind, calls.column(call.arguments[0], call.where), call.output, order=by, where=where)  # type: ignore[arg-type]


def _quantile(calls: Accumulators, call: Call) -> Accumulator | None:
    """median, quantile_cont of numbers that are shown as DOUBLE, and quantile_disc."""
    kind = {"median": "quantile_cont", "quantile_cont": "quantile_cont", "quantile_disc": "quantile_disc",
            "quantile": "quantile_disc"}.get(call.name)  # fmt: skip
    if kind is None or call.distinct or not calls.allows("quantiles"):
        return None
    fraction = _fraction(call.arguments[1:]) if call.name != "median" else 0.5
    if fraction is None or len(call.arguments) > 2:
        return None
    type_ = calls.type_of(call.arguments[0])
    fits = type_ in NUMBERS if kind == "quantile_cont" else type_ in COMPARED or type_.startswith("DECIMAL(")
    if not fits:
        return None
    return Accumulator(kind, calls.column(call.arguments[0], call.where), call.output, fraction=fraction)  # type: ignore[arg-type]


_MOMENTS = {"variance": "var_samp", "stddev": "stddev_samp"} | {kind: kind for kind in MOMENTS}
_OF_ONE = ("var_pop", "var_samp", "stddev_pop", "stddev_samp", "sem")


def _moment(calls: Accumulators, call: Call) -> Accumulator | None:
    """Variances, covariances, correlation and regression."""
    if call.name == "regr_count" and len(call.arguments) == 2 and not call.distinct:
        known = [exp.Not(this=exp.Is(this=exp.paren(a.copy()), expression=exp.Null())) for a in call.arguments]
        counted = exp.Case(ifs=[exp.If(this=exp.and_(*known, dialect=DIALECT), true=exp.true())])
        return calls.placed("count", call, counted)
    kind = _MOMENTS.get(call.name)
    if kind is None or call.distinct or not calls.allows("moments"):
        return None
    if len(call.arguments) != (1 if kind in _OF_ONE else 2):
        return None
    names = [calls.column(calls.typed(argument, "DOUBLE"), call.where) for argument in call.arguments]
    return Accumulator(kind, names[-1], call.output, order=names[0] if len(names) > 1 else "")  # type: ignore[arg-type]


def _fraction(arguments: tuple[exp.Expr, ...]) -> float | None:
    """A constant between 0 and 1."""
    if len(arguments) != 1 or not isinstance(arguments[0], exp.Literal) or arguments[0].is_string:
        return None
    value = float(arguments[0].name)
    return value if 0 <= value <= 1 else None


CALL_RULES: tuple[Callable[[Accumulators, Call], Accumulator | None], ...] = (
    _count, _sum, _truth, _bits, _bit_xor, _extreme, _quantile, _moment, _mode,
)  # fmt: skip
