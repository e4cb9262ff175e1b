"""Which aggregate calls accumulators can keep up to date, and the arguments to be projected for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import function_name, internal, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Accumulator, Node
from headwater.sql.planner import Planner

NARROW = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
"""Types whose values fit 64 signed bits."""

WIDE = frozenset({"UBIGINT", "HUGEINT"})

FLOATS = frozenset({"FLOAT", "DOUBLE"})

_IN_FLOATS = frozenset({"fsum", "kahan_sum", "sumkahan", "favg"})
_SUMS = {
    "sum": "sum", "fsum": "sum", "kahan_sum": "sum", "sumkahan": "sum", "avg": "avg", "mean": "avg", "favg": "avg"
}  # fmt: skip


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
        self.columns: list[tuple[exp.Expr, str]] = []

    def of(self, call: exp.Expr, output: str) -> Accumulator | None:
        """The accumulator of a call; None if there is none for it."""
        taken = _taken_apart(call, output)
        if taken is None:
            return None
        for rule in CALL_RULES:
            found = rule(self, taken)
            if found is not None:
                return found
        return None

    def type_of(self, expression: exp.Expr) -> str:
        """DuckDB's type of an expression over a row."""
        return self._planner.binder.type_of(text(expression), quote(self._node.name))

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
    given = list(call.iter_expressions())
    distinct = bool(given) and isinstance(given[0], exp.Distinct)
    if distinct:
        if len(given) > 1 or given[0].args.get("on"):
            return None
        given = list(given[0].expressions)
    if any(isinstance(part, exp.Order | exp.Distinct | exp.IgnoreNulls | exp.RespectNulls) for part in given):
        return None
    return Call(name, tuple(given), distinct, where, output)


def _count(calls: Accumulators, call: Call) -> Accumulator | None:
    """count(*), count(x), and count(DISTINCT x)."""
    if call.name != "count" or len(call.arguments) > 1:
        return None
    argument = call.arguments[0] if call.arguments else exp.Star()
    if not isinstance(argument, exp.Star):
        if call.distinct or isinstance(argument, exp.Column):
            return calls.placed("count", call, argument)
        known = exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=exp.paren(argument.copy()), expression=exp.Null())),
                                     true=exp.true())])  # fmt: skip
        return calls.placed("count", call, known)
    if call.distinct:
        return None
    return Accumulator("rows", "", call.output) if call.where is None else calls.placed("count", call, exp.true())


def _sum(calls: Accumulators, call: Call) -> Accumulator | None:
    """sum and avg of numbers."""
    if call.name not in _SUMS or len(call.arguments) != 1:
        return None
    (argument,) = call.arguments
    kind, type_ = _SUMS[call.name], calls.type_of(argument)
    if type_ in FLOATS or call.name in _IN_FLOATS:
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
    kinds = {"bool_and": "bool_and", "bool_or": "bool_or", "count_if": "count_if", "countif": "count_if"}
    if call.name not in kinds or len(call.arguments) != 1 or (call.distinct and call.name.startswith("count")):
        return None
    value = calls.typed(call.arguments[0], "BOOLEAN")
    return Accumulator(kinds[call.name], calls.column(value, call.where), call.output)  # type: ignore[arg-type]


def _bit_xor(calls: Accumulators, call: Call) -> Accumulator | None:
    """bit_xor of integers of up to 64 bits."""
    if call.name != "bit_xor" or calls.type_of(call.arguments[0]) not in NARROW - {"BOOLEAN"}:
        return None
    return calls.placed("bit_xor", call, calls.typed(call.arguments[0], "BIGINT"))


CALL_RULES: tuple[Callable[[Accumulators, Call], Accumulator | None], ...] = (_count, _sum, _truth, _bit_xor)
