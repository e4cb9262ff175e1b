"""Runs SQL over a delta and sets aside the rows on which it fails; the rest goes on."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.accounting import Ledger
from headwater.engine.delta import ORIGIN, absolute
from headwater.engine.session import ROW_ERRORS, Session
from headwater.sql.plan import Node

Failure = tuple[int, str, str]
"""A row's number in the delta, the reason's code, and DuckDB's message."""


class Evaluator:
    """Evaluates row by row expressions of one node.

    Args:
        source: the node whose rows are read.
        direct: the input that the rows come from one by one, else "".
        name: who evaluates, for the rejects of rows that are not an input's.
    """

    def __init__(self, session: Session, ledger: Ledger, source: Node, direct: str, name: str) -> None:
        self._session, self._ledger, self._source, self._direct, self._name = session, ledger, source, direct, name

    def run(self, sql: str, delta: pa.Table) -> pa.Table:
        """The result over the rows that do not fail. A failing row is rejected in both directions: what it would have
        added was never there to be retracted."""
        try:
            return self._session.run(sql, {self._source: delta})
        except ROW_ERRORS as error:
            failures = self._failures(sql, delta, 0, error)
        good = np.ones(delta.num_rows, np.bool_)
        good[[row for row, _, _ in failures]] = False
        rest = delta.filter(pa.array(good))
        self._reject(delta, failures)
        if self._direct:
            gone = delta.filter(pa.array(~good)).column(ORIGIN)
            rest = rest.filter(pc.invert(pc.is_in(rest.column(ORIGIN), gone.combine_chunks())))
        return self._session.run(sql, {self._source: rest})

    def _failures(self, sql: str, delta: pa.Table, first: int, error: duckdb.Error) -> list[Failure]:
        """Bisects: `sql` fails over `delta`, whose first row has the number `first`."""
        if delta.num_rows == 1:
            return [(first, _reason(error), str(error).splitlines()[0])]
        half = delta.num_rows // 2
        found: list[Failure] = []
        for start, part in ((0, delta.slice(0, half)), (half, delta.slice(half))):
            try:
                self._session.run(sql, {self._source: part})
            except ROW_ERRORS as again:
                found += self._failures(sql, part, first + start, again)
        if not found:
            raise error
        return found

    def _reject(self, delta: pa.Table, failures: list[Failure]) -> None:
        """Puts each failing input row into the ledger once."""
        if self._direct:
            origins = delta.column(ORIGIN).to_numpy()
            by_origin = {int(origins[row]): (reason, message) for row, reason, message in failures}
            rows = self._ledger.originals(self._direct, np.array(list(by_origin), np.int64))
            self._ledger.counts.rejected += absolute(rows)
            whys = list(by_origin.values())
        else:
            kept = delta.select([*self._source.names, WEIGHT])
            rows = kept.take(pa.array([row for row, _, _ in failures], pa.int64()))
            whys = [(reason, message) for _, reason, message in failures]
        for i, (reason, message) in enumerate(whys):
            self._ledger.reject(self._direct or self._name, rows.slice(i, 1), "evaluate", reason, [message])


def _reason(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.ConversionException):
        return "conversion"
    return "out_of_range" if isinstance(error, duckdb.OutOfRangeException) else "invalid_input"
