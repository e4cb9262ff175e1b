"""Makes a test of a model from live data: rows of its streams as of one epoch, few enough to read, and what the model
says of them.

Some rows of the model are chosen, and of each stream the rows that share their keys, followed from stream to stream by
columns of the same name; rows in the time windows, where the model is one of windows. What is expected is what the
model makes of just these rows, so that the test passes at once; where that is what its table has too, it says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from headwater.errors import Place, UserError
from headwater.lake.moment import Moment
from headwater.lake.table_format import Lake
from headwater.project.definition import Model, Project
from headwater.project.discovery import load_streams
from headwater.project.mistakes import did_you_mean
from headwater.project.model_tests import FOLDER, DeclaredStream, GivenStep, ModelTest, StepSettings, Texts
from headwater.runtime.model_tests.runner import Runner
from headwater.serve.models import streams_behind
from headwater.serve.progress import read_done
from headwater.serve.query import open_lake
from headwater.serve.relation import Relation
from headwater.sql.bind import quote
from headwater.sql.prelude import connect

MOST_ROWS = 100
"""Of a stream; if the rows that belong together are more, fewer rows of the model are taken."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class _Chosen:
    """Rows of the model as its table has them, and the rows of each stream that belong to them."""

    rows: pa.Table
    given: Mapping[str, pa.Table]
    epoch: int


def record_test(project: Project, name: str, count: int) -> Path:
    """Writes `tests/NAME_recorded.yml`; a file that is there stays, and another name is taken.

    Args:
        project: with tables.
        name: the model.
        count: about how many of its rows.

    Raises:
        UserError: there is no such model, or its streams are not in tables.
    """
    model = next((one for one in project.models if one.name == name), None)
    if model is None:
        hint = did_you_mean(name, [one.name for one in project.models])
        raise UserError(f"there is no model {name!r}", hint=hint)
    lake = open_lake(project)
    try:
        chosen = _choose(project, model, lake, max(count, 1))
    finally:
        lake.close()
    text = _written(project, model, chosen)
    path = _free(project.folder / FOLDER, f"{name}_recorded")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _choose(project: Project, model: Model, lake: Lake, count: int) -> _Chosen:
    streams = streams_behind(project, [model.name])
    there = lake.names()
    for stream in streams:
        if stream not in there or not any(source.mirrors(stream) for source in project.sources):
            raise UserError(f"stream {stream!r} has no mirror to take rows from", hint="headwater run; or mirror: true")
    done = read_done(project.state)
    if done is None or model.name not in there:
        raise UserError(f"{model.name!r} has no rows yet", hint="headwater run")
    with connect() as connection:
        for name in (*streams, model.name):
            Relation(name, lake.open_table(name).dataset(Moment(epoch=done.epoch))).install(connection)
        while True:
            rows = _some_rows(connection, model, count)
            given = dict(_belonging(connection, project, streams, rows))
            if count == 1 or max((len(one) for one in given.values()), default=0) <= MOST_ROWS:
                return _Chosen(rows, {name: one.slice(0, MOST_ROWS) for name, one in given.items()}, done.epoch)
            count //= 2


def _some_rows(connection: duckdb.DuckDBPyConnection, model: Model, count: int) -> pa.Table:
    order = ", ".join(map(quote, model.settings.key)) or "ALL"
    return connection.sql(f"SELECT * FROM {quote(model.name)} ORDER BY {order} LIMIT {count}").to_arrow_table()  # noqa: S608


def _belonging(
    connection: duckdb.DuckDBPyConnection, project: Project, streams: Sequence[str], rows: pa.Table
) -> Iterator[tuple[str, pa.Table]]:
    """Of each stream the rows that belong to the chosen rows of the model."""
    keys = {stream.name: stream.key for stream in load_streams(project.state)}
    connection.register("chosen", rows)
    bound: dict[str, list[str]] = {"chosen": rows.column_names}
    left = list(streams)
    while left:
        found = next(
            ((one, with_) for with_ in bound for one in left if _shared(connection, one, bound[with_], keys)), None
        )
        stream, partner = found or (left[0], "")
        left.remove(stream)
        condition = _condition(connection, project, stream, partner, bound, keys, rows)
        some = f"SELECT * FROM {quote(stream)} AS s WHERE {condition} LIMIT {10 * MOST_ROWS}"  # noqa: S608
        connection.execute(f"CREATE TEMP TABLE {quote('of ' + stream)} AS {some}")
        part = connection.sql(f"SELECT * FROM {quote('of ' + stream)} ORDER BY ALL").to_arrow_table()  # noqa: S608
        bound[f"of {stream}"] = part.column_names
        yield stream, part
    for stream in streams:
        connection.execute(f"DROP TABLE {quote('of ' + stream)}")
    connection.unregister("chosen")


def _shared(
    connection: duckdb.DuckDBPyConnection, stream: str, columns: Sequence[str], keys: Mapping[str, Sequence[str]]
) -> list[str]:
    """Columns of a stream that name what others name alike: parts of some stream's key."""
    names = [row[0] for row in connection.execute(f"DESCRIBE {quote(stream)}").fetchall()]
    identifying = {column for key in keys.values() for column in key}
    return [name for name in names if name in columns and name in identifying]


