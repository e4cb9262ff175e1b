"""The key index of an Iceberg table, as its file holds it, against the table's files."""

from __future__ import annotations

import numpy as np
from pyiceberg.table import Table

from headwater.index.kernels import Longs
from headwater.lake.consolidate import sample
from headwater.lake.iceberg.places import TableIndex
from headwater.lake.iceberg.scan import LiveFile, entries_of, live_files, read_all, read_file
from headwater.lake.index_check import SHOWN, IndexCheck, Places, difference


def check(index: TableIndex, table: Table, origin: str) -> IndexCheck:
    """Compares an index that stands at the table's current snapshot with the rows that the files hold.

    Args:
        index: is only read.
        table: what the catalog knows.
        origin: where the index came from, for people.

    Raises:
        OSError: a file of the table cannot be read.
    """
    files = live_files(table.io, entries_of(table.io, table.current_snapshot()))
    paths = [home.path for home in index.homes]
    numbers = {path: number for number, path in enumerate(paths)}
    for file in files:
        if numbers.setdefault(file.path, len(paths)) == len(paths):
            paths.append(file.path)
    there = _places_of(index, table, files, numbers)
    found = difference(there, Places(*index.rows.all_places()))
    told = _Told(index, table, {file.path: file for file in files}, paths)
    lines = [
        *(f"{told.key(found.missing, n)} in {told.place(found.missing, n)} is missing" for n in _few(found.missing)),
        *(f"{told.place(found.superfluous, n)} is of no such row" for n in _few(found.superfluous)),
        *(
            f"{told.key(found.wrong, n)} in {told.place(found.wrong, n)} is sought in {told.place(found.found, n)}"
            for n in _few(found.wrong)
        ),
    ]
    counts = (len(found.missing), len(found.superfluous), len(found.wrong))
    return IndexCheck(index.table, origin, len(there), *counts, tuple(lines))


def _places_of(index: TableIndex, table: Table, files: list[LiveFile], numbers: dict[str, int]) -> Places:
    """Where the table's rows lie, by the slots that the index gives their keys."""
    slots, places, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for piece in read_all(table.io, files, table.schema(), index.key):
        slots.append(index.rows.find(piece.rows))
        places.append(np.full(piece.rows.num_rows, numbers[piece.path], np.int64))
        rows.append(np.asarray(piece.positions, np.int64))
    return Places(np.concatenate(slots), np.concatenate(places), np.concatenate(rows))


def _few(places: Places) -> range:
    return range(min(len(places), SHOWN))


class _Told:
    """Names places and the keys that lie there."""

    def __init__(self, index: TableIndex, table: Table, files: dict[str, LiveFile], paths: list[str]) -> None:
        self._index, self._table, self._files, self._paths = index, table, files, paths

    def place(self, places: Places, at: int) -> str:
        number, row = int(places.files[at]), int(places.rows[at])
        name = self._paths[number] if number < len(self._paths) else f"file number {number}, which there is not"
        return f"row {row} of {name.rpartition('/')[2]}"

    def key(self, places: Places, at: int) -> str:
        file = self._files[self._paths[int(places.files[at])]]
        piece = read_file(self._table.io, file, self._table.schema(), self._index.key)
        positions: Longs = np.asarray(piece.positions, np.int64)
        number = int(np.searchsorted(positions, int(places.rows[at])))
        return sample(piece.rows.slice(number, 1), self._index.key)
