"""The golden binlog: one MariaDB file with every type at its edges, and what it is decoded to.

`PYTHONPATH=src python -m tests.capture.golden_mysql` records both anew, from a server of the day. The test decodes the
file that is kept: a decision about a type that changes shows as a difference in `golden/mysql.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
LOG, DECODED = FOLDER / "mysql.binlog", FOLDER / "mysql.json"
LONGEST = 300

sys.path[:0] = [] if "binlog_reading" in sys.modules else [str(Path(__file__).parent)]

import binlog_reading as log  # noqa: E402
from mysql_values import KINDS  # noqa: E402

from headwater.capture.mysql.table import Layout, Table  # noqa: E402
from headwater.capture.mysql.types import describe  # noqa: E402


def layout_of(name: str, entry: dict) -> Layout:
    """The layout that an entry describes."""
    key = describe("id", "int(11)", None, False)
    value = describe("v", entry["type"], entry["charset"], default_known=True)
    return Layout(Table("golden", name, (key, value), ("id",)), (0, 1), 2)


def decode(data: bytes, described: dict) -> dict:
    """For every table its type and values as Arrow has them, and which rows were rejected."""
    logged, made = log.read_log(data), {}
    for name, entry in described.items():
        found = log.decoded(layout_of(name, entry), logged.of(name))
        values = log.column(found, "v")
        made[name] = {
            "type": entry["type"],
            "charset": entry["charset"],
            "arrow": str(values.type),
            "values": [None if value is None else shown(value) for value in values.to_pylist()],
            "rejected": [reject["key"] for reject in found.rejects],
        }
    return made


def shown(value: object) -> str:
    """A value as text that tells it from its neighbours."""
    return value.hex() if isinstance(value, bytes | float) else str(value)


def record() -> None:
    """Writes the two files."""
    from test_mysql_types import fill, run

    from headwater.testing.mariadb import MariaDbServer

    with MariaDbServer() as server, server.connect() as connection:
        run(connection, "SET sql_mode = '', time_zone = '+00:00'", "SET NAMES utf8mb4", "CREATE DATABASE golden")
        connection.select_db("golden")
        run(connection, "FLUSH BINARY LOGS")
        described = {}
        for number, kind in enumerate(KINDS):
            if any("repeat" in edge for edge in kind.edges) or len(kind.sql) > LONGEST:
                continue
            name = fill(connection, number, kind)
            _, column = log.columns_of(connection, "golden", name)
            described[name] = {"type": column.source_type, "charset": column.charset}
        data = log.newest_log(server)
    FOLDER.mkdir(exist_ok=True)
    LOG.write_bytes(data)
    DECODED.write_text(json.dumps(decode(data, described), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    record()