def _condition(
    connection: duckdb.DuckDBPyConnection, project: Project, stream: str, partner: str,
    bound: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]], rows: pa.Table,
) -> str:  # fmt: skip
    if partner:
        shared = _shared(connection, stream, bound[partner], keys)
        same = " AND ".join(f"p.{quote(name)} = s.{quote(name)}" for name in shared)
        return f"EXISTS (SELECT 1 FROM {quote(partner)} AS p WHERE {same})"  # noqa: S608
    settings = [source.streams.get(stream) for source in project.sources]
    watermark = next((one.watermark for one in settings if one is not None and one.watermark is not None), None)
    if watermark is not None and {"window_start", "window_end"} <= set(rows.column_names):
        column = quote(watermark.column)
        return f"EXISTS (SELECT 1 FROM chosen AS p WHERE s.{column} >= p.window_start AND s.{column} < p.window_end)"  # noqa: S608
    return "true"


def _written(project: Project, model: Model, chosen: _Chosen) -> str:
    """The test's text."""
    with connect() as connection:
        keys = {stream.name: stream.key for stream in load_streams(project.state)}
        types = {name: _types(connection, rows) for name, rows in chosen.given.items()}
        texts = {name: _texts(connection, rows) for name, rows in chosen.given.items()}
        watermarks = _watermarks(project, model, chosen, connection)
        streams = {name: DeclaredStream(columns=dict(of), key=tuple(keys.get(name, ()))) for name, of in types.items()}
        made = _made(project, model, streams, texts, watermarks)
        expected, live = _texts(connection, made), _texts(connection, chosen.rows)
    same = sum(1 for row in expected if row in live)
    lines = [
        f"# recorded from live data as of the end of epoch {chosen.epoch}; {same} of {len(expected)} expected rows",
        "# are as the table had them, the others are what the model makes of the rows given here",
        f"name: {model.name}, recorded",
        f"model: {model.name}",
        "streams:",
    ]
    for name, declared in streams.items():
        columns = ", ".join(f"{_key(column)}: {json.dumps(kind)}" for column, kind in declared.columns.items())
        lines += [f"  {_key(name)}:", f"    columns: {{{columns}}}"]
        lines += [f"    key: [{', '.join(map(_key, declared.key))}]"] if declared.key else []
    lines += ["given:"]
    for name, rows in texts.items():
        lines += [f"  {_key(name)}:" + ("" if rows else " []"), *(f"    - {_row(row)}" for row in rows)]
    if watermarks:
        lines += ["watermarks:", *(f"  {_key(name)}: {json.dumps(text)}" for name, text in watermarks.items())]
    lines += ["expect:" + ("" if expected else " []"), *(f"  - {_row(row)}" for row in expected)]
    return "\n".join([*lines, ""])


def _made(
    project: Project, model: Model, streams: Mapping[str, DeclaredStream],
    texts: Mapping[str, list[dict[str, str | None]]], watermarks: Mapping[str, str],
) -> pa.Table:  # fmt: skip
    """What the model makes of the rows."""
    place = Place(model.file)
    given = {name: Texts(rows, ["insert"] * len(rows), [place] * len(rows)) for name, rows in texts.items()}
    step = GivenStep(given, {model.name: Texts()}, {}, StepSettings(watermarks=dict(watermarks)), place)
    runner = Runner(project)
    bench = runner.bench(ModelTest(model.name, Path(model.file), place, streams, [step]))
    try:
        bench.take(step)
        return bench.rows(model.name, place)
    finally:
        bench.close()
        runner.close()


def _watermarks(
    project: Project, model: Model, chosen: _Chosen, connection: duckdb.DuckDBPyConnection
) -> dict[str, str]:
    """Where the model speaks when a window is over: the end of the last one, for each stream that has a watermark."""
    if "window_end" not in chosen.rows.column_names or not chosen.rows.num_rows:
        return {}
    connection.register("chosen", chosen.rows)
    micros = int(model.settings.lateness.total_seconds() * 1e6)
    sql = f"SELECT CAST(max(window_end) + to_microseconds({micros}) AS VARCHAR) FROM chosen"  # noqa: S608 a number
    (latest,) = connection.execute(sql).fetchall()[0]
    connection.unregister("chosen")
    marked = {name for source in project.sources for name, one in source.streams.items() if one.watermark is not None}
    return {name: latest for name in chosen.given if name in marked}


def _types(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[tuple[str, str]]:
    connection.register("given", rows)
    found = [(row[0], row[1]) for row in connection.execute("DESCRIBE given").fetchall()]
    connection.unregister("given")
    return found


def _texts(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> list[dict[str, str | None]]:
    """The values as DuckDB writes them, which it reads back as they were; in an order."""
    connection.register("given", rows)
    casts = ", ".join(f"CAST({quote(name)} AS VARCHAR) AS {quote(name)}" for name in rows.column_names)
    rows_of = connection.sql(f"SELECT {casts} FROM given ORDER BY ALL").to_arrow_table()  # noqa: S608
    found: list[dict[str, str | None]] = rows_of.to_pylist()
    connection.unregister("given")
    return found


def _row(row: Mapping[str, str | None]) -> str:
    return "{" + ", ".join(f"{_key(name)}: {_value(value)}" for name, value in row.items()) + "}"


def _value(value: str | None) -> str:
    if value is None:
        return "null"
    return value if _NUMBER.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else json.dumps(name)


def _free(folder: Path, stem: str) -> Path:
    """A path that nothing has."""
    names = [stem, *(f"{stem}_{number}" for number in range(2, 1000))]
    return next(path for name in names if not (path := folder / f"{name}.yml").exists())
