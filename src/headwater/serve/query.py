"""SQL over a project's tables, running or stopped: the present to the last durable change, or any kept moment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from headwater.errors import FilesExpired, SqlError, UserError
from headwater.lake.moment import Moment
from headwater.lake.opening import make_lake
from headwater.lake.table_format import Lake
from headwater.project.definition import Project
from headwater.project.discovery import load_streams
from headwater.serve.past import as_of
from headwater.serve.progress import read_done
from headwater.serve.relation import Relation
from headwater.sql.functions import register
from headwater.sql.parse import tables_of
from headwater.sql.prelude import connect, shared, tries
from headwater.sqlite_file import open_to_read

REJECTS = "_rejects"
DELIVERIES = "_deliveries"
CHECKS = "_checks"
_NAMES = (duckdb.BinderException, duckdb.CatalogException)

_THREADS = os.cpu_count() or 1

ATTEMPTS = 3
"""How often a query is tried whose table snapshot was expired while it was read."""


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    Attributes:
        rows: the answer.
        note: which moment it is of, for people.
    """

    rows: pa.Table
    note: str


@dataclass(frozen=True)
class Plan:
    """What a query reads, all of one moment."""

    relations: Sequence[Relation]
    note: str


Tables = Mapping[str, pads.Dataset]
"""Tables of others, by the name that a query has for them."""


def query(project: Project, sql: str, *, at: Moment | None = None, fresh: bool | None = None) -> pa.Table:
    """The rows of `ask`."""
    return ask(project, sql, at=at, fresh=fresh).rows


def ask(
    project: Project,
    sql: str,
    *,
    at: Moment | None = None,
    fresh: bool | None = None,
    tables: Tables | None = None,
) -> Answer:
    """Answers a SELECT over the project's tables. An answer never mixes two moments.

    Args:
        project: whose tables.
        sql: the SELECT.
        at: a moment in the past, that all tables are read as of.
        fresh: True reads mirrors to the end of the log, with changes that are not in the tables yet, and computes the
            models that the query names from them. False reads all tables as of the end of the last epoch that was
            committed whole. None does the first if the query reads mirrors alone, which must not be computed, and the
            second otherwise.
        tables: tables of others that the query reads too, as they are.

    Raises:
        SqlError: the SQL is wrong or names a table that is not there.
        UserError: the moment is not kept; or `fresh`, and that is not possible just now.
        FilesExpired: tables were expired while they were read, again and again.
    """
    wanted = tables_of(sql)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _answer(project, sql, wanted, at, fresh, tables or {})
        except FilesExpired:
            if at is not None or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _answer(
    project: Project, sql: str, wanted: Sequence[str], at: Moment | None, fresh: bool | None, tables: Tables
) -> Answer:
    lake = open_lake(project)
    try:
        planned = plan(project, lake, [name for name in wanted if name not in tables], at, fresh)
        others = [Relation(name, rows) for name, rows in tables.items()]
        planned = Plan([*planned.relations, *others], planned.note)
        computes = not {relation.name for relation in planned.relations}.issuperset(wanted)
        with _connection(sql, computes=computes) as connection:
            install(connection, project, planned, wanted)
            try:
                return Answer(connection.sql(sql).to_arrow_table(), planned.note)
            except duckdb.Error as error:
                raise _explained(error, planned) from error
    finally:
        lake.close()


def lost_files(planned: Plan) -> FilesExpired | None:
    """That a table snapshot was expired while a query read it, if that is why it failed."""
    lost = (getattr(relation.base, "lost", None) for relation in planned.relations)
    return next((one for one in lost if isinstance(one, FilesExpired)), None)


def _connection(sql: str, *, computes: bool) -> duckdb.DuckDBPyConnection:
    """One of its own where models are computed: their functions are not for others to see."""
    return connect(_THREADS, trying=True) if computes else shared("query", _THREADS, trying=tries(sql))


def _explained(error: duckdb.Error, planned: Plan) -> Exception:
    expired = lost_files(planned)
    if expired is not None:
        return expired
    hint = "headwater tables lists the tables and their columns" if isinstance(error, _NAMES) else ""
    return SqlError(str(error).replace("\n\n", "\n"), hint=hint)


def plan(project: Project, lake: Lake, wanted: Sequence[str], at: Moment | None, fresh: bool | None) -> Plan:
    """What a query over these tables reads; see `ask`."""
    there = lake.names()
    models = {model.name for model in project.models}
    _require_names(wanted, {*there, REJECTS, DELIVERIES, CHECKS, *(models if fresh else ())})
    if at is not None:
        return _past(lake, wanted, at)
    mirrors = _mirrors(project, there)
    if fresh or (fresh is None and wanted and mirrors.issuperset(wanted)):
        found = _fresh(project, lake, wanted, mirrors, required=bool(fresh))
        if found is not None:
            return found
    return _committed(project, lake, wanted)


def _past(lake: Lake, wanted: Sequence[str], at: Moment) -> Plan:
    if not {REJECTS, DELIVERIES, CHECKS}.isdisjoint(wanted):
        raise UserError("rejects, deliveries and checks are not kept as of earlier moments", hint="leave `--at` out")
    datasets, said = as_of({name: lake.open_table(name) for name in wanted}, at)
    return Plan([Relation(name, base) for name, base in datasets.items()], f"as of {said}")


