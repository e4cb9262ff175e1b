"""One fuzz case: a query, a history and settings, all from one seed; and whether a view agrees with DuckDB on it."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
from tests.fuzz.data import Row, Step, TableOf, random_history, random_tables, row_by_row, rows_after
from tests.fuzz.grammar import Grammar

from headwater.engine.view import View
from headwater.errors import HeadwaterError
from headwater.index.key_index import KeyIndex
from headwater.sql.fast_paths import FAST_PATHS
from headwater.sql.prelude import shared


@dataclass(frozen=True)
class Settings:
    """How a case is run.

    Attributes:
        append_only: inputs declared to have no retractions.
        without: fast paths switched off.
        threads: workers, before and after the restart.
        cut: `steps` as they are, `rows` one by one, `whole` all in one.
        restart: the step after which the view is checkpointed and restored; -1 for never.
        hash_bits: of the key indexes; 4 makes collisions the rule.
    """

    append_only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    threads: tuple[int, int] = (1, 1)
    cut: str = "steps"
    restart: int = -1
    hash_bits: int = 64


@dataclass(frozen=True)
class Case:
    """What a seed stands for."""

    seed: int
    sql: str
    tables: tuple[TableOf, ...]
    steps: list[Step]
    settings: Settings = field(default_factory=Settings)

    def describe(self) -> str:
        """The case as a person would try it."""
        lines = [f"seed {self.seed}  {self.settings}", self.sql]
        lines += [f"  {table.name}{table.columns}" for table in self.tables]
        for number, step in enumerate(self.steps):
            for name, changes in step.items():
                lines += [f"  step {number} {name} {weight:+d} {row}" for row, weight in changes]
        return "\n".join(lines)


def case_of(seed: int) -> Case:
    """The case of a seed; the same for ever as long as the grammar is."""
    rng = random.Random(seed)
    tables = random_tables(rng)
    append_only = frozenset(table.name for table in tables if rng.random() < 0.25)
    steps = random_history(rng, tables, append_only)
    off = frozenset(name for name in FAST_PATHS if rng.random() < 0.3) if rng.random() < 0.4 else frozenset()
    settings = Settings(
        append_only, frozenset(FAST_PATHS) if rng.random() < 0.1 else off,
        rng.choice(((1, 1), (1, 1), (1, 1), (2, 2), (2, 3), (3, 1))), rng.choice(("steps", "steps", "rows", "whole")),
        rng.choice((-1, -1, 0, 1)), rng.choice((64, 64, 4)),
    )  # fmt: skip
    return Case(seed, Grammar(rng, tables).query(), tables, steps, settings)


def cut(case: Case) -> list[Step]:
    """The steps as the settings cut them."""
    if case.settings.cut == "rows":
        return [single for step in case.steps for single in row_by_row(step)][:24]
    if case.settings.cut == "whole":
        names = {name for step in case.steps for name in step}
        return [{name: [change for step in case.steps for change in step.get(name, ())] for name in names}]
    return case.steps


def mistake(case: Case) -> str:
    """What is wrong with the engine on this case; "" if nothing is. Invalid SQL is no mistake of the engine's."""
    with _hash_bits(case.settings.hash_bits), Oracle(case) as oracle:
        try:
            wrong = _disagreement(case, oracle)
        except InvalidCase:
            return ""
        except HeadwaterError as error:
            wrong = f"{type(error).__name__}: {error}"
        except duckdb.Error as error:
            wrong = f"DuckDB: {error}"
        except Exception as error:  # noqa: BLE001 whatever is raised is a finding
            wrong = f"{type(error).__name__}: {error}"
        return wrong if wrong and oracle.can_answer() else ""


