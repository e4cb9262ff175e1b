"""SQL that DuckDB runs and that cannot be maintained, with the reason and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.tokenizer_core import TokenType

from headwater.sql.bind import Binder
from headwater.sql.expressions import function_name, text
from headwater.sql.parse import WINDOW_FUNCTIONS, offset_of
from headwater.sql.prelude import PROCESSING_TIME
from headwater.sql.rules.source import PURE_TABLE_FUNCTIONS

HARMLESS = frozenset({"error"})
"""Functions that DuckDB calls volatile and that give the same answer every time."""

_TIME = "compare the stream's time columns with each other, or group by TUMBLE or HOP, which move with the watermark"
_CHANCE = "hash(key columns) gives each row a number that stays the same"
_ALTERNATIVES = {"random": _CHANCE, "setseed": _CHANCE, "uuid": "md5(key columns)::UUID names a row for good"}


@dataclass(frozen=True)
class Refusal:
    """Something that cannot be maintained, and the offset of its first character."""

    message: str
    hint: str
    offset: int


def refusals(query: exp.Query, binder: Binder, sql: str) -> Iterator[Refusal]:
    """Everything in a query that cannot be maintained, in no order."""
    yield from _unstable_functions(query, binder, sql)
    yield from _samples_and_limits(query, sql)
    yield from _open_pivots(query, sql)
    yield from _joins_and_tables(query, sql)
    yield from _lost_in_translation(sql)


def _offset(expression: exp.Expr, sql: str, *words: str) -> int:
    """Where an expression begins: the least offset that the parser noted in it, else that of one of the words."""
    own = expression.meta_get("start")
    if own is not None:
        return int(own)
    found = [at for word in words if (at := sql.lower().find(word.lower())) >= 0]
    return min(found) if found else offset_of(expression) or 0


def _unstable_functions(query: exp.Query, binder: Binder, sql: str) -> Iterator[Refusal]:
    unstable = binder.unstable_functions() - HARMLESS
    for call in query.find_all(exp.Func):
        written = text(call).lower()
        name = function_name(call) or written
        if name == "age" and written.count(",") == 0:
            name = "now"
        if name == PROCESSING_TIME and not is_time_of_window(call):
            hint = "TUMBLE(stream, proctime(), size) groups rows by the time at which they come in"
            yield Refusal(
                "proctime() is a time of rows that only a time window can go by", hint, _offset(call, sql, name)
            )
        if name in unstable or name in _SPECIAL_NAMES:
            hint = _ALTERNATIVES.get(name, _CHANCE if "uuid" in name else _TIME)
            message = f"{name}() gives another answer each time it is asked, so its rows cannot be kept up to date"
            yield Refusal(message, hint, _offset(call, sql, name, *_SPELLINGS.get(name, ())))


def is_time_of_window(call: exp.Expr) -> bool:
    """Whether a call is the time by which TUMBLE, HOP or CUMULATE places rows."""
    window = call.parent
    return (
        isinstance(window, exp.Anonymous) and window.name.lower() in WINDOW_FUNCTIONS and call is window.expressions[1]
    )


_SPECIAL_NAMES = frozenset({"current_timestamp", "localtimestamp", "current_time", "localtime"})
_SPELLINGS = {"now": ("current_timestamp", "age("), "current_timestamp": ("now(",), "current_date": ("today(",)}


def _samples_and_limits(query: exp.Query, sql: str) -> Iterator[Refusal]:
    for sample in query.find_all(exp.TableSample):
        message = "a sample is drawn anew each time, so its rows cannot be kept up to date"
        yield Refusal(
            message, "WHERE hash(key) % 10 = 0 keeps a tenth of the rows for good", _offset(sample, sql, "sample")
        )
    for found in query.find_all(exp.Select, exp.SetOperation, exp.Subquery):
        limited = found.args.get("limit") or found.args.get("offset")
        if limited is not None and found.args.get("order") is None and not isinstance(found.parent, exp.Exists):
            message = "LIMIT without ORDER BY takes any rows, and which ones would change from run to run"
            yield Refusal(message, "say which rows: ORDER BY ... LIMIT ...", _offset(limited, sql, "limit", "offset"))


def _open_pivots(query: exp.Query, sql: str) -> Iterator[Refusal]:
    for pivot in query.find_all(exp.Pivot):
        fields = pivot.args.get("fields") or pivot.expressions
        if not pivot.args.get("unpivot") and not all(isinstance(f, exp.In) and f.expressions for f in fields):
            message = "a PIVOT without a list of values would have other columns with every new value"
            yield Refusal(message, "list the values: PIVOT t ON column IN ('a', 'b')", _offset(pivot, sql, "pivot"))


def _joins_and_tables(query: exp.Query, sql: str) -> Iterator[Refusal]:
    for join in query.find_all(exp.Join):
        if join.method.upper() == "POSITIONAL":
            message = "POSITIONAL JOIN pairs rows by their order, and a stream's rows have none"
            yield Refusal(message, "join on a key", _offset(join, sql, "positional"))
    for table in query.find_all(exp.Table):
        function = table.this
        name = function_name(function)
        if name and name not in PURE_TABLE_FUNCTIONS and not isinstance(function, exp.GenerateSeries | exp.Unnest):
            message = f"{name}() reads from outside, where changes would not be seen"
            yield Refusal(message, "make it a source in headwater.yml and name that", _offset(function, sql, name))


def _lost_in_translation(sql: str) -> Iterator[Refusal]:
    """`~` is a full match in DuckDB, which the parser takes for a partial one."""
    tokens = DuckDB().tokenize(sql)
    for before, token in pairwise(tokens):
        if token.token_type == TokenType.TILDE and before.token_type in _OPERAND_ENDS:
            yield Refusal(
                "the operator ~ is not understood here", "write regexp_full_match(text, pattern)", token.start
            )


_OPERAND_ENDS = frozenset(
    {TokenType.VAR, TokenType.STRING, TokenType.IDENTIFIER, TokenType.R_PAREN, TokenType.R_BRACKET}
)
