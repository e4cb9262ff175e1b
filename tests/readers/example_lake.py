"""Tables of every shape that Headwater writes, and the rows that each must have."""

from __future__ import annotations

import datetime as dt
import decimal
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.layout import Layout, partition_by, sort_by
from headwater.lake.maintenance import Policy
from headwater.lake.table_format import TableSpec

Row = tuple[object, ...]

COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("price", pa.decimal128(18, 4)),
        ("at", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("part", pa.float64()),
        ("raw", pa.binary()),
        ("yes", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("x", pa.int32()), ("y", pa.int32())])),
    ]
)
_BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Followed:
    """A table, and what its rows should be.

    Args:
        lake: where.
        name: of the table.
        key: its key.
        layout: of its files.
    """

    def __init__(
        self, lake: IcebergLake, name: str, key: tuple[str, ...] = ("id",), layout: Layout | None = None
    ) -> None:
        self.table: IcebergTable = lake.table(TableSpec(name, COLUMNS, key, layout=layout or Layout()))
        self.rows: Counter[Row] = Counter()
        self.epoch = 0
        self._chance = random.Random(name)

    def commit(self, removed: list[Row], added: list[Row], *, parts: int = 1) -> None:
        """Commits one epoch, in so many parts."""
        self.epoch += 1
        rows = [*((row, -1) for row in removed), *((row, 1) for row in added)]
        for number in range(parts):
            some = [(row, weight) for row, weight in rows if parts == 1 or int(str(row[0])) % parts == number]
            values = {name: [row[at] for row, _ in some] for at, name in enumerate(COLUMNS.names)}
            weights = pa.array([weight for _, weight in some], pa.int64())
            delta = pa.table(values, COLUMNS).append_column(WEIGHT, weights)
            if number < parts - 1:
                self.table.stage(self.epoch, delta)
            else:
                self.table.commit(self.epoch, delta, {})
        self.rows.subtract(Counter(map(_hashable, removed)))
        self.rows.update(Counter(map(_hashable, added)))
        self.rows = +self.rows

    def work(self, epochs: int, changes: int, *, parts: int = 1) -> None:
        """Inserts, updates and deletes at random, `epochs` times."""
        for _ in range(epochs):
            known = {row[0]: row for row in self.rows}
            gone = self._chance.sample(sorted(known), min(len(known), changes // 2))
            new = [max(known, default=0) + 1 + n for n in range(changes - len(gone))]
            changed = [number for number in gone if number % 3]
            rows = [made(number, self.epoch + 1) for number in (*changed, *new)]
            self.commit([_plain(known[number]) for number in gone], rows, parts=parts)


def make(folder: Path, epochs: int = 6) -> Mapping[str, Followed]:
    """Writes the tables.

    Args:
        folder: of the lake.
        epochs: of each table, about.

    Returns:
        Tables by name; each knows its rows.
    """
    lake = IcebergLake(folder, namespace="shop")
    parts = Layout((partition_by("bucket(3, id)"), partition_by("day(at)")), (sort_by("name desc"),), ("name",))
    made_tables = {
        "keyed": Followed(lake, "keyed"),
        "lines": Followed(lake, "lines", key=()),
        "parted": Followed(lake, "parted", layout=parts),
        "staged": Followed(lake, "staged"),
        "maintained": Followed(lake, "maintained"),
        "relaid": Followed(lake, "relaid"),
    }
    for name in ("keyed", "parted", "relaid"):
        made_tables[name].work(epochs, 40)
    made_tables["relaid"].table.relayout(parts)
    made_tables["relaid"].work(epochs, 40)
    made_tables["staged"].work(epochs, 60, parts=3)
    lines = [made(number, 0) for number in range(20)]
    made_tables["lines"].commit([], [*lines, *lines, *lines[:5]])
    made_tables["lines"].commit([*lines[:3], *lines[:3], *lines[10:12]], lines[4:6])
    for _ in range(3):
        made_tables["maintained"].work(2 * epochs, 30)
        maintain(made_tables["maintained"].table)
    lake.close()
    return made_tables


def metadata_of(folder: Path, name: str) -> str:
    """The location of a table's metadata, as the catalog's file has it."""
    with sqlite3.connect(folder / "catalog.db") as catalog:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?"
        (location,) = catalog.execute(query, (name,)).fetchone()
    return str(location)


def maintain(table: IcebergTable) -> None:
    """Does all that is due under a strict policy."""
    policy = Policy(fanout=2, most_deleted=0.01)
    service = table.maintenance()
    for task in service.plan(policy):
        service.carry_out(task, policy)


def made(number: int, version: int) -> Row:
    """A row."""
    at = _BEGIN + dt.timedelta(hours=7 * number, microseconds=version)
    return (
        number,
        None if number % 11 == 0 else f"näme {number % 7} {version}",
        decimal.Decimal(number * 100 + version).scaleb(-4),
        at,
        at.replace(tzinfo=None),
        at.date(),
        float("nan") if number % 13 == 5 else number / 7,
        bytes([number % 256, 0, version % 256]),
        number % 2 == 0,
        None if number % 5 == 0 else [f"t{number % 3}", None],
        None if number % 7 == 0 else {"x": number, "y": None},
    )


def _hashable(row: Row) -> Row:
    return tuple(_key(value) for value in row)


def _key(value: object) -> object:
    if isinstance(value, list):
        return ("list", *value)
    if isinstance(value, dict):
        return ("struct", *value.items())
    return "NaN" if isinstance(value, float) and value != value else value


def _plain(row: Row) -> Row:
    def plain(value: object) -> object:
        if isinstance(value, tuple):
            return list(value[1:]) if value[0] == "list" else dict(value[1:])
        return float("nan") if value == "NaN" else value

    return tuple(plain(value) for value in row)


def counted(rows: pa.Table) -> Counter[Row]:
    """Rows that a reader gave, as `Followed.rows` has them."""
    ordered = rows.select(COLUMNS.names)
    return Counter(_hashable(tuple(row.values())) for row in ordered.to_pylist())
