"""Proves a lake right from the outside: mirrors against their source, models against DuckDB over the mirrors.

Nothing here goes through Headwater's capture, log, engine or table writer. The source must be at rest, and the lake
must have reached its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import duckdb
import pyarrow as pa

from headwater.demo.outside import IcebergFolder, SourceDatabase
from headwater.sql.prelude import install

SAMPLES = 3
"""How many differing rows a mismatch shows."""
_SAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class Mirror:
    """A lake table that must equal a source table.

    Attributes:
        table: name of the lake table; models know the rows by it.
        source: `schema.table` at the source.
    """

    table: str
    source: str


@dataclass(frozen=True)
class ModelClaim:
    """A lake table that must equal the answer to a SELECT over the mirrors and the models before it.

    Attributes:
        table: name of the model and of its lake table.
        sql: the model's own text.
        final: only windows that are over are there: those with `window_end` at or before `watermark`.
        watermark: the watermark that the model had reached; None if none (then a final model must be empty).
    """

    table: str
    sql: str
    final: bool = False
    watermark: datetime | None = None


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        mismatches: a sentence for each thing that is not as it must be; empty when all is.
        checked: rows compared, by table.
    """

    mismatches: tuple[str, ...] = ()
    checked: Mapping[str, int] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """Whether something was compared and all of it was equal."""
        return bool(self.checked) and not self.mismatches


def verify(
    lake: IcebergFolder,
    source: SourceDatabase,
    mirrors: Sequence[Mirror],
    models: Sequence[ModelClaim] = (),
) -> Verification:
    """Compares every mirror and model, as multisets of whole rows.

    Args:
        lake, source: the two sides, at rest.
        mirrors: tables to compare with their source.
        models: in the order of their dependencies.
    """
    mismatches: list[str] = []
    checked: dict[str, int] = {}
    with duckdb.connect() as connection:
        install(connection)
        connection.execute("CREATE SCHEMA lake; CREATE SCHEMA source")
        there = set(lake.names())
        for mirror in mirrors:
            _check(mirror.table, there, mismatches, checked, partial(_mirror, connection, lake, source, mirror))
        for model in models:
            _check(model.table, there, mismatches, checked, partial(_model, connection, lake, model))
    return Verification(tuple(mismatches), checked)


def accounting_mismatches(status: Mapping[str, object]) -> list[str]:
    """What does not add up in a status as `headwater status --json` prints it, a sentence each."""
    found = []
    for kind, name, account in _accounts(status):
        read = account.get("read", 0)
        placed = sum(account.get(part, 0) for part in ("landed", "rejected", "filtered", "late", "in_flight"))
        if read != placed:
            found.append(f"{kind} {name}: {read:,} records read, but {placed:,} accounted for")
    return found


def _accounts(status: Mapping[str, object]) -> list[tuple[str, str, dict[str, int]]]:
    sources, models = status.get("sources"), status.get("models")
    streams = [s for source in _dicts(sources) for s in _dicts(source.get("streams"))]
    labelled = [("stream", s) for s in streams] + [("model", m) for m in _dicts(models)]
    return [
        (kind, str(entry.get("name")), {k: v for k, v in entry.items() if isinstance(v, int)})
        for kind, entry in labelled
    ]


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _check(
    table: str, there: set[str], mismatches: list[str], checked: dict[str, int], compare: Callable[[], _Difference]
) -> None:
    if table not in there:
        mismatches.append(f"{table}: the lake has no such table")
        return
    try:
        difference = compare()
    except duckdb.Error as error:
        mismatches.append(f"{table}: cannot be compared: {error}")
        return
    checked[table] = difference.rows
    mismatches += [f"{table}: {sentence}" for sentence in difference.sentences]


@dataclass(frozen=True)
class _Difference:
    """What one comparison found: rows in the lake, and a sentence per kind of difference."""

    rows: int
    sentences: tuple[str, ...]


