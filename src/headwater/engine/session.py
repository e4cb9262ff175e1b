"""The DuckDB connection of a view: runs the plan's SQL over Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from headwater.sql.bind import quote
from headwater.sql.plan import Node
from headwater.sql.prelude import connect

ROW_ERRORS = (duckdb.DataError, duckdb.InvalidInputException)
"""What DuckDB raises when it can run a query but not on this row: a cast that fails, a number out of range."""


class Session:
    """One connection, which works on the thread that calls; one thread at a time."""

    def __init__(self) -> None:
        self._connection = connect()

    def run(self, sql: str, relations: Mapping[Node, pa.Table]) -> pa.Table:
        """Runs a query over the relations of plan nodes (columns beyond the node's are seen too).

        Raises:
            duckdb.Error: the query fails.
        """
        for node, table in relations.items():
            self._show(node, table)
        result: pa.Table = self._connection.sql(sql).to_arrow_table()
        return result

    def evaluate(self, expression: str, node: Node, rows: pa.Table) -> pa.ChunkedArray:
        """One expression over the rows of a node, in their order."""
        return self.run(f"SELECT {expression} AS value FROM {quote(node.name)}", {node: rows}).column(0)

    def _show(self, node: Node, table: pa.Table) -> None:
        """Registers rows under the node's name, in the types that DuckDB gave them."""
        inexact = [column for column in node.columns if not column.exact and column.name in table.column_names]
        name = f"{node.name}_arrow" if inexact else node.name
        self._connection.register(name, table)
        if inexact:
            casts = ", ".join(f"CAST({quote(c.name)} AS {c.type}) AS {quote(c.name)}" for c in inexact)
            self._connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {quote(node.name)} AS SELECT * REPLACE ({casts}) FROM {quote(name)}"
            )

    def close(self) -> None:
        """Gives the connection up."""
        self._connection.close()
