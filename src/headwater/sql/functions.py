"""Functions of the user's own: Python over Arrow columns, called from SQL like any other.

    @headwater.udf(["VARCHAR"], "BOOLEAN")
    def is_palindrome(words: pa.ChunkedArray) -> pa.Array:
        return pc.equal(words, pc.utf8_reverse(words))

A function is given one Arrow column per argument, NULLs and all, and returns one of the same length. How DuckDB cuts
rows into columns is its own affair, so the answer for a row must depend on that row alone, and be the same each time.
What a function raises rejects the rows on which it does.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import duckdb
import pyarrow as pa
import sqlglot
from duckdb.func import FunctionNullHandling, PythonUDFType
from sqlglot import exp

from headwater.errors import Place, UserError

Type: TypeAlias = "str | pa.DataType"
"""DuckDB's name of a type, or an Arrow type."""

Columns = Callable[..., "pa.Array | pa.ChunkedArray"]


@dataclass(frozen=True)
class Function:
    """A function of the user's own, made by `udf`. Can be called as the Python function that it is.

    Attributes:
        name: as SQL calls it.
        arguments: DuckDB's names of the types of its arguments.
        returns: that of its result.
        body: the Python function.
        place: where it is defined.
        fingerprint: changes with its types and its text; not with what it calls.
    """

    name: str
    arguments: tuple[str, ...]
    returns: str
    body: Columns
    place: Place
    fingerprint: str

    def __call__(self, *columns: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        return self.body(*columns)

    def called_in(self, sql: str) -> bool:
        """Whether SQL may call it."""
        return re.search(rf"\b{self.name}\b\"?\s*\(", sql, re.IGNORECASE) is not None

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes it known to a DuckDB connection."""

        def run(*columns: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
            return self._run(*columns)

        # DuckDB counts the parameters.
        named = [inspect.Parameter(f"a{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(len(self.arguments))]
        vars(run)["__signature__"] = inspect.Signature(named)
        connection.create_function(
            self.name, run, list(self.arguments), self.returns,
            type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL, side_effects=False,
        )  # fmt: skip

    def _run(self, *columns: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """The body, its failures told with their place."""
        try:
            result = self.body(*columns)
        except Exception as error:
            raise ValueError(f"{self.name} ({self._line(error)}): {type(error).__name__}: {error}") from error
        if not isinstance(result, pa.Array | pa.ChunkedArray):
            raise TypeError(f"{self.name} ({self.place}) returned {type(result).__name__}, not an Arrow array")
        if result.type != (wanted := arrow_type(self.returns)):
            raise TypeError(f"{self.name} ({self.place}) returned {result.type}, not {wanted}, its {self.returns}")
        return result

    def _line(self, error: Exception) -> str:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.place.file]
        return f"{self.place.file}:{own[-1].lineno}" if own else str(self.place)


def udf(
    arguments: Sequence[Type], returns: Type, *, name: str | None = None, deterministic: bool = True
) -> Callable[[Columns], Function]:
    """Makes a Python function one that SQL can call.

    Args:
        arguments: the types of its arguments.
        returns: that of its result.
        name: what SQL calls it; its own name if not given.
        deterministic: that it gives the same answer for the same row each time; there is no other kind.

    Raises:
        UserError: the name is taken, a type is not known, or the function is not deterministic.
    """

    def decorated(body: Columns) -> Function:
        place = _place(body)
        called = (name or body.__name__).lower()
        if not deterministic:
            hint = "give it what it depends on as an argument, such as a column of times"
            raise UserError(f"{called} must give the same answer each time", hint=hint, place=place)
        _check_name(called, place)
        types = tuple(_type_name(type_, place) for type_ in arguments)
        result = _type_name(returns, place)
        print_ = "\0".join((called, *types, result, _source(body)))
        return Function(called, types, result, body, place, hashlib.sha256(print_.encode()).hexdigest()[:16])

    return decorated


def register(functions: Iterable[Function], connection: duckdb.DuckDBPyConnection) -> None:
    """Makes functions known to a connection.

    Raises:
        UserError: two have one name.
    """
    places: dict[str, Place] = {}
    for function in functions:
        if function.name in places:
            hint = f"the other is at {places[function.name]}"
            raise UserError(f"two functions are called {function.name}", hint=hint, place=function.place)
        places[function.name] = function.place
        function.register(connection)


@cache
def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type that DuckDB gives one of its types.

    Raises:
        duckdb.Error: there is no such type.
    """
    with duckdb.connect(":memory:") as connection:
        return connection.sql(f"SELECT CAST(NULL AS {type_}) AS value").to_arrow_table().schema.field(0).type


@cache
def _taken() -> frozenset[str]:
    """Names of DuckDB's own functions."""
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return frozenset(str(name) for (name,) in rows)


def _check_name(name: str, place: Place) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise UserError(f"SQL cannot call a function {name!r}", hint="letters, digits and _ only", place=place)
    plain = isinstance(sqlglot.parse_one(f"SELECT {name}(1)", read="duckdb").expressions[0], exp.Anonymous)
    if name in _taken() or not plain:
        hint = 'give it another: @headwater.udf(..., name="my_' + name + '")'
        raise UserError(f"SQL has a function {name} already", hint=hint, place=place)


def _type_name(type_: Type, place: Place) -> str:
    """DuckDB's name of a type."""
    try:
        with duckdb.connect(":memory:") as connection:
            if isinstance(type_, pa.DataType):
                connection.register("given", pa.schema([("value", type_)]).empty_table())
                return str(connection.execute("DESCRIBE FROM given").fetchall()[0][1])
            return str(connection.execute(f"DESCRIBE SELECT CAST(NULL AS {type_}) AS value").fetchall()[0][1])
    except duckdb.Error as error:
        raise UserError(f"there is no type {type_}", hint=str(error).splitlines()[0], place=place) from error


def _place(body: Columns) -> Place:
    code = getattr(body, "__code__", None)
    return Place(code.co_filename, code.co_firstlineno, 1) if code is not None else Place("<function>", 1, 1)


def _source(body: Columns) -> str:
    """The function's text; of one typed at a prompt, its code."""
    try:
        return inspect.getsource(body)
    except (OSError, TypeError):
        code = getattr(body, "__code__", None)
        return repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(body)
