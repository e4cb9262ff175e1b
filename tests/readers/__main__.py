"""`python -m tests.readers`, from the repository's root: tables of every shape, and those that a crash campaign left
(`python -m tests.crash --scenario lake --keep FOLDER`), read by Spark and Flink and by what `tests/readers` reads them
with. Exit code 1 if one reader sees other rows."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
from tests.readers.engines import Place, flink, spark
from tests.readers.example_lake import Row, counted, make
from tests.readers.readers import READERS

FIRST = "PyIceberg"
"""What the others are held against where nobody says which rows a table should have: the campaign has compared it with
the source."""


def main() -> int:
    """Makes the tables, reads them all and prints a line for each table and reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.readers")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--campaign", type=Path, help="a folder of projects that a crash campaign has left")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-readers-") as name:
        folder = Path(name)
        made = make(folder / "lake", given.epochs)
        tables = tables_of(folder / "lake")
        for catalog in sorted(given.campaign.glob("*/project/lake/catalog.db")) if given.campaign else ():
            tables |= tables_of(catalog.parent.absolute())
        expected = {place: made[place[2]].rows for place in tables if place[0] == folder / "lake"}
        wrong = 0
        for reader, version, rows in _all_readers(tables, folder):
            for place, table in rows.items():
                found = counted(table) if place[0] == folder / "lake" else _counted(table)
                same = found == expected.setdefault(place, found)
                wrong += not same
                where = "" if place[0] == folder / "lake" else f"{place[0].parent.parent.name}/"
                sys.stdout.write(
                    f"{reader} {version}  {where}{place[2]}  {found.total()} rows  {'equal' if same else 'WRONG'}\n"
                )
    return 1 if wrong else 0


def _all_readers(tables: dict[Place, str], folder: Path) -> list[tuple[str, str, dict[Place, pa.Table]]]:
    """Each reader's name, version and rows by table; `FIRST` is the first."""
    found = [
        (reader, version, {place: read(at) for place, at in tables.items()})
        for reader, (version, read) in sorted(READERS.items(), key=lambda one: one[0] != FIRST)
    ]
    return [*found, ("Spark", *spark(tables, folder)), ("Flink", *flink(tables, folder))]


def tables_of(lake: Path) -> dict[Place, str]:
    """The tables of a lake, by place, with the location of the metadata, as the catalog's file has it."""
    with sqlite3.connect(lake / "catalog.db") as catalog:
        query = "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables ORDER BY table_name"
        return {(lake, namespace, name): location for namespace, name, location in catalog.execute(query)}


def _counted(rows: pa.Table) -> Counter[Row]:
    """Rows of any table, columns in the order of their names."""
    names = sorted(rows.column_names)
    return Counter(zip(*(rows[name].to_pylist() for name in names), strict=True))


if __name__ == "__main__":
    sys.exit(main())
