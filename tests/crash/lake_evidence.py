"""The lake of a case, judged: every table against its source by every independent reader, and every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from tests.crash.evidence import BROKEN, DOUBLED, LOST, Fault
from tests.readers.readers import READERS

from headwater.lake.iceberg.orphan_files import NamedFiles, plain
from headwater.project import Project

COLUMNS = {
    "accounts": ("id", "branch", "balance", "note"),
    "moves": ("id", "account", "amount", "at"),
    "notes": ("account", "text"),
    "stock": ("id", "amount"),
}
"""Of each table at the source."""
SOURCES = {
    **{name: name for name in COLUMNS},
    "accounts_history": "accounts",
    "accounts_changelog": "accounts",
    "accounts_kept": "accounts",
}
"""By lake table, the source's."""


def table_faults(project: Project, url: str) -> list[Fault]:
    """What any reader sees that is not so at the source, and what it sees otherwise than the first one."""
    with psycopg.connect(url) as connection:
        there = {
            name: Counter(connection.execute(f"SELECT {', '.join(columns)} FROM {name}".encode()).fetchall())
            for name, columns in COLUMNS.items()
        }
    tables, faults = _tables(project), []
    for name, source in SOURCES.items():
        if name not in tables:
            faults.append(Fault(LOST, f"{name}: the lake has no such table"))
            continue
        seen: dict[str, Counter] = {}
        for reader, (_, read) in READERS.items():
            rows = read(tables[name].metadata_location)
            faults += _differences(f"{name} by {reader}", there[source], _state(name, rows))
            seen[reader] = Counter(_tuples(rows, sorted(rows.column_names)))
        first, *others = seen
        faults += [
            Fault(BROKEN, f"{name}: {other} sees other rows than {first}")
            for other in others
            if seen[other] != seen[first]
        ]
    return faults


def orphan_faults(project: Project) -> Iterator[Fault]:
    """Files that nothing names, though all orphans were removed, and files that something names and that are gone."""
    for name, table in _tables(project).items():
        folder = Path(plain(table.location()))
        files = {str(path) for path in folder.rglob("*") if path.is_file()}
        left = files - NamedFiles().of(table)
        if left:
            yield Fault(BROKEN, f"{name}: nothing names {len(left)} files: {sorted(left)[:3]}")
        gone = {plain(location) for location in _needed(table)} - files
        if gone:
            yield Fault(LOST, f"{name}: {len(gone)} files are named and gone: {sorted(gone)[:3]}")


def _needed(table: Table) -> Iterator[str]:
    """What a reader of any kept snapshot opens, as PyIceberg says."""
    yield table.metadata_location
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))


def _tables(project: Project) -> Mapping[str, Table]:
    database = (project.folder / project.lake.warehouse / "catalog.db").absolute()
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{database}", init_catalog_tables="false")
    try:
        names = catalog.list_tables(project.lake.namespace or project.name)
        return {name[-1]: catalog.load_table(name) for name in names}
    finally:
        catalog.close()


def _state(name: str, rows: pa.Table) -> Counter:
    """The source's rows, as a table of any kind tells them."""
    tuples = _tuples(rows, COLUMNS[SOURCES[name]])
    if name.endswith("_history"):
        return Counter(row for row, now in zip(tuples, rows["is_current"].to_pylist(), strict=True) if now)
    if name.endswith("_kept"):
        return Counter(row for row, gone in zip(tuples, rows["_is_deleted"].to_pylist(), strict=True) if not gone)
    if not name.endswith("_changelog"):
        return Counter(tuples)
    summed: Counter = Counter()
    for row, weight in zip(tuples, rows["change_weight"].to_pylist(), strict=True):
        summed[row] += weight
    return Counter({row: weight for row, weight in summed.items() if weight})


def _tuples(rows: pa.Table, columns: list[str] | tuple[str, ...]) -> list[tuple]:
    return list(zip(*(rows[column].to_pylist() for column in columns), strict=True))


def _differences(what: str, there: Counter, here: Counter) -> Iterator[Fault]:
    for kind, left, right, told in ((LOST, there, here, "missing"), (DOUBLED, here, there, "too much")):
        more = {row: count - right[row] for row, count in left.items() if count > right[row]}
        if more:
            yield Fault(kind, f"{what}: {sum(more.values())} rows {told}: {list(more)[:2]}")
