"""The oracle: whatever the history and however it is cut, a view holds what DuckDB answers over the whole input.

A `.test` file under tests/sql declares inputs and queries:

    input t (id int, a int, b varchar)
    query
    SELECT ...
    query emit=final late=drop plan=aggregate,join
    SELECT ...
    query append_only=t without=accumulators
    SELECT ...                  -- `t` is declared and given without retractions; that fast path is off
    query rejects=a
    SELECT ...                  -- fails on rows whose `a` is no number; those are to be rejected

Rows are random by seed: values from small domains, so that groups, duplicates and collisions abound, NULL and NaN
included, and a third of the changes are retractions. A column called `id` is unique among distinct rows.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa

from headwater.engine.view import View
from headwater.sql.prelude import shared

BASE = datetime(2024, 5, 1, 12, 0, 0)
DOMAINS = {
    "int": (*range(-2, 4), 70_000),
    "small": (0, 1, 2, 3),
    "bigint": (*range(-2, 4), 9_000_000_000_000_000_000, -9_000_000_000_000_000_000),
    "ubigint": (0, 1, 2, 18_000_000_000_000_000_000),
    "varchar": ("x", "y", "z", "", "it's", "ü"),
    "mixed": ("1", "2", "30", "bad", ""),
    "digits": ("1", "2", "30"),
    "double": (0.0, 1.5, -2.5, 1e17, math.nan, math.inf),
    "plain": (0.0, 0.5, 1.5, -2.5, 4.0),
    "boolean": (True, False),
    "date": tuple(date(2024, 5, day) for day in (1, 2, 3)),
    "decimal(10,2)": (Decimal("0.00"), Decimal("1.25"), Decimal("-7.10"), Decimal("99999999.99")),
    "int[]": ([], [1], [2, 3, 3], [None, 4]),
    "timestamp": tuple(BASE + timedelta(seconds=s) for s in range(0, 40, 3)),
    "timestamptz": tuple((BASE + timedelta(seconds=s)).replace(tzinfo=UTC) for s in range(0, 40, 3)),
}
TYPES = {
    "small": pa.int64(), "int": pa.int32(),
    "bigint": pa.int64(), "ubigint": pa.uint64(), "varchar": pa.string(), "digits": pa.string(), "mixed": pa.string(),
    "double": pa.float64(), "plain": pa.float64(), "boolean": pa.bool_(), "date": pa.date32(),
    "decimal(10,2)": pa.decimal128(10, 2), "int[]": pa.list_(pa.int32()), "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}  # fmt: skip

Row = tuple[object, ...]


@dataclass(frozen=True)
class Input:
    """A declared input: column names and domain names."""

    columns: tuple[tuple[str, str], ...]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, TYPES[kind]) for name, kind in self.columns])

    def row(self, rng: random.Random, number: int) -> Row:
        return tuple(
            number if name == "id" else None if rng.random() < 0.12 else rng.choice(DOMAINS[kind])
            for name, kind in self.columns
        )

    def table(self, rows: list[Row], weights: list[int] | None = None) -> pa.Table:
        arrays = [pa.array([row[i] for row in rows], f.type) for i, f in enumerate(self.schema)]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        return table if weights is None else table.append_column("_weight", pa.array(weights, pa.int64()))


@dataclass(frozen=True)
class Case:
    """One query of a `.test` file."""

    name: str
    sql: str
    inputs: Mapping[str, Input]
    settings: Mapping[str, str] = field(default_factory=dict)


def read_cases(folder: Path) -> Iterator[Case]:
    """Every query of every `.test` file under a folder."""
    for path in sorted(folder.rglob("*.test")):
        inputs: dict[str, Input] = {}
        for block in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in block.splitlines() if line and not line.startswith("#")]
            for line in [line for line in lines if line.startswith("input ")]:
                name, listed = re.fullmatch(r"input (\w+) \((.*)\)", line).groups()
                columns = [part.split(None, 1) for part in re.split(r",\s+", listed)]
                inputs[name] = Input(tuple((column, kind) for column, kind in columns))
            if lines and lines[0].split()[0] == "query":
                settings = dict(word.split("=", 1) for word in lines[0].split()[1:])
                sql = "\n".join(lines[1:])
                used = {n: i for n, i in inputs.items() if re.search(rf"\b{n}\b", sql, re.I)}
                yield Case(f"{path.parent.name}/{path.stem}: {' '.join(sql.split())[:90]}", sql, used, settings)


def canonical(value: object) -> object:
    """A value that compares equal where DuckDB's GROUP BY would, floats to nine digits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}") + 0.0
    if isinstance(value, list):
        return ("list", *map(canonical, value))
    if isinstance(value, dict):
        return ("struct", *((name, canonical(part)) for name, part in value.items()))
    return value


def multiset(table: pa.Table) -> Counter[Row]:
    """Rows (without `_weight`) with their multiplicity, `_weight` counted if it is there."""
    weights = table.column("_weight").to_pylist() if "_weight" in table.column_names else [1] * table.num_rows
    plain = table.drop_columns(["_weight"]) if "_weight" in table.column_names else table
    found: Counter[Row] = Counter()
    for row, weight in zip(plain.to_pylist(), weights, strict=True):
        found[tuple(canonical(value) for value in row.values())] += weight
    return Counter({row: count for row, count in found.items() if count})