def _mirror(
    connection: duckdb.DuckDBPyConnection, lake: IcebergFolder, source: SourceDatabase, mirror: Mirror
) -> _Difference:
    types = _load_lake_table(connection, lake, mirror.table)
    connection.execute(f"CREATE VIEW main.{_quoted(mirror.table)} AS FROM lake.{_quoted(mirror.table)}")
    columns = source.columns(mirror.source)
    if set(columns) != set(types):
        return _Difference(0, (f"columns differ: {sorted(columns)} at the source, {sorted(types)} in the lake",))
    arrays = [column for column in columns if types[column].endswith("]")]
    _load(connection, "source", mirror.table, source.rows(mirror.source, columns, arrays))
    casts = ", ".join(f"{_from_text(column, types[column])} AS {_quoted(column)}" for column in types)
    expected = f"SELECT {casts} FROM source.{_quoted(mirror.table)}"  # noqa: S608 - quoted identifiers and DuckDB's types
    difference = _compare(connection, mirror.table, expected, "the source")
    connection.execute(f"DROP TABLE source.{_quoted(mirror.table)}")
    return difference


def _from_text(column: str, lake_type: str) -> str:
    """Expression that turns PostgreSQL's text form (JSON for arrays) into the lake's type."""
    name = _quoted(column)
    if lake_type == "VARCHAR":
        return name
    if lake_type == "BLOB":
        return f"unhex(substr({name}, 3))"
    return f"CAST({name}::JSON AS {lake_type})" if lake_type.endswith("]") else f"CAST({name} AS {lake_type})"


def _model(connection: duckdb.DuckDBPyConnection, lake: IcebergFolder, model: ModelClaim) -> _Difference:
    types = _load_lake_table(connection, lake, model.table)
    answer = f"FROM ({model.sql}\n)"
    if model.final:
        until = f"TIMESTAMPTZ '{model.watermark.isoformat()}'" if model.watermark else "NULL"
        answer += f" WHERE window_end <= {until}"
    connection.execute(f"CREATE TABLE main.{_quoted(model.table)} AS {answer}")
    columns = [row[0] for row in connection.execute(f"DESCRIBE main.{_quoted(model.table)}").fetchall()]
    if set(columns) != set(types):
        return _Difference(0, (f"columns differ: {sorted(columns)} by the SQL, {sorted(types)} in the lake",))
    casts = ", ".join(f"CAST({_quoted(column)} AS {types[column]}) AS {_quoted(column)}" for column in types)
    expected = f"SELECT {casts} FROM main.{_quoted(model.table)}"  # noqa: S608 - quoted identifiers and DuckDB's types
    return _compare(connection, model.table, expected, "DuckDB's answer")


def _load_lake_table(connection: duckdb.DuckDBPyConnection, lake: IcebergFolder, table: str) -> dict[str, str]:
    """Copies a lake table into schema `lake` and returns DuckDB's type of each column."""
    _load(connection, "lake", table, lake.rows(table))
    described = connection.execute(f"DESCRIBE lake.{_quoted(table)}").fetchall()
    return {str(row[0]): str(row[1]) for row in described}


def _load(connection: duckdb.DuckDBPyConnection, schema: str, table: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE {schema}.{_quoted(table)} AS FROM incoming")
    connection.unregister("incoming")


def _compare(connection: duckdb.DuckDBPyConnection, table: str, expected: str, whose: str) -> _Difference:
    actual = f"FROM lake.{_quoted(table)}"
    missing = _surplus(connection, f"{expected} EXCEPT ALL {actual}")
    extra = _surplus(connection, f"{actual} EXCEPT ALL {expected}")
    sentences = []
    if missing:
        sentences.append(f"{_counted(missing[0])} of {whose} missing from the lake, such as {missing[1]}")
    if extra:
        sentences.append(f"{_counted(extra[0])} in the lake and not in {whose}, such as {extra[1]}")
    ((count,),) = connection.execute(f"SELECT count(*) {actual}").fetchall()
    return _Difference(int(count), tuple(sentences))


def _surplus(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, str] | None:
    """How many rows `query` has and some of them as text; None if it has none."""
    sample = f"array_to_string(list(line::VARCHAR)[:{SAMPLES}], '; ')"
    lines = f"SELECT whole_row AS line FROM ({query}) AS whole_row"  # noqa: S608 - made of the queries above
    ((count, found),) = connection.execute(f"SELECT count(*), {sample} FROM ({lines})").fetchall()  # noqa: S608
    if not count:
        return None
    text = str(found)
    return int(count), text if len(text) <= _SAMPLE_CHARACTERS else text[:_SAMPLE_CHARACTERS] + "…"


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
