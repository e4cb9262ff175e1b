"""One condition over the columns of a stream, as a user of a page writes it, made safe: a tree of what is known to end
soon and to take little memory, written anew. No subquery, no table, no file, no function that repeats or reads."""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp
from sqlglot.errors import SqlglotError

from headwater.errors import Place, SqlError
from headwater.sql.expressions import parsed
from headwater.sql.parse import DIALECT

MOST_CHARACTERS = 2000

_ALLOWED = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Not, exp.And, exp.Or, exp.EQ,
    exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Between, exp.In, exp.Like,
    exp.ILike, exp.Escape, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe, exp.Case,
    exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var,
    exp.Lower, exp.Upper, exp.Length, exp.Trim, exp.Substring, exp.Left, exp.Right, exp.StartsWith, exp.EndsWith,
    exp.Contains, exp.StrPosition, exp.RegexpLike, exp.RegexpFullMatch, exp.Abs, exp.Round, exp.Floor, exp.Ceil,
    exp.Extract, exp.Date, exp.TimestampTrunc, exp.DateTrunc, exp.CurrentTimestamp, exp.CurrentDate, exp.JSONExtract,
    exp.JSONExtractScalar, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript, exp.Bracket, exp.Dot,
    exp.Tuple, exp.Array, exp.ArrayContains, exp.ArraySize, exp.Greatest, exp.Least,
)  # fmt: skip


def row_filter(text: str, columns: Collection[str]) -> str:
    """The condition in DuckDB's SQL.

    Args:
        text: one expression.
        columns: names that it may use.

    Raises:
        SqlError: it is none, or holds what is not allowed here.
    """
    if len(text) > MOST_CHARACTERS:
        raise SqlError(f"a filter has at most {MOST_CHARACTERS} characters")
    try:
        tree = parsed(text)
        _check(tree, {name.lower() for name in columns})
        return tree.sql(dialect=DIALECT)
    except (SqlglotError, RecursionError) as error:
        raise SqlError(
            "this is not a condition over the stream's columns", hint="for instance: status = 'paid' AND amount > 10",
            place=Place("filter", 1, 1),
        ) from error  # fmt: skip


def _check(tree: exp.Expr, columns: Collection[str]) -> None:
    for part in tree.walk():
        if not isinstance(part, _ALLOWED):
            what = part.name if isinstance(part, exp.Anonymous) else part.key
            raise SqlError(
                f"a filter cannot have {what!r}", hint="use the SQL page for more than a condition over one row"
            )
        if isinstance(part, exp.Column) and (part.table or part.name.lower() not in columns):
            raise SqlError(f"there is no column {part.name!r}", hint=f"columns: {', '.join(sorted(columns))}")
