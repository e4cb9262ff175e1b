"""Reading a server's binlog files in tests, without a connection: everything a table was given, as one run of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.capture.mysql import events, rows
from headwater.capture.mysql.events import EventType
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.table_map import TableMap, read_table_map
from headwater.capture.mysql.types import Column, describe, select_expression
from headwater.testing.mariadb import MariaDbServer


@dataclass
class Logged:
    """The events of a log, and the row events of each table map in order."""

    events: events.Events
    maps: list[TableMap] = field(default_factory=list)
    at: dict[int, list[int]] = field(default_factory=dict)

    def rows(self, number: int) -> rows.Rows:
        """Row events of the table map `number` of `maps`."""
        at = np.array(self.at.get(number, []), np.int64)
        found = self.events
        return rows.Rows(self.maps[number], found.buffer, found.types[at], found.begins[at], found.ends[at])

    def of(self, table: str) -> rows.Rows:
        """Row events of a table that had one definition."""
        (number,) = [i for i, known in enumerate(self.maps) if known.table == table]
        return self.rows(number)


def read_log(data: bytes, *, checksum: bool = False) -> Logged:
    """Reads the bytes of a binlog file."""
    buffer = np.frombuffer(data, np.uint8)
    begins, ends = events.split(buffer, len(events.MAGIC))
    return gather(events.scan(buffer, begins, ends, checksum=checksum))


def gather(found: events.Events) -> Logged:
    """Sorts row events by the table map that is in force."""
    logged = Logged(found)
    known: dict[bytes, int] = {}
    open_maps: dict[int, int] = {}
    for at, kind in enumerate(found.types.tolist()):
        if kind == EventType.TABLE_MAP:
            body = found.body(at)
            if body not in known:
                known[body] = len(logged.maps)
                logged.maps.append(read_table_map(body))
            open_maps[int(found.tables[at])] = known[body]
        elif kind in events.ROWS:
            logged.at.setdefault(open_maps[int(found.tables[at])], []).append(at)
    return logged


def newest_log(server: MariaDbServer) -> bytes:
    """The bytes of the file that the server writes to."""
    names = (server.data / "binlog.index").read_text().split()
    return (server.data / Path(names[-1]).name).read_bytes()


def columns_of(connection: Any, database: str, table: str, as_text: Sequence[str] = ()) -> tuple[Column, ...]:
    """The table's columns as the server describes them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE, COLUMN_DEFAULT "
            "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (database, table),
        )
        return tuple(
            describe(
                name,
                kind,
                charset,
                nullable == "YES",
                name in as_text,
                default=None if default in (None, "NULL") else default.strip("'").replace("''", "'"),
                default_known=True,
            )
            for name, kind, charset, nullable, default in cursor.fetchall()
        )


def layout_of(connection: Any, database: str, table: str, key: Sequence[str], as_text: Sequence[str] = ()) -> Layout:
    """The table's layout as of now."""
    columns = columns_of(connection, database, table, as_text)
    described = Table(database, table, columns, tuple(key))
    return Layout(described, tuple(range(len(columns))), len(columns))


def places(count: int) -> rows.Places:
    """Places of `count` events or rows: each a commit of its own."""
    return rows.Places(np.arange(1, count + 1, dtype=np.uint64), np.zeros(count, np.int64), None)


def decoded(layout: Layout, logged: rows.Rows) -> rows.Decoded:
    """What the stream makes of row events."""
    return rows.decode_events(layout, logged, places(logged.types.size))


def selected(connection: Any, layout: Layout) -> rows.Decoded:
    """What the snapshot makes of the table now, ordered by its first column."""
    table = layout.table
    wanted = ", ".join(map(select_expression, table.columns))
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        cursor.execute("SET NAMES utf8mb4")
    packets = _raw_rows(connection, f"SELECT {wanted} FROM `{table.database}`.`{table.name}` ORDER BY 1")
    ends = np.cumsum(np.array([len(packet) for packet in packets], np.int64))
    begins = ends - np.array([len(packet) for packet in packets], np.int64)
    buffer = np.frombuffer(b"".join(packets), np.uint8)
    return rows.decode_text(layout, buffer, begins, ends, places(len(packets)))


def _raw_rows(connection: Any, sql: str) -> list[bytes]:
    """The row packets of a SELECT in the text protocol."""
    connection._execute_command(3, sql)
    count = connection._read_packet().read_length_encoded_integer()
    for _ in range(count + 1):
        connection._read_packet()
    packets = []
    while True:
        packet = connection._read_packet()
        if packet.is_eof_packet():
            return packets
        packets.append(packet.get_all_data())


def column(found: rows.Decoded, name: str) -> pa.Array:
    """A column of what was decoded."""
    assert found.batch is not None
    return found.batch.rows.column(name)
