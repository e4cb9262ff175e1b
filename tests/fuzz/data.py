"""Random tables and random histories of them: small domains, so that groups, duplicates and collisions abound."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

BASE = datetime(2024, 5, 1, 12, 0, 0)
Value = object
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Kind:
    """A column's type, and the values that it takes.

    Attributes:
        family: which expressions fit: int, decimal, float, text, bool, time, date or list.
    """

    family: str
    arrow: pa.DataType
    domain: tuple[Value, ...]


KINDS = {
    "small": Kind("int", pa.int64(), (0, 1, 2, 3)),
    "int": Kind("int", pa.int32(), (*range(-2, 4), 70_000)),
    "tiny": Kind("int", pa.int8(), (-1, 0, 1, 5)),
    "bigint": Kind("big", pa.int64(), (0, 1, 9_000_000_000_000_000_000, -9_000_000_000_000_000_000)),
    "ubigint": Kind("big", pa.uint64(), (0, 1, 2, 18_000_000_000_000_000_000)),
    "decimal": Kind(
        "decimal", pa.decimal128(10, 2), (Decimal("0.00"), Decimal("1.25"), Decimal("-7.10"), Decimal("99999.99"))
    ),
    "plain": Kind("float", pa.float64(), (0.0, 0.5, 1.5, -2.5, 4.0)),
    "double": Kind("wild", pa.float64(), (0.0, -0.0, 1.5, -2.5, 1e17, math.nan, math.inf, -math.inf)),
    "real": Kind("wild", pa.float32(), (0.0, 0.25, -1.5, math.nan)),
    "text": Kind("text", pa.string(), ("x", "y", "z", "", "it's", "ü")),
    "long_text": Kind("text", pa.string(), ("aaaaaaaaaaaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaaaaaaaaaaa2", "b")),
    "bool": Kind("bool", pa.bool_(), (True, False)),
    "date": Kind("date", pa.date32(), tuple(date(2024, 5, day) for day in (1, 2, 3))),
    "time": Kind("time", pa.timestamp("us"), tuple(BASE + timedelta(seconds=s) for s in range(0, 40, 3))),
    "zoned": Kind(
        "zoned",
        pa.timestamp("us", "UTC"),
        tuple((BASE + timedelta(seconds=s)).replace(tzinfo=UTC) for s in range(0, 40, 5)),
    ),
    "list": Kind("list", pa.list_(pa.int32()), ([], [1], [2, 3, 3], [None, 4])),
}


@dataclass(frozen=True)
class TableOf:
    """An input: its columns' names and kinds. `id` is unique among distinct rows."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def schema(self) -> pa.Schema:
        """As Arrow has it."""
        return pa.schema([(name, KINDS[kind].arrow) for name, kind in self.columns])

    def row(self, rng: random.Random, number: int, nulls: float) -> Row:
        """A random row."""
        return tuple(
            number if name == "id" else None if rng.random() < nulls else rng.choice(KINDS[kind].domain)
            for name, kind in self.columns
        )

    def table(self, changes: list[tuple[Row, int]]) -> pa.Table:
        """Changes as an Arrow delta."""
        arrays = [pa.array([row[i] for row, _ in changes], f.type) for i, f in enumerate(self.schema)]
        weights = pa.array([weight for _, weight in changes], pa.int64())
        return pa.Table.from_arrays([*arrays, weights], names=[*self.schema.names, "_weight"])


Step = dict[str, list[tuple[Row, int]]]
"""The changes of one step: rows and weights by input."""


def random_tables(rng: random.Random) -> tuple[TableOf, ...]:
    """Two or three inputs. Each has `id`, a small integer `a` and a text `b`, and a few columns of any kind."""
    tables = []
    for name in ("t", "u", "v")[: rng.choice((2, 2, 3))]:
        more = [(f"c{i}", rng.choice(list(KINDS))) for i in range(rng.randint(1, 3))]
        first = ("a", rng.choice(("small", "int")))
        columns = [("id", "int"), first, ("b", rng.choice(("text", "long_text"))), ("ts", "time"), *more]
        tables.append(TableOf(name, tuple(columns)))
    return tuple(tables)


def random_history(rng: random.Random, tables: tuple[TableOf, ...], append_only: frozenset[str]) -> list[Step]:
    """A few steps of changes, a third of them retractions where allowed; often everything is taken back at last."""
    pools: dict[str, list[Row]] = {table.name: [] for table in tables}
    held: dict[str, Counter[int]] = {table.name: Counter() for table in tables}
    nulls = rng.choice((0.0, 0.1, 0.3))
    steps: list[Step] = []
    for _ in range(rng.choice((2, 3, 4))):
        chosen = [table for table in tables if rng.random() < 0.75]
        step: Step = {}
        for table in chosen:
            count = rng.choice((1, 3, 8, 15))
            pool, kept = pools[table.name], held[table.name]
            appends = table.name in append_only
            step[table.name] = [_change(rng, table, pool, kept, appends, nulls) for _ in range(count)]
        steps.append(step)
    if rng.random() < 0.3:
        steps.append({
            table.name: [(pools[table.name][i], -n) for i, n in held[table.name].items() if n]
            for table in tables if table.name not in append_only
        })  # fmt: skip
    return steps


def _change(
    rng: random.Random, table: TableOf, pool: list[Row], held: Counter[int], appends: bool, nulls: float
) -> tuple[Row, int]:
    there = [i for i, n in held.items() if n > 0]
    number, weight = len(pool), 1
    if there and not appends and rng.random() < 0.35:
        number, weight = rng.choice(there), -1
    elif there and rng.random() < 0.15:
        number, weight = rng.choice(there), rng.choice((1, 2))
    else:
        pool.append(table.row(rng, len(pool), nulls))
    held[number] += weight
    return pool[number], weight


def rows_after(steps: list[Step], name: str) -> list[Row]:
    """The rows of an input that are there after some steps, each as often as it is."""
    net: Counter[str] = Counter()
    rows: dict[str, Row] = {}
    for step in steps:
        for row, weight in step.get(name, ()):
            net[repr(row)] += weight
            rows[repr(row)] = row
    return [rows[key] for key, count in net.items() for _ in range(count)]


def legal(steps: list[Step]) -> bool:
    """Whether no row is ever retracted that is not there: what shrinking must keep."""
    net: Counter[tuple[str, str]] = Counter()
    for step in steps:
        for name, changes in step.items():
            for row, weight in changes:
                net[name, repr(row)] += weight
        if any(count < 0 for count in net.values()):
            return False
    return True


def row_by_row(step: Step) -> list[Step]:
    """The same changes, each in a step of its own; retractions of a row that the step adds come after it anyway."""
    return [{name: [change]} for name, changes in step.items() for change in changes]


def trimmed(table: TableOf, used: set[str]) -> TableOf:
    """The table with only the columns used."""
    return replace(table, columns=tuple(column for column in table.columns if column[0] in used))
