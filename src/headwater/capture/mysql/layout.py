"""From a table's definition to the table that is captured, and how a table map's rows map to it."""

from __future__ import annotations

import re
from dataclasses import replace

from headwater.capture.mysql import table_map as wire
from headwater.capture.mysql.charsets import charset_of
from headwater.capture.mysql.definition import ColumnDefinition, TableDefinition
from headwater.capture.mysql.selection import Selection
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.table_map import TableMap
from headwater.capture.mysql.types import Column, describe
from headwater.change import CHANGE_COLUMNS
from headwater.errors import SourceStopped

_BLOBS = (wire.BLOB, wire.TINY_BLOB, wire.MEDIUM_BLOB, wire.LONG_BLOB, wire.BLOB_COMPRESSED)
_STRINGS = (wire.STRING, wire.VARCHAR, wire.VAR_STRING, wire.VARCHAR_COMPRESSED)
_GEOMETRY = (wire.GEOMETRY, *_BLOBS)
_ON_THE_WIRE: dict[str, tuple[int, ...]] = {
    "tinyint": (wire.TINY,),
    "smallint": (wire.SHORT,),
    "mediumint": (wire.INT24,),
    "int": (wire.LONG,),
    "bigint": (wire.LONGLONG,),
    "decimal": (wire.NEWDECIMAL,),
    "float": (wire.FLOAT,),
    "double": (wire.DOUBLE,),
    "bit": (wire.BIT,),
    "year": (wire.YEAR,),
    "date": (wire.DATE, wire.NEWDATE),
    "time": (wire.TIME, wire.TIME2),
    "datetime": (wire.DATETIME, wire.DATETIME2),
    "timestamp": (wire.TIMESTAMP, wire.TIMESTAMP2),
    "char": _STRINGS,
    "varchar": (*_STRINGS, *_BLOBS),
    "binary": _STRINGS,
    "varbinary": (*_STRINGS, *_BLOBS),
    "enum": (wire.ENUM,),
    "set": (wire.SET,),
    "json": (wire.JSON, *_BLOBS),
    **dict.fromkeys(("tinytext", "text", "mediumtext", "longtext"), _BLOBS),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob"), _BLOBS),
    **dict.fromkeys(("geometry", "point", "linestring", "polygon"), _GEOMETRY),
}
"""By the word that a type begins with, the types that its values may have in a table map; others are not checked."""


def make_table(definition: TableDefinition, selection: Selection) -> Table:
    """The table as it is captured.

    Raises:
        SourceStopped: a column cannot be captured.
    """
    columns = tuple(_column(definition, one, selection) for one in definition.columns)
    taken = {field.name for field in CHANGE_COLUMNS}
    bad = [column.name for column in columns if column.name.lower() in taken]
    if bad:
        raise SourceStopped(
            f"table {definition.qualified} has a column {bad[0]!r}, a name that Headwater uses itself",
            hint=f"rename it, or leave the table out: tables: [..., '!{definition.qualified}']",
        )
    name = selection.stream_name(definition.database, definition.name)
    return Table(definition.database, definition.name, columns, definition.key, name)


def _column(definition: TableDefinition, column: ColumnDefinition, selection: Selection) -> Column:
    as_text = selection.is_text(definition.database, definition.name, column.name)
    known = column.default is not None or column.nullable
    return describe(
        column.name,
        column.type,
        column.charset,
        column.nullable,
        as_text,
        default=column.default,
        default_known=known and not column.computed_default,
        missing=column.missing,
    )


def make_layout(definition: TableDefinition, table_map: TableMap, selection: Selection) -> Layout:
    """The layout of rows that follow `table_map`.

    Raises:
        SourceStopped: a column cannot be captured.
    """
    table = make_table(definition, selection)
    return Layout(table, tuple(range(table_map.width)), table_map.width)


def reconciled(definition: TableDefinition, table_map: TableMap) -> TableDefinition:
    """A definition with what a table map knows better: which columns may be null, and in which charset texts are when
    the statement that made them left both to the server's settings.

    Raises:
        SourceStopped: the rows are not of the table that the schema history knows.
    """
    _compare(definition, table_map)
    columns = []
    for at, column in enumerate(definition.columns):
        charset = column.charset
        if charset is None and table_map.collations is not None and table_map.collations[at]:
            charset = charset_of(table_map.collations[at])
        columns.append(replace(column, nullable=table_map.nullable[at], charset=_of_text(charset)))
    return replace(definition, columns=tuple(columns))


def _of_text(charset: str | None) -> str | None:
    """The charset of a column that has one; bytes are in none."""
    return None if charset == "binary" else charset


def _compare(definition: TableDefinition, table_map: TableMap) -> None:
    columns = definition.columns
    if table_map.width != len(columns):
        raise _differs(definition, f"rows have {table_map.width} columns, its definition {len(columns)}")
    if table_map.names is not None:
        for column, name in zip(columns, table_map.names, strict=True):
            if column.name.lower() != name.lower():
                raise _differs(definition, f"column {name!r} of the rows is {column.name!r} in its definition")
    for column, kind in zip(columns, table_map.types, strict=True):
        word = re.match(r"\w+", column.type)
        expected = _ON_THE_WIRE.get(word.group(0).lower() if word else "")
        if expected is not None and kind not in expected:
            raise _differs(
                definition, f"column {column.name!r} is {column.type} in its definition, type {kind} in rows"
            )


def _differs(definition: TableDefinition, reason: str) -> SourceStopped:
    return SourceStopped(
        f"table {definition.qualified} is not what the schema history says: {reason}. It was changed by a statement "
        "that the binlog does not have (sql_log_bin=0)",
        hint=f"leave it out: tables: [..., '!{definition.qualified}'], or read it anew: headwater source resnapshot",
    )
