"""The queries' texts, and what each reads."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pyarrow as pa

from headwater.bench.nexmark.generator import SCHEMAS
from headwater.errors import UserError

NAMES = tuple(f"q{number}" for number in range(24))
SIDE_INPUT = "side_input"
SIDE_ROWS = 10_000
ARRIVAL = "arrival"
_PROCESSING_TIME = "proctime()"
APPEND_ONLY = ("person", "auction", "bid", SIDE_INPUT)
"""Streams without retractions, which is all of them."""

INPUTS: dict[str, pa.Schema] = {**SCHEMAS, SIDE_INPUT: pa.schema([("key", pa.int64()), ("value", pa.string())])}
"""The columns of everything that queries may read."""


@dataclass(frozen=True)
class Query:
    """One query.

    Attributes:
        name: q0 to q23.
        sql: its text, as DuckDB takes it too.
    """

    name: str
    sql: str

    @property
    def batch_sql(self) -> str:
        """What DuckDB is asked over all rows: the same, but when a row came in is in its column `arrival`."""
        return self.sql.replace(_PROCESSING_TIME, ARRIVAL)

    @property
    def by_arrival(self) -> bool:
        """Whether the answer hangs on when batches came in (q12)."""
        return _PROCESSING_TIME in self.sql


def query(name: str) -> Query:
    """A query by name.

    Raises:
        UserError: there is none.
    """
    if name not in NAMES:
        raise UserError(f"there is no Nexmark query {name!r}", hint=f"they are {NAMES[0]} to {NAMES[-1]}, or all")
    return Query(name, files(__package__).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8"))


def chosen(names: str) -> list[str]:
    """The names in a list such as "q0,q3", or "all".

    Raises:
        UserError: one of them is not a query.
    """
    if names == "all":
        return list(NAMES)
    return [query(name.strip()).name for name in names.split(",") if name.strip()]


def side_input() -> pa.Table:
    """The table in which q13 looks values up: each key with its own text."""
    keys = pa.array(np.arange(SIDE_ROWS))
    return pa.Table.from_arrays([keys, keys.cast(pa.string())], schema=INPUTS[SIDE_INPUT])
