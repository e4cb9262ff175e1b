"""Reads a lake and a PostgreSQL as an outsider would, by none of our own readers or decoders, so that a proof
built on it cannot share their mistakes."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql
from pyiceberg.catalog.sql import SqlCatalog

from headwater.errors import UserError

_SESSION = (
    "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres';"
    " SET extra_float_digits = 1; SET bytea_output = 'hex'"
)


class IcebergFolder:
    """A warehouse folder with its SQLite catalog, read through PyIceberg alone.

    Args:
        warehouse: the folder that holds `catalog.db`.
        namespace: where the tables are; the project's name unless the project says otherwise.

    Raises:
        UserError: there is no catalog in that folder.
    """

    def __init__(self, warehouse: Path, namespace: str) -> None:
        database = warehouse.absolute() / "catalog.db"
        if not database.is_file():
            raise UserError(f"there is no lake in {warehouse}", hint="headwater run makes it")
        self._namespace = namespace
        self._catalog = SqlCatalog(
            _catalog_name(database), uri=f"sqlite:///{database}", init_catalog_tables="false"
        )  # fmt: skip

    def names(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(identifier[-1] for identifier in self._catalog.list_tables(self._namespace))

    def rows(self, table: str) -> pa.Table:
        """All rows of the table's current snapshot, deletes applied."""
        return self._catalog.load_table((self._namespace, table)).scan().to_arrow()

    def properties(self, table: str) -> dict[str, str]:
        """What the writer wrote into the summary of the table's current snapshot; empty without a snapshot."""
        snapshot = self._catalog.load_table((self._namespace, table)).current_snapshot()
        if snapshot is None or snapshot.summary is None:
            return {}
        return dict(snapshot.summary.additional_properties)

    def close(self) -> None:
        """Lets go of the catalog."""
        self._catalog.close()


def _catalog_name(database: Path) -> str:
    """The name under which the tables were registered; without the same one the catalog looks empty."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        row = connection.execute("SELECT min(catalog_name) FROM iceberg_tables").fetchone()
    return str(row[0]) if row and row[0] else "headwater"


class SourceDatabase:
    """A PostgreSQL database, read by COPY in its own text form."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(_SESSION)

    def lsn(self) -> int:
        """The end of the write-ahead log now, in bytes."""
        row = self._connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    def columns(self, table: str) -> list[str]:
        """Column names of `schema.table`, in order."""
        query = sql.SQL("SELECT * FROM {} LIMIT 0").format(_identifier(table))
        return [column.name for column in self._connection.execute(query).description or ()]

    def rows(self, table: str, columns: Sequence[str], as_json: Sequence[str] = ()) -> pa.Table:
        """All rows of `schema.table`, each value in PostgreSQL's text output form; NULL is null.

        Args:
            table: `schema.table`.
            columns: which columns.
            as_json: those of them, arrays, to be given as JSON instead.
        """
        chosen = [sql.SQL("to_json({})" if c in as_json else "{}").format(sql.Identifier(c)) for c in columns]
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)").format(
            sql.SQL(", ").join(chosen), _identifier(table)
        )
        with tempfile.TemporaryFile() as file:
            with self._connection.cursor().copy(query) as copy:
                for block in copy:
                    file.write(block)
            if file.tell() == 0:
                return pa.table({column: pa.array([], pa.string()) for column in columns})
            file.seek(0)
            return _parse(pa.PythonFile(file, mode="r"), columns)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def _identifier(table: str) -> sql.Identifier:
    schema, _, name = table.rpartition(".")
    return sql.Identifier(schema or "public", name)


def _parse(file: pa.NativeFile, columns: Sequence[str]) -> pa.Table:
    """COPY's CSV with every value quoted: only NULL is bare, so an empty string stays apart from it."""
    return pyarrow.csv.read_csv(
        file,
        read_options=pyarrow.csv.ReadOptions(column_names=list(columns), block_size=1 << 24),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
