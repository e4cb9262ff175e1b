"""Runs SQL over a delta and sets aside the rows on which it fails; the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.accounting import Ledger
from headwater.engine.delta import ORIGIN, absolute, mask, rows_at, with_origin
from headwater.engine.session import ROW_ERRORS, Session
from headwater.index.kernels import Longs
from headwater.sql.plan import Node

_FEW = 32
"""So many rows are bisected without a probe."""

_ASKED_ONE_BY_ONE = 200
"""Of so many failing rows of a batch DuckDB is asked for the message of each, which costs half a millisecond."""


@dataclass(frozen=True)
class Failure:
    """Why SQL cannot be run over a row or a key.

    Attributes:
        at: its number in the table given.
        reason: the code in the ledger.
        message: DuckDB's, first line.
    """

    at: int
    reason: str
    message: str


def failure(at: int, error: duckdb.Error) -> Failure:
    """Reads DuckDB's error."""
    return Failure(at, _reason(error), str(error).splitlines()[0])


def probe_of(where: str, expressions: list[str]) -> str:
    """SQL that is true for the rows on which a condition, or where it holds an expression, fails."""
    # NULL is wrapped in a list, so that it is TRY's answer only where something fails.
    row = f"row({', '.join(expressions)})" if expressions else "true"
    return f"TRY([CASE WHEN {where or 'true'} THEN {row} END]) IS NULL"


_Find = Callable[[str, pa.Table, duckdb.Error], list[Failure]]


class Evaluator:
    """Evaluates row by row expressions of one node.

    Args:
        source: the node whose rows are read.
        direct: the input that the rows come from one by one, else "".
        name: who evaluates, for the rejects of rows that are not an input's.
        probe: SQL over a row that is true where evaluating it fails; "" if there is none.
    """

    def __init__(self, session: Session, ledger: Ledger, source: Node, direct: str, name: str, probe: str = "") -> None:
        self._session, self._ledger, self._source, self._direct, self._name = session, ledger, source, direct, name
        self._probe = probe

    def run(self, sql: str, delta: pa.Table) -> pa.Table:
        """The result over the rows that do not fail. A failing row is rejected in both directions: what it would have
        added was never there to be retracted."""
        return self.apart(sql, delta)[0]

    def apart(self, sql: str, delta: pa.Table) -> tuple[pa.Table, pa.Table]:
        """As `run`, and the rows that do not fail."""
        finders: list[_Find] = (
            [self._probed, self._bisected] if self._probe and delta.num_rows > _FEW else [self._bisected]
        )
        rest = delta
        for find in finders:
            try:
                return self._session.run(sql, {self._source: rest}), rest
            except ROW_ERRORS as error:
                rest = with_origin(rest) if self._direct else rest
                failures = find(sql, rest, error)
            self._reject(rest, failures)
            rest = self._without(rest, failures)
        return self._session.run(sql, {self._source: rest}), rest

    def _without(self, delta: pa.Table, failures: list[Failure]) -> pa.Table:
        """The rows that have not failed; of an input's row that became several, none."""
        bad = np.zeros(delta.num_rows, np.bool_)
        bad[[found.at for found in failures]] = True
        if self._direct:
            gone = mask(delta, bad).column(ORIGIN).combine_chunks()
            return mask(delta, pc.invert(pc.is_in(delta.column(ORIGIN), gone)))
        return mask(delta, ~bad)

    def _probed(self, sql: str, delta: pa.Table, _: duckdb.Error) -> list[Failure]:
        """Asks the probe, vectorised, and then DuckDB for the messages; finds nothing where TRY is not allowed, or
        catches nothing."""
        try:
            suspects = np.flatnonzero(self._session.evaluate(self._probe, self._source, delta).to_numpy())
        except (duckdb.BinderException, *ROW_ERRORS):
            return []
        asked = suspects[:_ASKED_ONE_BY_ONE]
        failures = [found for at in asked.tolist() if (found := self._alone(sql, delta, at)) is not None]
        if not failures:
            return []
        told = f"one of {len(suspects)} rows of a batch on which it fails; the first says: {failures[0].message}"
        return [*failures, *(Failure(at, failures[0].reason, told) for at in suspects[len(asked) :].tolist())]

    def _alone(self, sql: str, delta: pa.Table, at: int) -> Failure | None:
        """The failure of one row, None if it does not fail."""
        try:
            self._session.run(sql, {self._source: delta.slice(at, 1)})
        except ROW_ERRORS as error:
            return failure(at, error)
        return None

    def _bisected(self, sql: str, delta: pa.Table, error: duckdb.Error, first: int = 0) -> list[Failure]:
        """Halves the delta, over which `sql` fails, down to the rows; its first row has the number `first`."""
        if delta.num_rows == 1:
            return [failure(first, error)]
        half = delta.num_rows // 2
        found: list[Failure] = []
        for start, part in ((0, delta.slice(0, half)), (half, delta.slice(half))):
            try:
                self._session.run(sql, {self._source: part})
            except ROW_ERRORS as again:
                found += self._bisected(sql, part, again, first + start)
        if not found:
            raise error
        return found

    def _reject(self, delta: pa.Table, failures: list[Failure]) -> None:
        """Puts each failing row into the ledger once: the input's row where there is one."""
        if self._direct:
            origins = delta.column(ORIGIN).to_numpy()
            by_origin = {int(origins[found.at]): found for found in failures}
            rows = self._ledger.originals(self._direct, np.array(list(by_origin), np.int64))
            self._ledger.counts.rejected += absolute(rows)
            failures = list(by_origin.values())
        else:
            rows = rows_at(delta.select([*self._source.names, WEIGHT]), _numbers(failures))
        reasons, messages = [found.reason for found in failures], [found.message for found in failures]
        self._ledger.reject(self._direct or self._name, rows, "evaluate", reasons, messages)


def _numbers(failures: list[Failure]) -> Longs:
    return np.array([found.at for found in failures], np.int64)


def _reason(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.ConversionException):
        return "conversion"
    return "out_of_range" if isinstance(error, duckdb.OutOfRangeException) else "invalid_input"
