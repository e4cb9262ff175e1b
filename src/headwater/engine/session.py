"""The DuckDB connections of a worker: runs the plan's SQL over Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb
import pyarrow as pa

from headwater.sql.bind import quote
from headwater.sql.functions import Function, register
from headwater.sql.plan import Node
from headwater.sql.prelude import connect, shared, tries

ROW_ERRORS = (duckdb.DataError, duckdb.InvalidInputException)
"""What DuckDB raises when it can run a query but not on this row: a cast that fails, a number out of range."""


class Feed:
    """Rows that change behind a name that DuckDB knows: what is bound once reads what is there when it runs.

    Registering a table and making a relation take DuckDB half a millisecond, as much as it takes to run one.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows: pa.Table | None = None

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        rows = self.schema.empty_table() if self.rows is None else self.rows
        return rows.__arrow_c_stream__(requested_schema)


class Session:
    """Two connections, one of them for SQL that tries (`headwater.sql.prelude.tries`), which work on the thread that
    calls; one thread at a time.

    Args:
        functions: those that are the user's own.
        worker: number of the worker. The sessions of workers that work at the same time are to share no database.
    """

    def __init__(self, functions: Iterable[Function] = (), worker: int = 0) -> None:
        self._functions, self._worker = tuple(functions), worker
        self._plain = self._line(trying=False)
        self._trying: Line | None = None

    def run(self, sql: str, relations: Mapping[Node, pa.Table]) -> pa.Table:
        """Runs a query over the relations of plan nodes (columns beyond the node's are seen too).

        Raises:
            duckdb.Error: the query fails.
        """
        if not tries(sql):
            return self._plain.run(sql, relations)
        self._trying = self._trying or self._line(trying=True)
        return self._trying.run(sql, relations)

    def evaluate(self, expression: str, node: Node, rows: pa.Table) -> pa.ChunkedArray:
        """One expression over the rows of a node, in their order."""
        return self.run(f"SELECT {expression} AS value FROM {quote(node.name)}", {node: rows}).column(0)

    def close(self) -> None:
        """Gives the connections up."""
        for line in (self._plain, self._trying):
            if line is not None:
                line.connection.close()

    def _line(self, *, trying: bool) -> Line:
        own = self._functions
        connection = connect(trying=trying) if own else shared(f"worker {self._worker}", trying=trying)
        register(own, connection)
        return Line(connection)


class Line:
    """A connection, with what it has bound.

    Args:
        connection: it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._feeds: dict[str, Feed] = {}
        self._relations: dict[str, duckdb.DuckDBPyRelation] = {}

    def run(self, sql: str, relations: Mapping[Node, pa.Table]) -> pa.Table:
        """See `Session.run`."""
        feeds = [self._feed(node, table) for node, table in relations.items()]
        if sql not in self._relations:
            self._relations[sql] = self.connection.sql(sql)
        try:
            result: pa.Table = self._relations[sql].to_arrow_table()
        finally:
            for feed in feeds:
                feed.rows = None
        return result

    def _feed(self, node: Node, table: pa.Table) -> Feed:
        """Shows rows under the node's name, in the types that DuckDB gave them."""
        feed = self._feeds.get(node.name)
        if feed is None or not feed.schema.equals(table.schema):
            feed = self._feeds[node.name] = Feed(table.schema)
            self._register(node, feed)
        feed.rows = table
        return feed

    def _register(self, node: Node, feed: Feed) -> None:
        inexact = [column for column in node.columns if not column.exact and column.name in feed.schema.names]
        name = f"{node.name}_arrow" if inexact else node.name
        self.connection.register(name, feed)
        if inexact:
            casts = ", ".join(f"CAST({quote(c.name)} AS {c.type}) AS {quote(c.name)}" for c in inexact)
            self.connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {quote(node.name)} AS SELECT * REPLACE ({casts}) FROM {quote(name)}"
            )
