"""A warehouse of Iceberg tables with its catalog."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakValueDictionary

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io import load_file_io
from pyiceberg.table import Table as PyIcebergTable

from headwater.clock import Clock, SystemClock
from headwater.durable import make_folder
from headwater.errors import StorageFailed, UserError
from headwater.index.memory import Arrays
from headwater.lake.columns import lake_columns
from headwater.lake.connection import LOCAL, Connection, is_remote
from headwater.lake.iceberg.catalog import open_catalog
from headwater.lake.iceberg.durable_io import DurableFileIO
from headwater.lake.iceberg.evolution import KEY_PROPERTY, key_of
from headwater.lake.iceberg.handle import TableHandle, storage_errors
from headwater.lake.iceberg.index_keeper import IndexKeeper
from headwater.lake.iceberg.index_store import IndexStore
from headwater.lake.iceberg.partitions import apply_layout, layout_of
from headwater.lake.iceberg.replacement import IcebergReplacement
from headwater.lake.iceberg.schema import columns_of
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.table_format import TableSpec

_PROPERTIES = {
    "format-version": "2",
    "write.delete.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


class IcebergLake:
    """See `headwater.lake.table_format.Lake`. Tables of one lake may be committed from different threads.

    Args:
        warehouse: folder of the tables, made if it is missing, or an address such as `s3://bucket/prefix`.
        connection: how catalog and storage are reached.
        namespace: the tables' namespace, one name.
        read_only: never write; several processes may read while one writes.
        clock: for time stamps.
        memory: where the places of rows are kept.
        index_folder: where key indexes are kept between runs; nowhere if not given, and they are built anew.

    Raises:
        UserError: `read_only`, and there is no lake.
        StorageFailed: the catalog cannot be opened.
    """

    def __init__(
        self,
        warehouse: Path | str,
        *,
        connection: Connection = LOCAL,
        namespace: str,
        read_only: bool = False,
        clock: Clock | None = None,
        memory: Arrays | None = None,
        index_folder: Path | None = None,
    ) -> None:
        remote = isinstance(warehouse, str) and is_remote(warehouse)
        self.location = str(warehouse).rstrip("/") if remote else str(Path(warehouse).absolute())
        self.namespace = namespace
        self._read_only = read_only
        self._clock = clock or SystemClock()
        self._memory = memory
        self._indexes = IndexStore(index_folder) if index_folder is not None and not read_only else None
        self._written: WeakValueDictionary[str, IcebergTable] = WeakValueDictionary()
        self._writer = uuid4().hex
        if not read_only and not remote:
            with storage_errors(f"making the lake folder {self.location}"):
                make_folder(Path(self.location))
        with storage_errors(f"opening the catalog of {self.location}"):
            self.catalog = open_catalog(self.location, connection, read_only=read_only)
            if not read_only:
                self._make_namespace()

    @property
    def warehouse(self) -> Path:
        """The folder of a lake on a local disk."""
        return Path(self.location)

    def _make_namespace(self) -> None:
        try:
            self.catalog.create_namespace((self.namespace,))
        except NamespaceAlreadyExistsError:
            return

    def table(self, spec: TableSpec, *, as_held: bool = False) -> IcebergTable:
        """Opens a table for writing, creating or evolving it as needed; its spec then has lake types.

        Args:
            spec: what it should look like.
            as_held: one that is there already is left as it is; `IcebergTable.evolve` may change it later.

        Raises:
            UserError: the table is there with another key or types that cannot become these.
            StorageFailed: the disk or the catalog failed.
        """
        if self._read_only:
            raise UserError(f"the lake at {self.location} is open for reading only", hint="use open_table")
        wanted = replace(spec, columns=lake_columns(spec.columns))
        handle = self._handle(spec.name)
        with storage_errors(f"opening table {spec.name!r}"):
            found = self._load(handle)
            held = found or self._create(handle, wanted)
        if found is not None and as_held:
            wanted = _spec_of(spec.name, held)
        _check_key(wanted, key_of(held.metadata))
        table = IcebergTable(
            handle, wanted, self._writer, self._clock, read_only=False, memory=self._memory, indexes=self._indexes
        )
        table.evolve(wanted.columns)
        table.show_columns()
        if not as_held or found is None:
            table.relayout(spec.layout)
        self._written[spec.name] = table
        return table

    def replacement(self, spec: TableSpec, *, remove: bool = False) -> IcebergReplacement | None:
        """Begins to write all rows of a table as it is to be; see the contract. A table that is not there is thought
        out as `table` will make it, which only a catalog in this process lets us foresee."""
        table = self._written.get(spec.name)
        if table is not None:
            return table.replacement(spec, remove=remove)
        if self._read_only or not isinstance(self.catalog, MetastoreCatalog):
            return None
        wanted, handle = replace(spec, columns=lake_columns(spec.columns)), self._handle(spec.name)
        folder, properties = self._place(wanted)
        with storage_errors(f"preparing table {spec.name!r}"):
            making = self.catalog.create_table_transaction(
                handle.identifier, wanted.columns, folder, properties=properties
            )
            if layout_of(making.table_metadata) != spec.layout:
                apply_layout(making, spec.layout, spec.key)
            io = load_file_io(self.catalog.properties, folder)
        return IcebergReplacement(making.table_metadata, io, wanted, IndexKeeper(spec.name, self._memory, None))

    def open_table(self, name: str) -> IcebergTable:
        """Opens an existing table for reading.

        Raises:
            UserError: no such table; the hint lists those there are.
        """
        handle = self._handle(name)
        with storage_errors(f"opening table {name!r}"):
            held = self._load(handle)
        if held is None:
            raise UserError(f"there is no table {name!r}", hint=f"there are: {', '.join(self.names()) or 'none yet'}")
        spec = _spec_of(name, held)
        return IcebergTable(handle, spec, self._writer, self._clock, read_only=True)

    def names(self) -> Sequence[str]:
        """Names of the tables, sorted."""
        with storage_errors("listing the tables"):
            if not self.catalog.namespace_exists((self.namespace,)):
                return []
            return sorted(identifier[-1] for identifier in self.catalog.list_tables((self.namespace,)))

    def drop(self, name: str) -> None:
        """Forgets a table and its files.

        Raises:
            UserError: no such table.
        """
        handle = self._handle(name)
        with storage_errors(f"dropping table {name!r}"):
            held = self._load(handle)
            if held is None:
                raise UserError(f"there is no table {name!r}", hint=f"there are: {', '.join(self.names()) or 'none'}")
            self.catalog.drop_table(handle.identifier)
            if self._indexes is not None:
                self._indexes.forget(held.metadata)
            if held.metadata.location.startswith(f"{self.location}/"):
                DurableFileIO(held.io.properties).delete_under(held.metadata.location)

    def keep_indexes(self, least_changed: float = 0.0) -> None:
        """Keeps the key indexes in their files, as far as the disk lets it: they spare time and nothing else."""
        for table in list(self._written.values()):
            with suppress(StorageFailed):
                table.keep_index(least_changed)

    def close(self) -> None:
        """Keeps the key indexes and lets go of the catalog."""
        self.keep_indexes()
        self.catalog.close()

    def _handle(self, name: str) -> TableHandle:
        return TableHandle(self.catalog, (self.namespace, name))

    def _load(self, handle: TableHandle) -> PyIcebergTable | None:
        try:
            return self.catalog.load_table(handle.identifier)
        except NoSuchTableError:
            return None

    def _create(self, handle: TableHandle, spec: TableSpec) -> PyIcebergTable:
        missing = [name for name in spec.key if name not in spec.columns.names]
        if missing:
            raise UserError(f"table {spec.name!r} has no column {missing[0]!r} for its key", hint="correct the key")
        folder, properties = self._place(spec)
        try:
            return self.catalog.create_table(handle.identifier, spec.columns, folder, properties=properties)
        except TableAlreadyExistsError:  # by a request of ours whose answer was lost
            return self.catalog.load_table(handle.identifier)

    def _place(self, spec: TableSpec) -> tuple[str, dict[str, str]]:
        """Folder and properties of a table that is made."""
        folder = f"{self.location}/{quote(self.namespace, safe='')}/{quote(spec.name, safe='').replace('.', '%2E')}"
        return folder, {**_PROPERTIES, KEY_PROPERTY: json.dumps(spec.key), **spec.properties}


def _spec_of(name: str, held: PyIcebergTable) -> TableSpec:
    metadata = held.metadata
    return TableSpec(name, columns_of(held.schema()), key_of(metadata), dict(metadata.properties), layout_of(metadata))


def _check_key(spec: TableSpec, held: tuple[str, ...]) -> None:
    if spec.key != held:
        raise UserError(
            f"table {spec.name!r} is there with key {list(held)}, not {list(spec.key)}",
            hint="land it under another name, or remove the table with a tool that knows the catalog",
        )
