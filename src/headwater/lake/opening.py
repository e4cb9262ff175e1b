"""The one place that chooses a table format: from a project's settings to an open lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from headwater.clock import Clock
from headwater.errors import UserError
from headwater.index.memory import Arrays
from headwater.lake.connection import Connection, is_remote
from headwater.lake.delta.log import DeltaFormat
from headwater.lake.files.lake import FileLake, Format
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.parquet.log import ParquetFormat
from headwater.lake.table_format import Lake

_FORMATS: Mapping[str, Callable[[], Format]] = {"delta": DeltaFormat, "parquet": ParquetFormat}


class Place(Protocol):
    """Where a lake is and what it is of; `headwater.project.settings.LakeSettings` is one."""

    @property
    def type(self) -> str:
        """Table format."""

    @property
    def warehouse(self) -> str:
        """Folder of the tables, counted from the project's folder, or an address such as `s3://bucket/prefix`."""

    @property
    def namespace(self) -> str | None:
        """Namespace of the tables, the project's name if None."""

    def connection(self, folder: Path) -> Connection:
        """How catalog and storage are reached, seen from the project's folder."""


def make_lake(
    settings: Place,
    folder: Path,
    *,
    project: str,
    read_only: bool = False,
    clock: Clock | None = None,
    memory: Arrays | None = None,
    index_folder: Path | None = None,
) -> Lake:
    """Opens the lake that the settings speak of.

    Args:
        settings: format and place.
        folder: the project's folder.
        project: the project's name, which is the namespace if the settings give none.
        read_only: never write.
        clock: for time stamps.
        memory: where the places of rows are kept; the heap if not given.
        index_folder: where key indexes are kept between runs.

    Raises:
        UserError: `read_only`, and there is no lake.
        StorageFailed: it cannot be opened.
    """
    warehouse = settings.warehouse if is_remote(settings.warehouse) else folder / settings.warehouse
    if read_only and isinstance(warehouse, Path) and not warehouse.exists():
        raise UserError(f"there is no lake in {warehouse} yet", hint="headwater run")
    namespace = settings.namespace or project
    if settings.type in _FORMATS:
        if not isinstance(warehouse, Path):
            raise UserError(
                f"tables of type {settings.type!r} lie on a local disk, not in {warehouse}",
                hint="in headwater.yml set `lake: {type: iceberg}`, or a folder as `warehouse`",
            )
        made = _FORMATS[settings.type]()
        return FileLake(warehouse, format=made, namespace=namespace, read_only=read_only, clock=clock, memory=memory)
    return IcebergLake(
        warehouse,
        connection=settings.connection(folder),
        namespace=namespace,
        read_only=read_only,
        clock=clock,
        memory=memory,
        index_folder=index_folder,
    )
