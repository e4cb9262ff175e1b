"""A folder of tables, each a folder with a version log of its own; there is no catalog beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote
from uuid import uuid4

from headwater.clock import Clock, SystemClock
from headwater.durable import fsync_path, make_folder
from headwater.errors import UserError
from headwater.index.memory import Arrays
from headwater.lake.columns import lake_columns
from headwater.lake.files.log import VersionLog, disk_errors
from headwater.lake.files.shape import new_shape
from headwater.lake.files.table import FileTable
from headwater.lake.files.version import Shape, Version
from headwater.lake.table_format import Replacement, TableSpec


class Format(Protocol):
    """How tables of a format are found, made and opened."""

    def holds(self, folder: Path) -> bool:
        """Whether the folder is a table of this format."""

    def create(
        self, folder: Path, shape: Shape, key: tuple[str, ...], properties: Mapping[str, str], now_us: int
    ) -> None:
        """Makes a table without rows: its version 0.

        Raises:
            OSError: the disk failed.
        """

    def open(self, folder: Path, name: str) -> VersionLog:
        """The log of a table that is there."""

    def admit(self, spec: TableSpec) -> None:
        """Refuses what the format cannot be.

        Raises:
            UserError: with the mend.
        """


class FileLake:
    """See `headwater.lake.table_format.Lake`. Tables of one lake may be committed from different threads.

    Args:
        warehouse: folder of the namespaces, made if it is missing.
        format: of the tables.
        namespace: the tables' namespace, one name; a folder in the warehouse.
        read_only: never write; several processes may read while one writes.
        clock: for time stamps.
        memory: where the places of rows are kept.

    Raises:
        UserError: `read_only`, and there is no lake.
        StorageFailed: the folder cannot be made.
    """

    def __init__(
        self,
        warehouse: Path,
        *,
        format: Format,
        namespace: str,
        read_only: bool = False,
        clock: Clock | None = None,
        memory: Arrays | None = None,
    ) -> None:
        self.warehouse, self.namespace = warehouse.absolute(), namespace
        self.format, self._read_only, self._memory = format, read_only, memory
        self._clock = clock or SystemClock()
        self._writer = uuid4().hex
        self._folder = self.warehouse / quote(namespace, safe="")
        if read_only and not self.warehouse.exists():
            raise UserError(f"there is no lake at {warehouse}", hint="run `headwater run`, or give another folder")
        if not read_only:
            with disk_errors(f"making the lake folder {self.warehouse}"):
                make_folder(self._folder)

    def table(self, spec: TableSpec, *, as_held: bool = False) -> FileTable:
        """Opens a table for writing, creating or evolving it as needed; its spec then has lake types.

        Raises:
            UserError: the table is there with another key or types that cannot become these, or the format cannot hold
                it.
            StorageFailed: the disk failed.
        """
        if self._read_only:
            raise UserError(f"the lake at {self.warehouse} is open for reading only", hint="use open_table")
        self.format.admit(spec)
        wanted = replace(spec, columns=lake_columns(spec.columns))
        folder = self.folder_of(spec.name)
        with disk_errors(f"opening table {spec.name!r}"):
            new = not self.format.holds(folder)
            if new:
                self._create(folder, wanted)
        log = self.format.open(folder, spec.name)
        with disk_errors(f"opening table {spec.name!r}"):
            log.mend()
        held = _spec_of(spec.name, log.load())
        if as_held and not new:
            wanted = held
        if wanted.key != held.key:
            raise UserError(
                f"table {spec.name!r} is there with key {list(held.key)}, not {list(wanted.key)}",
                hint="land it under another name, or remove the table's folder",
            )
        opened = replace(wanted, columns=held.columns)
        table = FileTable(log, opened, self._writer, self._clock, read_only=False, memory=self._memory)
        table.evolve(wanted.columns)
        return table

    def _create(self, folder: Path, spec: TableSpec) -> None:
        missing = [name for name in spec.key if name not in spec.columns.names]
        if missing:
            raise UserError(f"table {spec.name!r} has no column {missing[0]!r} for its key", hint="correct the key")
        self.format.create(folder, new_shape(spec.columns), spec.key, spec.properties, self._clock.now_us())

    def replacement(self, spec: TableSpec, *, remove: bool = False) -> Replacement | None:
        """None: a format without deletion vectors would write files of a replacement again when they are committed."""
        return None

    def open_table(self, name: str) -> FileTable:
        """Opens an existing table for reading, ours or another writer's.

        Raises:
            UserError: no such table; the hint lists those there are.
        """
        log = self.format.open(self._found(name), name)
        spec = _spec_of(name, log.load())
        return FileTable(log, spec, self._writer, self._clock, read_only=True)

    def names(self) -> Sequence[str]:
        """Names of the tables, sorted."""
        with disk_errors("listing the tables"):
            folders = list(self._folder.iterdir()) if self._folder.is_dir() else []
            return sorted(unquote(folder.name) for folder in folders if self.format.holds(folder))

    def drop(self, name: str) -> None:
        """Forgets a table and its files: at once for everybody, as a hidden folder first.

        Raises:
            UserError: no such table.
        """
        folder = self._found(name)
        with disk_errors(f"dropping table {name!r}"):
            gone = self._folder / f".dropped-{uuid4().hex}"
            folder.rename(gone)
            fsync_path(self._folder)
            shutil.rmtree(gone)

    def keep_indexes(self, least_changed: float = 0.0) -> None:
        """None is kept: it is read again at the first commit."""

    def close(self) -> None:
        """Nothing is held open."""

    def folder_of(self, name: str) -> Path:
        """The folder of a table of that name."""
        return self._folder / quote(name, safe="").replace(".", "%2E")

    def _found(self, name: str) -> Path:
        folder = self.folder_of(name)
        if not self.format.holds(folder):
            raise UserError(f"there is no table {name!r}", hint=f"there are: {', '.join(self.names()) or 'none yet'}")
        return folder


def _spec_of(name: str, version: Version) -> TableSpec:
    properties = version.note.get("properties")
    given = {str(key): str(value) for key, value in properties.items()} if isinstance(properties, Mapping) else {}
    return TableSpec(name, version.shape.schema, version.key, given)
