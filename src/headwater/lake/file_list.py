"""The data and delete files that a table consists of now, for people."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.manifest import DataFileContent

from headwater.lake.files.log import disk_errors
from headwater.lake.files.table import FileTable
from headwater.lake.iceberg.handle import storage_errors
from headwater.lake.iceberg.scan import entries_of
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.table_format import Table


@dataclass(frozen=True)
class FileEntry:
    """One file.

    Attributes:
        path: where it is, counted from the table's folder where it lies in there.
        kind: data, or deletes (which rows of data files are gone).
        rows: in it; of deletes, rows that it deletes.
        bytes: its size.
        partition: its partition's values, as text; "" without partitions.
    """

    path: str
    kind: str
    rows: int
    bytes: int
    partition: str = ""


def files_of(table: Table, most: int) -> tuple[list[FileEntry], int]:
    """The largest `most` files of a table, and how many there are.

    Raises:
        StorageFailed: they cannot be read.
    """
    found: list[FileEntry] = []
    if isinstance(table, IcebergTable):
        found = _iceberg(table)
    elif isinstance(table, FileTable):
        with disk_errors(f"reading table {table.spec.name!r}"):
            files = table.log.load().files.values()
        found = [FileEntry(one.name, "data", one.live, one.size) for one in files]
    found.sort(key=lambda one: -one.bytes)
    return found[:most], len(found)


def sizes_of(table: Table) -> dict[int, int]:
    """By table snapshot, the bytes of all files that it names, where it says that."""
    if not isinstance(table, IcebergTable):
        return {}
    with storage_errors(f"reading table {table.spec.name!r}"):
        snapshots = table.handle.load().metadata.snapshots
    sizes = {one.snapshot_id: one.summary["total-files-size"] for one in snapshots if one.summary is not None}
    return {number: int(size) for number, size in sizes.items() if size is not None}


def _iceberg(table: IcebergTable) -> list[FileEntry]:
    with storage_errors(f"reading table {table.spec.name!r}"):
        loaded = table.handle.load()
        entries = entries_of(loaded.io, loaded.current_snapshot())
    root = loaded.location().rstrip("/") + "/"
    found = []
    for entry in entries:
        file = entry.data_file
        values = ", ".join(str(file.partition[number]) for number in range(len(file.partition)))
        kind = "data" if file.content == DataFileContent.DATA else "deletes"
        path = file.file_path.removeprefix(root).removeprefix("file://")
        found.append(FileEntry(path, kind, file.record_count, file.file_size_in_bytes, values))
    return found
