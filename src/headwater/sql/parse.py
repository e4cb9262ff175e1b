"""Text to tree: one SELECT in DuckDB's dialect, and the names that it reads.

Together with the rest of `headwater.sql` this is the only place that imports sqlglot.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from headwater.errors import Place, SqlError

DIALECT = "duckdb"

WINDOW_FUNCTIONS = ("tumble", "hop", "cumulate", "session")
"""Table functions over event time; the first argument is the name of the stream that they read."""


def parse(sql: str, *, file: str = "<sql>", first_line: int = 1, what: str = "a model") -> exp.Query:
    """Parses a model's one SELECT.

    Args:
        sql: the statement; a closing semicolon is allowed.
        file: what to call the text in errors.
        first_line: the line of `file` on which `sql` begins.
        what: what to call the statement in errors.

    Raises:
        SqlError: it is not one SELECT, or cannot be parsed; with its place.
    """
    try:
        parsed = DuckDB().parser().parse(_tokens(sql), sql)
    except ParseError as error:
        raise _parse_error(error, file, first_line) from error
    except TokenError as error:
        raise SqlError(f"this text cannot be read as SQL: {error}", place=Place(file, first_line, 1)) from error
    statements = [s for s in parsed if s is not None and not isinstance(s, exp.Semicolon)]
    place = Place(file, first_line, 1)
    if len(statements) != 1:
        raise SqlError(f"{what} is one SELECT; here are {len(statements)} statements", place=place)
    statement = statements[0]
    if isinstance(statement, exp.Pivot):
        statement = exp.select("*").from_(exp.Subquery(this=statement))
    elif isinstance(statement, exp.Values):
        statement = exp.select("*").from_(statement)
    if not isinstance(statement, exp.Query):
        hint = f"write the rows that {what} should hold as one SELECT"
        raise SqlError(f"{what} is a SELECT, not {statement.key.upper()}", hint=hint, place=place)
    return statement


def _tokens(sql: str) -> list[Token]:
    """The text's tokens, those that the parser must not take for a word of its own renamed."""
    tokens = DuckDB().tokenize(sql)
    for token, after in pairwise(tokens):
        if token.token_type == TokenType.SESSION and after.token_type == TokenType.L_PAREN:
            token.token_type = TokenType.VAR
    return tokens


def without_end(sql: str) -> str:
    """The statement without its semicolon and what follows it."""
    for token in DuckDB().tokenize(sql):
        if token.token_type == TokenType.SEMICOLON:
            return sql[: token.start]
    return sql


def without_places(query: exp.Query) -> None:
    """Drops comments, and the offsets that the parser noted in every name and call, but for the least one of each
    query, which is noted in the query itself. They are of use in messages alone, and to copy them takes longer than
    the rest of a tree."""
    least = {id(part): offset_of(part) for part in query.find_all(exp.Query)}
    for part in query.walk():
        start = least.get(id(part))
        kept = {name: value for name, value in (part._meta or {}).items() if name not in _PLACE}
        part._meta = kept | ({} if start is None else {"start": start}) or None
        part.comments = None


_PLACE = ("line", "col", "start", "end")


def offset_of(expression: exp.Expr) -> int | None:
    """The least offset that is noted in an expression."""
    return min(_noted(expression), default=None)


def _noted(expression: exp.Expr) -> Iterator[int]:
    # The property `meta` would make a dict for each part that has none.
    starts = (part.meta_get("start") for part in expression.walk())
    return (int(start) for start in starts if start is not None)


def _parse_error(error: ParseError, file: str, first_line: int) -> SqlError:
    detail = error.errors[0] if error.errors else {}
    line, column = int(detail.get("line") or 1), int(detail.get("col") or 1)
    near = detail.get("highlight") or ""
    column = max(1, column - len(near) + 1)
    message = (detail.get("description") or str(error)).rstrip(".")
    return SqlError(f"syntax error at {near!r}: {message}", place=Place(file, first_line + line - 1, column))


def tables_of(sql: str, *, file: str = "<sql>", first_line: int = 1) -> list[str]:
    """The streams and models that a SELECT reads, each once, in order of appearance, spelled as at their first.

    Names of its own CTEs are not among them; the first argument of a time window is.

    Raises:
        SqlError: the text is not one SELECT.
    """
    seen: dict[str, str] = {}
    for name in _reads(parse(sql, file=file, first_line=first_line), frozenset()):
        seen.setdefault(name.lower(), name)
    return list(seen.values())


def _reads(node: exp.Expr, ctes: frozenset[str]) -> Iterator[str]:
    """Table names under `node` that are not in `ctes`, which grows by each WITH on the way down."""
    with_ = node.args.get("with_")
    if isinstance(with_, exp.With):
        recursive = bool(with_.args.get("recursive"))
        for cte in with_.expressions:
            name = cte.alias.lower()
            yield from _reads(cte.this, ctes | {name} if recursive else ctes)
            ctes = ctes | {name}
    if isinstance(node, exp.Table):
        name = stream_name(node)
        if name and name.lower() not in ctes:
            yield name
    for child in node.iter_expressions():
        if child is not with_:
            yield from _reads(child, ctes)


def stream_name(table: exp.Table) -> str:
    """The name of the stream that a FROM item reads, through a time window too; "" for other table functions."""
    function = table.this
    if isinstance(function, exp.Identifier):
        return str(function.name)
    if isinstance(function, exp.Anonymous) and function.name.lower() in WINDOW_FUNCTIONS and function.expressions:
        return str(function.expressions[0].name)
    return ""