def _committed(project: Project, lake: Lake, wanted: Sequence[str]) -> Plan:
    """All tables as of the end of the last whole epoch; tables that are not of epochs, as they are."""
    done = read_done(project.state)
    relations = []
    for name in wanted:
        if name == REJECTS:
            relations.append(Relation(name, read_rejects(project.state)))
        elif name == CHECKS:
            relations.append(Relation(name, read_checks(project.state)))
        elif name == DELIVERIES:
            from headwater.serve.deliveries import read_deliveries

            relations.append(Relation(name, read_deliveries(project)))
        else:
            table = lake.open_table(name)
            of_epochs = done is not None and table.committed() is not None
            relations.append(Relation(name, table.dataset(Moment(epoch=done.epoch) if done and of_epochs else None)))
    return Plan(relations, f"as of the end of epoch {done.epoch}" if done is not None else "as of now")


def _fresh(
    project: Project, lake: Lake, wanted: Sequence[str], mirrors: Collection[str], *, required: bool
) -> Plan | None:
    """Mirrors to the end of the log; None if they cannot be joined with it and need not.

    Raises:
        UserError: they cannot be, and must.
    """
    from headwater.serve.models import streams_behind
    from headwater.serve.tail_of_log import NotToBeJoined
    from headwater.serve.union_read import UnionRead

    streams = streams_behind(project, wanted)
    lacking = [name for name in streams if name not in mirrors]
    if lacking:
        raise UserError(
            f"{lacking[0]!r} is no mirror of a source, so there is nothing fresher than the table",
            hint="leave --fresh out: all tables are then read as of the last epoch",
        )
    union = UnionRead(project, lake)
    try:
        return Plan(union.relations(streams), union.note())
    except NotToBeJoined as reason:
        if required:
            hint = "try again, or leave --fresh out: all tables are then read as of the last epoch"
            raise UserError(str(reason), hint=hint) from reason
        found = _committed(project, lake, wanted)
        return Plan(found.relations, f"{found.note}, because {reason}")


def install(connection: duckdb.DuckDBPyConnection, project: Project, planned: Plan, wanted: Sequence[str]) -> None:
    """Makes known to a connection what a query reads: relations, and views of the models that are to be computed from
    them."""
    for relation in planned.relations:
        relation.install(connection)
    given = {relation.name for relation in planned.relations}
    if given.issuperset(wanted):
        return
    from headwater.serve.models import models_behind

    models = models_behind(project, wanted)
    register({function.name: function for model in models for function in model.functions}.values(), connection)
    for model in models:
        connection.execute(f'CREATE TEMP VIEW "{model.name}" AS {model.sql}')


def open_lake(project: Project) -> Lake:
    """The project's lake, for reading."""
    return make_lake(project.lake, project.folder, project=project.name, read_only=True)


def _mirrors(project: Project, there: Collection[str]) -> set[str]:
    """Streams that are landed, and have a table."""
    known = [stream.name for stream in load_streams(project.state) if stream.name in there]
    models = {model.name for model in project.models}
    left = models | project.gated  # a table that lacks rows which checks set aside is no mirror
    return {name for name in known if name not in left and any(one.mirrors(name) for one in project.sources)}


def _require_names(wanted: Sequence[str], there: Collection[str]) -> None:
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(name, sorted(there), n=1)
            raise SqlError(
                f"there is no table {name!r}" + (f": did you mean {near[0]!r}?" if near else ""),
                hint=f"tables: {', '.join(sorted(there, key=lambda one: (one in (REJECTS, DELIVERIES, CHECKS), one)))}",
            )


def read_rejects(state: Path) -> pa.Table:
    """The ledger of rejects as a table; empty if there is no state yet."""
    path = state / "state.db"
    columns = {
        "id": pa.int64(),
        "epoch": pa.int64(),
        "stream": pa.string(),
        "stage": pa.string(),
        "reason": pa.string(),
        "message": pa.string(),
        "position": pa.string(),
        "key": pa.string(),
        "record": pa.binary(),
        "weight": pa.int64(),
        "project": pa.string(),
        "version": pa.string(),
        "state": pa.string(),
        "attempts": pa.int64(),
        "first_seen_us": pa.timestamp("us", "UTC"),
        "last_seen_us": pa.timestamp("us", "UTC"),
    }
    rows: list[tuple[object, ...]] = []
    if path.exists():
        connection = open_to_read(path)
        try:
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM rejects ORDER BY id").fetchall()  # noqa: S608
        finally:
            connection.close()
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [pa.array(list(value), kind) for value, kind in zip(values, columns.values(), strict=True)]
    return pa.table(dict(zip((name.removesuffix("_us") for name in columns), arrays, strict=True)))


def read_checks(state: Path) -> pa.Table:
    """How the quality checks stand, as a table; empty if there is no state yet."""
    from headwater.quality.check_results import read_results

    whole, parts = ("failing", "epoch"), ("value", "score")
    names = ("model", "name", "kind", "severity", "state", *whole, *parts, "message", "example", "says")
    rows = read_results(state)
    columns = {name: [row[name] for row in rows] for name in names}
    types = {**dict.fromkeys(whole, pa.int64()), **dict.fromkeys(parts, pa.float64())}
    arrays = {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    arrays["at"] = pa.array([row["at_us"] for row in rows], pa.timestamp("us", "UTC"))
    return pa.table(arrays)
