"""A SELECT over the project's tables, as `headwater query` answers it, in a DuckDB that is locked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from headwater.errors import FilesExpired, SqlError
from headwater.lake.moment import Moment
from headwater.serve.query import ATTEMPTS, Plan, install, lost_files, open_lake, plan
from headwater.serve.sandbox.cells import gather
from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.wire import Header
from headwater.sql.check import SourceText, translate
from headwater.sql.prelude import locked
from headwater.sql.read_only import require_read_only

BATCH_ROWS = 1024


def answer(given: Given, asked: Header, payload: bytes) -> str:
    """The rows of `sql`, as JSON: columns, rows, note, truncated.

    Raises:
        SqlError: the SQL is wrong, or is not to be asked.
        UserError: the moment is not kept.
    """
    sql = asked["sql"]
    wanted = require_read_only(sql)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with prepared(given, wanted, asked) as (connection, note):
                return rows_of(connection, sql, note, given, asked)
        except FilesExpired:
            if asked.get("at") or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


@contextmanager
def prepared(given: Given, wanted: Sequence[str], asked: Header) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A locked connection that knows these tables, and the moment they are of.

    Raises:
        FilesExpired: a table's files were removed while it was read.
    """
    connection = locked(given.limits.threads, int(given.limits.memory) // 2)
    if not wanted:
        yield connection, ""
        return
    lake = open_lake(given.project)
    try:
        planned = plan(given.project, lake, wanted, _moment(asked), asked.get("fresh"))
        install(connection, given.project, planned, wanted)
        with _lost(planned):
            yield connection, planned.note
    finally:
        lake.close()


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str, note: str, given: Given, asked: Header) -> str:
    """The answer to a query as JSON."""
    limits = given.limits
    most = min(int(asked.get("limit") or limits.max_rows), limits.max_rows)
    try:
        relation = connection.sql(sql)
        columns = [
            {"name": name, "type": str(kind)} for name, kind in zip(relation.columns, relation.types, strict=True)
        ]
        cells = gather(relation.to_arrow_reader(BATCH_ROWS), most, int(limits.max_bytes))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise placed(connection, sql, error) from error
    head = json.dumps({"columns": columns, "note": note, "truncated": cells.truncated})
    return f'{head[:-1]}, "rows": [{", ".join(cells.rows)}]}}'


def placed(connection: duckdb.DuckDBPyConnection, sql: str, error: duckdb.Error) -> SqlError:
    """What DuckDB finds wrong with a query, with its place, which only a statement tells."""
    try:
        connection.execute(f"EXPLAIN\n{sql}")
    except duckdb.Error as told:
        return translate(told, SourceText(f"EXPLAIN\n{sql}", "", 0))
    return translate(error, SourceText(sql, ""))


@contextmanager
def _lost(planned: Plan) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        expired = lost_files(planned)
        if expired is not None:
            raise expired from error
        raise


def _moment(asked: Header) -> Moment | None:
    if not asked.get("at"):
        return None
    from headwater.clock import SystemClock
    from headwater.serve.moment_text import parse_moment

    return parse_moment(str(asked["at"]), SystemClock().now_us())