def net(counts: Mapping[str, Counter[int]], pool: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows that are there, each as often as it is."""
    return {name: [pool[name][i] for i, n in held.items() for _ in range(n)] for name, held in counts.items()}


def failing(case: Case, name: str, row: Row) -> bool:
    """Whether the query fails on a row of this input."""
    columns = [column for column, _ in case.inputs[name].columns]
    value = row[columns.index(case.settings["rejects"])] if case.settings.get("rejects") in columns else None
    return value is not None and not str(value).isdigit()


def answer(case: Case, rows: Mapping[str, list[Row]], oracle: duckdb.DuckDBPyConnection) -> pa.Table:
    """DuckDB's answer over the whole input, rows on which it fails left out."""
    for name, given in case.inputs.items():
        oracle.register("_given", given.table([row for row in rows.get(name, []) if not failing(case, name, row)]))
        oracle.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM _given')
    return oracle.sql(case.sql).to_arrow_table()


class History:
    """Random changes to the inputs of a case, step by step; what is there is known at every moment."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.rng, self._oracle = case, random.Random(seed), shared("oracle")
        self.pool: dict[str, list[Row]] = {name: [] for name in case.inputs}
        self.held: dict[str, Counter[int]] = {name: Counter() for name in case.inputs}
        self.rejected: Counter[Row] = Counter()
        self._append_only = case.settings.get("append_only", "").split(",")

    def step(self) -> dict[str, pa.Table]:
        """The next changes: any of the inputs, any number of rows."""
        chosen = [name for name in self.case.inputs if self.rng.random() < 0.7] or list(self.case.inputs)[:1]
        return {name: self._changes(name, self.rng.choice((1, 2, 5, 12))) for name in chosen}

    def clear(self) -> dict[str, pa.Table]:
        """Takes back everything."""
        deltas = {}
        for name, held in self.held.items():
            if name in self._append_only:
                continue
            numbers = [i for i, n in held.items() if n]
            weights = [-held[i] for i in numbers]
            deltas[name] = self.case.inputs[name].table([self.pool[name][i] for i in numbers], weights)
            held.clear()
        return deltas

    def _changes(self, name: str, count: int) -> pa.Table:
        given, pool, held = self.case.inputs[name], self.pool[name], self.held[name]
        rows, weights = [], []
        for _ in range(count):
            there = [i for i, n in held.items() if n > 0]
            if there and name not in self._append_only and self.rng.random() < 0.35:
                number, weight = self.rng.choice(there), -1
            elif there and self.rng.random() < 0.15:
                number, weight = self.rng.choice(there), self.rng.choice((1, 2))
            else:
                pool.append(given.row(self.rng, len(pool)))
                number, weight = len(pool) - 1, 1
            held[number] += weight
            rows.append(pool[number])
            weights.append(weight)
        return given.table(rows, weights)

    def rows(self) -> dict[str, list[Row]]:
        return net(self.held, self.pool)

    def check_rejects(self, view: View, context: str) -> None:
        """The rejects so far, those of retractions subtracted, are the failing rows that are there, each whole."""
        if "rejects" not in self.case.settings:
            return
        rejects = view.take_rejects()
        for reject in rejects.to_pylist() if rejects is not None else ():
            self.rejected.update(multiset(pa.ipc.open_stream(reject["record"]).read_all()))
        bad = (tuple(map(canonical, row)) for name, given in self.rows().items() for row in given
               if failing(self.case, name, row))  # fmt: skip
        assert Counter({row: count for row, count in self.rejected.items() if count}) == Counter(bad), context

    def answer(self) -> Counter[Row]:
        """DuckDB's answer over what is there."""
        return multiset(answer(self.case, self.rows(), self._oracle))


def compare(case: Case, seed: int, folder: Path, steps: int = 5, threads: Sequence[int] = (1, 1, 1)) -> View:
    """Runs a case over a random history with two checkpoints and restores on the way, and compares after every step.

    Args:
        threads: with which a view begins, and with which it goes on after each restore.
    """
    history, counts = History(case, seed), list(threads)
    view, arguments = make(case, threads=counts.pop(0)), (case.sql, {name: i.schema for name, i in case.inputs.items()})
    total = history.answer()
    assert multiset(view.result()) == total, f"{case.name}: before any input"
    restarts = sorted(history.rng.sample(range(steps), 2))
    for number in range(steps + 1):
        change = view.apply(history.clear() if number == steps else history.step())
        assert change.schema.names == [*view.schema.names, "_weight"]
        keep_going(case, seed, number, view, history, total, change)
        if number in restarts:
            previous = folder / str(restarts[0]) if number == restarts[1] else None
            view.checkpoint(folder / str(number), previous)
            view.close()
            view = View.restore(folder / str(number), *arguments, **options(case), threads=counts.pop(0))
    return view


def keep_going(
    case: Case, seed: int, number: int, view: View, history: History, total: Counter[Row], change: pa.Table
) -> None:
    """The assertions after one step; adds the changes to `total`."""
    rows = multiset(change)
    for row, count in rows.items():
        total[row] += count
    expected = history.answer()
    context = f"{case.name} seed={seed} step={number}\n{view.explain()}\n"
    assert multiset(view.result()) == expected, context + "result"
    assert Counter({row: count for row, count in total.items() if count}) == expected, context + "sum of changes"
    assert view.counts.holds, f"{context}{view.counts}"
    history.check_rejects(view, context)


def options(case: Case) -> dict[str, object]:
    """A case's settings as arguments of `View`."""
    found: dict[str, object] = {name: value for name, value in case.settings.items() if name in ("emit", "late")}
    lists = {name: case.settings[name].split(",") for name in ("append_only", "without") if name in case.settings}
    return {**found, **lists}


def make(case: Case, **settings: object) -> View:
    """A new view of a case."""
    return View(case.sql, {name: given.schema for name, given in case.inputs.items()}, **options(case), **settings)
