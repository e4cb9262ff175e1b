"""Which expressions are worked on once for each day, hour, minute or second: those that see no more of a time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlglot import exp

from headwater.sql.bind import Binder
from headwater.sql.expressions import columns, function_name, text
from headwater.sql.once import Sharing, taken_out
from headwater.sql.plan import Columns, Plan
from headwater.sql.texts import STRUCTURE, shareable

_SECOND_US = 1_000_000
_MINUTE_US, _HOUR_US, _DAY_US = 60 * _SECOND_US, 3600 * _SECOND_US, 86_400 * _SECOND_US

_UNITS: Mapping[str, int] = {
    "second": _SECOND_US, "minute": _MINUTE_US, "hour": _HOUR_US,
    **dict.fromkeys(("day", "dayofmonth", "dayofweek", "dayofyear", "isodow", "week", "weekofyear", "month", "quarter",
                     "year", "isoyear", "dayname", "monthname", "last_day"), _DAY_US),
}  # fmt: skip
"""Functions of a time, many of them parts that `date_part` knows too, by what they see of it."""

_TRUNCATED = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")

_FORMATS: Mapping[str, int] = {
    **dict.fromkeys("YymdbBaAjuwUWVG", _DAY_US), **dict.fromkeys("HIp", _HOUR_US), "M": _MINUTE_US, "S": _SECOND_US,
}  # fmt: skip
"""What `strftime` writes, by what it sees of a time."""

_TOTAL = frozenset({"concat", "coalesce", "lower", "upper", "left", "right"})


def by_coarse_time(plan: Plan, binder: Binder) -> Plan:
    """The plan whose projections compute what sees no fractions of seconds beforehand, in a node of their own."""
    return taken_out(plan, binder, Sharing("coarse_times", "times, each once", "m", _of_time))


def _of_time(expression: exp.Expr, known: Columns) -> int | None:
    """What the expression sees of the one time that it is made of, in microseconds."""
    if not (shareable(expression) or isinstance(expression, exp.Cast)):
        return None
    times = {column.name for column in known if column.type == "TIMESTAMP" and column.exact}
    read = {part.name for part in columns([expression])}
    if len(read) != 1 or not read <= times:
        return None
    steps = _steps(expression)
    return min(steps) if steps else None


def _steps(expression: exp.Expr) -> list[int]:
    """What each function of a time in it sees; empty if something else is there too, or nothing."""
    step = _step(expression)
    if step:
        return [step]
    if isinstance(expression, exp.Column):
        return []
    if not isinstance(expression, STRUCTURE) and function_name(expression) not in _TOTAL:
        return []
    parts = [part for part in expression.iter_expressions() if part.find(exp.Column)]
    found = [_steps(part) for part in parts]
    return [step for steps in found for step in steps] if all(found) else []


def _step(call: exp.Expr) -> int:
    """What a function of a column of times sees of it, 0 if it is none that is known."""
    if isinstance(call, exp.Cast):
        return _DAY_US if isinstance(call.this, exp.Column) and text(call.to).upper() == "DATE" else 0
    arguments = list(call.iter_expressions())
    read = [part for part in arguments if isinstance(part, exp.Column)]
    name, said = function_name(call), _said(text(call))
    if len(read) != 1 or not isinstance(call, exp.Func):
        return 0
    if name == "strftime":
        return _of_format(said)
    if name == "date_trunc":
        return _UNITS[said.lower()] if said.lower() in _TRUNCATED else 0
    if name in ("date_part", "extract"):
        return _UNITS.get(said.lower(), 0)
    return _UNITS.get(name, 0) if len(arguments) == 1 else 0


def _said(call: str) -> str:
    """The one literal text in a call, or the word in `EXTRACT(word FROM time)`; "" if there is none or several."""
    found: list[str] = re.findall(r"'((?:[^']|'')*)'", call) or re.findall(r"^EXTRACT\((\w+) ", call)
    return found[0] if len(found) == 1 else ""


def _of_format(format_: str) -> int:
    letters = re.findall(r"%-?(.)", format_)
    steps = [_FORMATS.get(letter, 0) for letter in letters if letter != "%"]
    return min(steps, default=0)
