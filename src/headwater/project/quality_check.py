"""Holds the checks of a project against the streams and models that they are about: names, columns, types."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import duckdb
import pyarrow as pa

from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.quality.checks import ROW, Check
from headwater.sql import check as sql_check
from headwater.sql.bind import quote
from headwater.sql.plan import Linear, Plan, Scan
from headwater.sql.prelude import connect


def check_checks(
    checks: Collection[Check], known: Mapping[str, pa.Schema], unknown: Collection[str], mistakes: Mistakes
) -> None:
    """Holds every check against the columns that there are.

    Args:
        checks: of the project.
        known: columns of the streams and models.
        unknown: streams and models whose columns nobody knows yet, or that have mistakes themselves.
        mistakes: takes what is wrong.
    """
    for check in checks:
        for name in check.reads:
            if name not in known and name not in unknown:
                hint = did_you_mean(name, {*known, *unknown})
                mistakes.add(f"there is no stream or model {name!r} to check", place=check.place, hint=hint)
        if all(name in known for name in check.reads):
            _check_one(check, known, mistakes)


def _check_one(check: Check, known: Mapping[str, pa.Schema], mistakes: Mistakes) -> None:
    named = [(check.node, column) for column in check.columns] + [(check.to, column) for column in check.to_columns]
    missing = [(node, column) for node, column in named if column not in known[node].names]
    for node, column in missing:
        hint = did_you_mean(column, known[node].names)
        mistakes.add(f"{node!r} has no column {column!r}, which {check.name} checks", place=check.place, hint=hint)
    if missing or check.kind in ("row_count", "volume"):
        return
    wrong = len(check.columns) != len(check.to_columns) if check.to else False
    if wrong:
        hint = f"`key` names as many columns of {check.to!r} as `columns` has"
        mistakes.add(f"{check.name} pairs columns of unequal number", place=check.place, hint=hint)
        return
    if check.kind == "freshness" and not pa.types.is_temporal(kind := known[check.node].field(check.columns[0]).type):
        hint = "freshness needs a column of timestamps or dates"
        mistakes.add(f"the column {check.columns[0]!r} is {kind}, not a time", place=check.place, hint=hint)
        return
    _check_sql(check, known, mistakes)


def _check_sql(check: Check, known: Mapping[str, pa.Schema], mistakes: Mistakes) -> None:
    inputs = inputs_of(check, known)
    analysis = sql_check.check(check.sql, inputs, file=check.place.file, first_line=check.place.line)
    for mistake in analysis.mistakes:
        mistakes.add(f"{check.name}: {mistake.message}", place=check.place, hint=mistake.hint)
    if analysis.plan is None:
        return
    if check.of_rows and not _looks_at_rows(analysis.plan):
        hint = "it may use columns and functions of one row: no subquery, aggregate or window, and not the time"
        mistakes.add(f"{check.name} does not look at one row alone", place=check.place, hint=hint)
        return
    if check.kind == "expression" and (kind := _type_of(check, inputs)) != "BOOLEAN":
        hint = "write a condition, such as amount >= 0"
        mistakes.add(f"{check.name} is {kind}, which is neither true nor false", place=check.place, hint=hint)
        return
    _try(check, inputs, mistakes)


def inputs_of(check: Check, known: Mapping[str, pa.Schema]) -> dict[str, pa.Schema]:
    """The columns of what a check reads, by name: of a check of rows, the number of the row beside them."""
    inputs = {name: known[name] for name in check.reads}
    if check.of_rows:
        inputs[check.node] = known[check.node].append(pa.field(ROW, pa.int64(), nullable=False))
    return inputs


def _looks_at_rows(plan: Plan) -> bool:
    return all(isinstance(node, Scan | Linear) for node in plan.nodes())


def _type_of(check: Check, inputs: Mapping[str, pa.Schema]) -> str:
    expression = check.fails.removeprefix("NOT coalesce((\n").removesuffix("\n), true)")
    with connect() as connection:
        connection.register("given", inputs[check.node].empty_table())
        described = connection.execute(f"DESCRIBE SELECT ({expression}\n) AS value FROM given AS {quote(check.node)}")  # noqa: S608
        return str(described.fetchall()[0][1])


def _try(check: Check, inputs: Mapping[str, pa.Schema], mistakes: Mistakes) -> None:
    """Runs it over a row: a bound that is no value of the column's type shows only then."""
    with connect() as connection:
        for name, schema in inputs.items():
            rows = pa.table([pa.nulls(1, one.type) for one in schema], names=schema.names)
            connection.register(name, rows)
        try:
            connection.execute(check.sql).fetchall()
        except duckdb.Error as error:
            columns = [f"{one.name} {one.type}" for one in inputs[check.node] if one.name != ROW]
            hint = f"the columns are: {', '.join(columns)}"
            mistakes.add(f"{check.name}: {str(error).splitlines()[0]}", place=check.place, hint=hint)
