"""The files of a new project."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from headwater.project.connectors import Connector
from headwater.project.setting import is_name
from headwater.project.starter_test import starter_test
from headwater.schema import StreamSchema

_CATEGORIES = ("status", "state", "kind", "type", "category", "country", "region", "city", "currency", "method")
IGNORED = (".headwater/", "lake/", ".env")

_PROJECT = """\
# A Headwater project: changes of the sources become live models (models/*.sql) and lake tables.
#   headwater check    find mistakes
#   headwater plan     what the next run will do
#   headwater run      run it
name: {name}

sources:
  {source}:
    type: {kind}
    # The variable holds {url}
    url: ${{{variable}}}
    tables: [{tables}]{gap}# patterns on {qualified}; a leading ! excludes
{streams}
lake:
  warehouse: lake                 # folder of the Iceberg tables

# run:
#   epoch_interval: 500 ms        # how fresh the tables are
#   log_retention: {{max_age: 1 day, max_bytes: 10 GiB}}
"""

_STREAMS_UNKNOWN = """\
    # streams:                    # settings of single tables
    #   payments:
    #     watermark: {column: paid_at, delay: 5 seconds}    # event time, for windows
    #     mirror: false           # no lake table of its own
"""

_SAMPLE = """\
/*
description: Orders per status. Rename this file to orders_by_status.sql to make it a model.
key: [status]              # the columns that identify a row
# emit: final              # with windows: each once, when it is over; the default is every change
# lateness: 5 seconds      # how long a window waits for late rows
# late: reject             # rows later still: update (default), reject or drop
# owner: you
*/
SELECT status, count(*) AS orders
FROM orders
GROUP BY status
"""

_README = """\
# {name}

A Headwater project. `headwater check` finds mistakes in it, `headwater run` keeps its models and tables up to date.
"""


def name_from(text: str, otherwise: str) -> str:
    """A name for a project or source that is like `text`."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").lstrip("0123456789_")[:63]
    return name if is_name(name) else otherwise


def url_variable(source: str) -> str:
    """The environment variable that holds a source's URL."""
    return f"{source.upper()}_URL"


def files(name: str, source: str, kind: Connector, streams: Sequence[StreamSchema]) -> dict[str, str]:
    """Text of each file of a new project, by its path in the folder.

    Args:
        name: the project's name.
        source: the name of its one source.
        kind: the source's connector.
        streams: what the source feeds; none if that is not known yet, then the model is only a sample to rename.
    """
    text = _PROJECT.format(
        name=name, source=source, variable=url_variable(source), streams=_streams(streams), **_of(kind)
    )
    model, sql = _starter_model(streams) if streams else ("example.sql.sample", _SAMPLE)
    ignored = "".join(f"{line}\n" for line in IGNORED)
    tests = starter_test(model.removesuffix(".sql"), *_subject(streams)) if streams else {}
    return {
        "headwater.yml": text,
        f"models/{model}": sql,
        **tests,
        ".gitignore": ignored,
        "README.md": _README.format(name=name),
    }


def _of(kind: Connector) -> dict[str, str]:
    tables = _pattern(kind.tables)
    qualified = "schema.table" if kind.type == "postgres" else "database.table"
    gap = " " * max(1, 20 - len(tables))
    return {"kind": kind.type, "url": kind.url, "tables": tables, "qualified": qualified, "gap": gap}


def _pattern(pattern: str) -> str:
    """A pattern as YAML has to write it: one that begins with * would be an alias."""
    return json.dumps(pattern) if pattern.startswith("*") else pattern


def _streams(streams: Sequence[StreamSchema]) -> str:
    if not streams:
        return _STREAMS_UNKNOWN
    width = max(len(_yaml_key(stream.name)) for stream in streams)
    lines = ["    streams:                      # what the source had; each may get a watermark or `mirror: false`"]
    for stream in sorted(streams, key=lambda one: one.name):
        key = f"key {', '.join(stream.key)}" if stream.key else "no key"
        entry = f"{_yaml_key(stream.name)}: {{}}".ljust(width + 4)
        lines.append(f"      {entry}  # {len(stream.columns)} columns, {_one_line(key)}")
    return "\n".join(lines) + "\n"


def _starter_model(streams: Sequence[StreamSchema]) -> tuple[str, str]:
    """A small model that is right for whatever the source has: rows counted by a column, or the rows themselves."""
    taken = {stream.name.casefold() for stream in streams}
    stream, field = _subject(streams)
    if field is not None:
        return _file(f"{stream.name}_by_{field.name}", taken), _count(stream.name, field.name)
    return _file(f"{stream.name}_now", taken), _rows(stream)


def _subject(streams: Sequence[StreamSchema]) -> tuple[StreamSchema, pa.Field | None]:
    """What the small model is of: a stream, and the column that its rows are counted by, if one is good for that."""
    ordered = sorted(streams, key=lambda stream: stream.name)
    found = [(stream, field) for stream in ordered for field in stream.columns if _is_category(field, stream)]
    return min(found, key=lambda candidate: _rank(candidate[1])) if found else (ordered[0], None)


def _is_category(field: pa.Field, stream: StreamSchema) -> bool:
    countable = pa.types.is_string(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
    return countable and field.name not in stream.key


def _rank(field: pa.Field) -> int:
    """How well a column divides rows into groups that a person wants to count, going by its name; less is better."""
    if field.name in _CATEGORIES:
        return _CATEGORIES.index(field.name)
    return len(_CATEGORIES) + (0 if pa.types.is_boolean(field.type) else 1 if field.name.endswith("_id") else 2)


def _count(stream: str, column: str) -> str:
    name = "row_count" if column == "rows" else "rows"
    return f"""\
/*
description: Rows of {_one_line(stream)} per {_one_line(column)}, kept up to date as they change.
key: [{_yaml_key(column)}]
*/
SELECT {_identifier(column)}, count(*) AS {_identifier(name)}
FROM {_identifier(stream)}
GROUP BY {_identifier(column)}
"""  # noqa: S608 - this writes a file for a person to read, and names are quoted


def _rows(stream: StreamSchema) -> str:
    key = f"key: [{', '.join(map(_yaml_key, stream.key))}]\n" if stream.key else ""
    return f"""\
/*
description: {_one_line(stream.name)} as it is now; change this to what you want to know.
{key}*/
SELECT *
FROM {_identifier(stream.name)}
"""  # noqa: S608 - this writes a file for a person to read, and names are quoted


def _file(name: str, taken: set[str]) -> str:
    model = name_from(name, "starter")
    while model.casefold() in taken:
        model = f"{model[:60]}_2"
    return f"{model}.sql"


def _identifier(name: str) -> str:
    """A name as SQL has to write it."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _keywords():
        return name
    return '"' + name.replace('"', '""') + '"'


def _keywords() -> set[str]:
    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    with duckdb.connect() as connection:
        return {str(row[0]) for row in connection.execute(query).fetchall()}


def _yaml_key(name: str) -> str:
    """A name as YAML has to write it, inside a comment of SQL too."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in ("null", "true", "false"):
        return name
    return json.dumps(name).replace("*/", "*\\/")


def _one_line(text: str) -> str:
    """Text for a comment: nothing in it can end the line or the comment."""
    return re.sub(r"[^\w .,-]", "_", text)