_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Checkpoints are written to be read again at once, and tests/crash is for disks: fsync costs nothing there."""


class InvalidCase(Exception):
    """DuckDB itself cannot answer."""


class Oracle:
    """DuckDB over everything that is there after a number of steps of a case."""

    def __init__(self, case: Case) -> None:
        self._case, self._steps = case, cut(case)
        self._connection = shared("oracle")
        self._shown: dict[str, list[Row]] = {}

    def answer(self, number: int) -> Counter[object]:
        """Its answer after so many steps.

        Raises:
            InvalidCase: it has none.
        """
        try:
            for table in self._case.tables:
                self._show(table, rows_after(self._steps[:number], table.name))
            return multiset(self._connection.sql(self._case.sql).to_arrow_table())
        except duckdb.Error as error:
            raise InvalidCase from error

    def _show(self, table: TableOf, rows: list[Row]) -> None:
        # The same objects, and not merely equal: 0.0 and -0.0 are.
        shown = self._shown.get(table.name)
        if shown is not None and list(map(id, shown)) == list(map(id, rows)):
            return
        self._connection.register("_given", table.table([(row, 1) for row in rows]).drop_columns(["_weight"]))
        self._connection.execute(f'CREATE OR REPLACE TEMP TABLE "{table.name}" AS FROM _given')
        self._shown[table.name] = rows

    def can_answer(self) -> bool:
        """Whether it has an answer after every step. Those that nobody compares are asked for only when the engine has
        failed: it may where DuckDB does."""
        try:
            return all(self.answer(number) is not None for number in range(len(self._steps) + 1))
        except InvalidCase:
            return False

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _disagreement(case: Case, oracle: Oracle) -> str:
    inputs = {table.name: table.schema for table in case.tables}
    settings = case.settings
    options = {"append_only": settings.append_only, "without": settings.without}
    view = View(case.sql, inputs, threads=settings.threads[0], **options)
    total = oracle.answer(0)
    if multiset(view.result()) != total:
        return "before any input"
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as folder:
        steps = cut(case)
        for number, step in enumerate(steps):
            change = view.apply(
                {table.name: table.table(step[table.name]) for table in case.tables if step.get(table.name)}
            )
            total = _sum(total, multiset(change))
            if number == settings.restart:
                view.checkpoint(Path(folder) / "0")
                view.close()
                view = View.restore(Path(folder) / "0", case.sql, inputs, threads=settings.threads[1], **options)
            if settings.cut == "rows" and number % 5 and number + 1 < len(steps):
                continue
            wrong = _compared(view, total, oracle.answer(number + 1))
            if wrong:
                return f"after step {number}: {wrong}"
    view.close()
    return ""


def _compared(view: View, total: Counter[object], expected: Counter[object]) -> str:
    if view.counts.rejected or not view.counts.holds:
        return f"counts: {view.counts}"
    for what, found in (("result", multiset(view.result())), ("sum of changes", total)):
        if found != expected:
            extra, missing = _sum(found, expected, -1), _sum(expected, found, -1)
            return f"{what}: too much {_some(extra)}, too little {_some(missing)}\n{view.explain()}"
    return ""


def _some(rows: Counter[object]) -> str:
    return str([(row, count) for row, count in rows.items() if count > 0][:4])


def _sum(one: Counter[object], other: Counter[object], sign: int = 1) -> Counter[object]:
    total = Counter(one)
    for row, count in other.items():
        total[row] += sign * count
    return Counter({row: count for row, count in total.items() if count})


def multiset(table: pa.Table) -> Counter[object]:
    """Rows by their multiplicity, or by the sum of `_weight` where there is one."""
    weighted = "_weight" in table.column_names
    counts = table.column("_weight").to_pylist() if weighted else [1] * table.num_rows
    columns = [[_canonical(v) for v in column.to_pylist()] for name, column in _columns(table) if name != "_weight"]
    found: Counter[object] = Counter()
    for i, count in enumerate(counts):
        found[tuple(column[i] for column in columns)] += count
    return Counter({row: count for row, count in found.items() if count})


def _columns(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    return zip(table.column_names, table.columns, strict=True)


def _canonical(value: object) -> object:
    """Equal where DuckDB's GROUP BY would say so, floats to nine digits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}") + 0.0
    return tuple(map(_canonical, value)) if isinstance(value, list) else value


@contextmanager
def _hash_bits(bits: int) -> Iterator[None]:
    """Makes all key indexes of this process use so many bits of their hashes."""
    defaults = KeyIndex.__init__.__kwdefaults__
    before = defaults["hash_bits"]
    defaults["hash_bits"] = bits
    try:
        yield
    finally:
        defaults["hash_bits"] = before
