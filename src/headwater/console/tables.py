"""`/v1/tables`: what is in the lake, each table's past, and how it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import pyarrow as pa

from headwater.api.problem import Problem
from headwater.console import overview
from headwater.console.endpoint import Call, Endpoint, missing
from headwater.console.shapes import tables as shapes
from headwater.console.snippets import snippets_of
from headwater.console.values import columns_of, rows_of
from headwater.errors import UserError
from headwater.lake.file_list import files_of, sizes_of
from headwater.lake.files.table import FileTable
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.moment import Moment, TableSnapshot
from headwater.lake.table_format import Table
from headwater.project.definition import Project
from headwater.project.discovery import load_streams
from headwater.runtime.maintenance_runs import MaintenanceRecord
from headwater.runtime.requests import new_id
from headwater.runtime.rewind import differences
from headwater.serve.moment_text import parse_moment
from headwater.serve.query import open_lake

SHOWN = 200
"""Snapshots and files that are shown."""
RUNS_SHOWN = 100
MOST_CHANGES = 200_000
"""Rows that a difference may be made of, for a page."""
ANSWERS_KEPT_US = 3600 * 10**6


def listed(call: Call) -> shapes.Tables:
    """All tables."""
    project = call.running.project
    feeds = _feeds(project)
    found = [
        shapes.TableEntry(**glance.model_dump(), kind=_kind(feeds, glance.name), feeds=_feed(feeds, glance.name))
        for glance in overview.latest(call).tables
    ]
    return shapes.Tables(format=project.lake.type, tables=found)


def shown(call: Call) -> shapes.TableDetail:
    """One table closely."""
    name, project = call.path["name"], call.running.project
    glance = next((one for one in overview.latest(call).tables if one.name == name), None)
    feeds = _feeds(project)
    with _table(call, name) as table:
        snapshots, sizes = table.snapshots(), sizes_of(table)
        files, total = files_of(table, SHOWN)
        committed = table.committed()
        location, metadata = _location(table)
    health = _health(call, name)
    runs = [run for run in MaintenanceRecord(project.state).runs(1000) if run.table == name][-RUNS_SHOWN:]
    newest = next((one for one in snapshots if one.current), None)
    layout = table.spec.layout
    return shapes.TableDetail(
        name=name,
        rows=glance.rows if glance else (newest.rows or 0 if newest else 0),
        epoch=glance.epoch if glance else (committed.epoch if committed else 0),
        files=total,
        bytes=int(health.get("bytes", sum(one.bytes for one in files))),
        kind=_kind(feeds, name),
        feeds=_feed(feeds, name),
        columns=columns_of(table.spec.columns),
        held=committed.held if committed else None,
        key=list(table.spec.key),
        location=location,
        snapshots=[_snapshot(one, sizes) for one in snapshots[:SHOWN]],
        snapshots_total=len(snapshots),
        files_listed=[shapes.TableFile(**vars(one)) for one in files],
        files_total=total,
        layout=shapes.Layout(
            partition=[str(one) for one in layout.partition], sort=[str(one) for one in layout.sort],
            bloom=list(layout.bloom),
        ),
        health=health,
        maintenance=[_run(vars(run)) for run in reversed(runs)],
        snippets=snippets_of(project, name, metadata),
    )  # fmt: skip


def rows(call: Call) -> shapes.TableRows:
    """Rows as of a moment."""
    asked = call.of(shapes.AskRows)
    clock = call.running.clock
    began = clock.monotonic_s()
    if asked.at is not None and asked.snapshot is not None:
        raise Problem(422, "say one moment: at or snapshot")
    moment = _moment(call, asked.at) if asked.at is not None else None
    moment = Moment(snapshot=int(asked.snapshot)) if asked.snapshot is not None else moment
    with _table(call, call.path["name"]) as table:
        dataset = table.dataset(moment)
        schema = dataset.schema
        batches = dataset.scanner(batch_size=asked.limit + 1).to_reader()
        found = _first(batches, schema, asked.limit + 1)
    shown = rows_of(found.slice(0, asked.limit), truncated=found.num_rows > asked.limit)
    return shapes.TableRows(
        columns=shown.columns, rows=shown.rows, truncated=shown.truncated,
        note="as of now" if moment is None else f"as of {moment}",
        elapsed_ms=round((clock.monotonic_s() - began) * 1000, 1),
    )  # fmt: skip


def diff(call: Call) -> shapes.TableDiff:
    """What changed between two moments."""
    asked = call.of(shapes.AskDiff)
    before = _moment(call, asked.start)
    after = None if asked.end is None or asked.end.strip().lower() == "now" else _moment(call, asked.end)
    with _table(call, call.path["name"]) as table:
        _require_few(table.snapshots(), before, after)
        found = differences(table, before, after)
        key = [name for name in table.spec.key if name in found.delta.column_names]
    delta = found.delta
    if len(key) == len(table.spec.key):
        delta = delta.sort_by([(name, "ascending") for name in (*key, "_weight")])
    names = ["_weight", *(name for name in delta.column_names if name != "_weight")]
    shown = rows_of(delta.select(names).slice(0, asked.limit), truncated=delta.num_rows > asked.limit)
    return shapes.TableDiff(
        columns=shown.columns, rows=shown.rows, truncated=shown.truncated, added=found.added, removed=found.removed,
        updated=found.updated,
    )  # fmt: skip


def maintain(call: Call) -> shapes.Asking:
    """Asks for a table to be kept at once; the maintenance thread does it."""
    name, running = call.path["name"], call.running
    with _table(call, name):
        pass
    record, now_us = MaintenanceRecord(running.project.state), running.clock.now_us()
    record.forget_answers(now_us - ANSWERS_KEPT_US)
    identifier = new_id(now_us)
    record.ask(identifier, [name])
    return shapes.Asking(id=identifier)


def maintained(call: Call) -> shapes.Maintained:
    """What became of it."""
    identifier = call.path["id"]
    if not identifier.replace("-", "").isalnum() or len(identifier) > 64:
        raise missing("request", identifier)
    record = MaintenanceRecord(call.running.project.state)
    answer = record.answered(identifier, keep=True)
    if answer is None:
        if identifier not in [waiting for waiting, _ in record.asked()]:
            raise missing("request", identifier)
        return shapes.Maintained(id=identifier, state="waiting", error=None, runs=[])
    runs, error = answer
    told = [_run(vars(run)).model_dump() for run in runs]
    return shapes.Maintained(id=identifier, state="failed" if error else "done", error=error or None, runs=told)


@contextmanager
def _table(call: Call, name: str) -> Iterator[Table]:
    """The table, opened for reading."""
    lake = open_lake(call.running.project)
    try:
        if name not in lake.names():
            raise missing("table", name)
        yield lake.open_table(name)
    finally:
        lake.close()


def _moment(call: Call, text: str) -> Moment:
    if text.isascii() and text.isdigit():
        return Moment(snapshot=int(text))
    return parse_moment(text, call.running.clock.now_us())


def _first(batches: pa.RecordBatchReader, schema: pa.Schema, count: int) -> pa.Table:
    found: list[pa.RecordBatch] = []
    for batch in batches:
        found.append(batch)
        if sum(one.num_rows for one in found) >= count:
            break
    return pa.Table.from_batches(found, found[0].schema if found else schema).slice(0, count)


def _require_few(snapshots: Any, before: Moment, after: Moment | None) -> None:
    """Refuses a difference that a page cannot hold.

    Raises:
        UserError: too much has changed in between.
    """
    changed = 0
    for one in islice(snapshots, 10_000):
        if after is not None and _is_at(one, after):
            changed = 0
        if _is_at(one, before):
            break
        if not one.maintenance:
            changed += (one.rows_added or 0) + (one.rows_deleted or 0)
    if changed > MOST_CHANGES:
        raise UserError(
            f"about {changed:,} rows changed in between, and a page shows the difference of up to {MOST_CHANGES:,}",
            hint="choose moments that are nearer, or: headwater tables diff",
        )


def _is_at(one: TableSnapshot, moment: Moment) -> bool:
    if moment.snapshot is not None:
        return one.snapshot == moment.snapshot
    if moment.epoch is not None:
        return one.epoch is not None and one.epoch <= moment.epoch
    if moment.ref is not None:
        return moment.ref in one.refs
    return one.committed_at_us <= (moment.time_us or 0)


def _location(table: Table) -> tuple[str, str]:
    """Where the table lies, and what to point readers at."""
    if isinstance(table, IcebergTable):
        loaded = table.handle.load()
        return loaded.location().removeprefix("file://"), loaded.metadata_location
    if isinstance(table, FileTable):
        folder = str(table.log.new_path().parent)
        return folder, folder
    return "", ""


def _health(call: Call, name: str) -> dict[str, float]:
    maintenance = cast("Mapping[str, Any]", call.running.status().get("maintenance") or {})
    entry: Mapping[str, Any] = next((one for one in maintenance.get("tables", ()) if one["name"] == name), {})
    return {key: value for key, value in entry.items() if key != "name"}


def _snapshot(one: TableSnapshot, sizes: Mapping[int, int]) -> shapes.TableSnapshot:
    return shapes.TableSnapshot(
        id=str(one.snapshot), at_us=one.committed_at_us, epoch=one.epoch, operation=one.operation,
        maintenance=one.maintenance, current=one.current, rows=one.rows, added=one.rows_added, deleted=one.rows_deleted,
        files=one.files, bytes=sizes.get(one.snapshot), named=list(one.refs),
    )  # fmt: skip


def _run(run: Mapping[str, Any]) -> shapes.MaintenanceRun:
    told = {name: value for name, value in run.items() if name not in ("table", "began_us")}
    return shapes.MaintenanceRun(**told, at_us=run["began_us"])


def _feeds(project: Project) -> dict[str, tuple[str, str]]:
    """By table, what it keeps and what it is of."""
    found: dict[str, tuple[str, str]] = {}
    for stream in load_streams(project.state):
        for source in project.sources:
            for table in source.tables(stream.name):
                found.setdefault(table.name, (table.kind_text, f"stream:{stream.name}"))
    for model in project.models:
        found |= {table.name: (table.kind_text, f"model:{model.name}") for table in model.tables}
    return found


def _kind(feeds: Mapping[str, tuple[str, str]], name: str) -> str:
    return feeds.get(name, ("", ""))[0]


def _feed(feeds: Mapping[str, tuple[str, str]], name: str) -> str:
    return feeds.get(name, ("", ""))[1]


ENDPOINTS = (
    Endpoint("GET", "/v1/tables", "All tables of the lake.", shapes.Tables, listed),
    Endpoint("GET", "/v1/tables/{name}", "One table closely.", shapes.TableDetail, shown),
    Endpoint("GET", "/v1/tables/{name}/rows", "Rows of a table, now or as of a moment.", shapes.TableRows, rows,
             shapes.AskRows),
    Endpoint("GET", "/v1/tables/{name}/diff", "What changed in a table between two moments.", shapes.TableDiff, diff,
             shapes.AskDiff),
    Endpoint("POST", "/v1/tables/{name}/maintain", "Keep a table now: merge files, let snapshots go.", shapes.Asking,
             maintain, shapes.AskMaintain),
    Endpoint("GET", "/v1/maintenance/{id}", "What became of maintenance that was asked for.", shapes.Maintained,
             maintained),
)  # fmt: skip
