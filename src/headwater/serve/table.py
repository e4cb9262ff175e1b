"""One table for programs: as Arrow batches, in Polars, in pandas, or under SQL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import StaticTable

from headwater.clock import SystemClock
from headwater.errors import UserError
from headwater.lake.iceberg.reading import dataset_at
from headwater.lake.moment import Moment
from headwater.project import load
from headwater.project.definition import Project
from headwater.serve.moment_text import parse_moment
from headwater.serve.query import open_lake, plan
from headwater.serve.relation import Relation
from headwater.sql.prelude import install


@dataclass(frozen=True)
class LakeTable:
    """A table as of one moment. Nothing is read before it is asked for, and then only the columns and files needed.

    Attributes:
        name: its name.
        note: which moment it is of, for people.
        dataset: the rows of the lake's table; without changes that only the log has.
    """

    name: str
    note: str
    dataset: pads.Dataset
    _relation: Relation

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self.dataset.schema

    @property
    def _is_plain(self) -> bool:
        return self._relation.tail is None or not self._relation.tail.changes

    def to_reader(
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None
    ) -> pa.RecordBatchReader:
        """The rows as a stream of record batches.

        Args:
            columns: which; all if not given.
            filter: which rows, as a PyArrow expression over the columns.

        Raises:
            FilesExpired: while it is read: the table snapshot has expired, so the rows so far are not all.
        """
        if self._is_plain:
            return self.dataset.scanner(columns=None if columns is None else list(columns), filter=filter).to_reader()
        rows = pads.dataset(self.sql(f'SELECT * FROM "{self.name}"'))  # noqa: S608 - our own name
        return rows.scanner(columns=None if columns is None else list(columns), filter=filter).to_reader()

    def to_arrow(self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """The rows as one Arrow table; see `to_reader`."""
        return self.to_reader(columns, filter).read_all()

    def to_polars(self) -> Any:
        """The rows as a Polars LazyFrame; needs `pip install 'headwater[polars]'`.

        Raises:
            UserError: Polars is not installed.
        """
        try:
            polars = import_module("polars")
        except ImportError as error:
            raise UserError("Polars is not installed", hint="pip install 'headwater[polars]'") from error
        if self._is_plain:
            return polars.scan_pyarrow_dataset(self.dataset)
        return polars.from_arrow(self.to_arrow()).lazy()

    def to_pandas(self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None) -> Any:
        """The rows as a pandas DataFrame; needs `pip install 'headwater[pandas]'`.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            return self.to_arrow(columns, filter).to_pandas()
        except ImportError as error:
            raise UserError("pandas is not installed", hint="pip install 'headwater[pandas]'") from error

    def sql(self, query: str) -> pa.Table:
        """The answer to a SELECT over the table, by its name."""
        with duckdb.connect() as connection:
            install(connection)
            self._relation.install(connection)
            return connection.sql(query).to_arrow_table()


def open_table(
    name: str,
    *,
    project: Project | str | Path | None = None,
    at: Moment | str | None = None,
    fresh: bool | None = None,
    catalog: Catalog | None = None,
) -> LakeTable:
    """Opens a table for reading.

    Args:
        name: of a project's table or model. Without `project`: the location of an Iceberg table's metadata file
            (`.../metadata/00003-....metadata.json`, whoever wrote it), or with `catalog` its name in there.
        project: the project, or its folder.
        at: a moment in the past, also as text ("2 hours ago", "epoch 17", "tag NAME").
        fresh: as for `headwater.serve.query.ask`; only with a project.
        catalog: a PyIceberg catalog.

    Raises:
        UserError: there is no such table, or nothing is kept of the moment.
    """
    moment = parse_moment(at, SystemClock().now_us()) if isinstance(at, str) else at
    if project is None:
        return _foreign(name, moment, catalog)
    opened = project if isinstance(project, Project) else load(Path(project), environment=os.environ)
    lake = open_lake(opened)
    try:
        planned = plan(opened, lake, [name], moment, fresh)
    finally:
        lake.close()
    relation = next(one for one in planned.relations if one.name == name)
    base: Any = relation.base
    return LakeTable(name, planned.note, base if isinstance(base, pads.Dataset) else pads.dataset(base), relation)


def foreign_dataset(location: str, at: Moment | None = None, catalog: Catalog | None = None) -> pads.Dataset:
    """The rows of an Iceberg table that somebody else keeps; see `open_table`."""
    try:
        table = catalog.load_table(location) if catalog is not None else StaticTable.from_metadata(location)
    except (NoSuchTableError, OSError, ValueError) as error:
        raise UserError(
            f"no Iceberg table can be read at {location!r}: {error}",
            hint="give its newest metadata file (.../metadata/*.metadata.json)",
        ) from error
    return dataset_at(table, at, location)


def _foreign(location: str, at: Moment | None, catalog: Catalog | None) -> LakeTable:
    dataset = foreign_dataset(location, at, catalog)
    return LakeTable("t", f"as of {at}" if at is not None else "as of now", dataset, Relation("t", dataset))
