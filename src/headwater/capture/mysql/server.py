"""What kind of server it is, how it writes its binary log, and how far that goes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pymysql

from headwater.capture.mysql.connection import Connection, ask, execute, failed, variables
from headwater.capture.mysql.place import Place
from headwater.errors import SourceStopped

_VARIABLES = (
    "version",
    "server_id",
    "server_uuid",
    "server_uid",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_value_options",
    "binlog_row_metadata",
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "gtid_mode",
    "gtid_strict_mode",
    "log_slave_updates",
    "log_replica_updates",
    "lower_case_table_names",
)
_NEW_STATUS = (8, 2)
"""From this version of MySQL on, SHOW MASTER STATUS is called SHOW BINARY LOG STATUS."""


@dataclass(frozen=True)
class Server:
    """A server as it is set up.

    Attributes:
        flavor: mysql or mariadb.
        version: its version's first two numbers.
        settings: global variables by name, as text.
    """

    flavor: str
    version: tuple[int, int]
    settings: dict[str, str]

    def setting(self, name: str, otherwise: str = "") -> str:
        """A variable's value in capitals."""
        return self.settings.get(name, otherwise).upper()

    @property
    def identity(self) -> str:
        """Tells this server from others; empty if it does not say."""
        return self.settings.get("server_uuid") or self.settings.get("server_uid", "")

    @property
    def has_gtid(self) -> bool:
        """Whether all its transactions have a GTID."""
        return self.flavor == "mariadb" or self.setting("gtid_mode") == "ON"

    @property
    def folded(self) -> bool:
        """Whether names of tables are the same in capitals."""
        return self.settings.get("lower_case_table_names", "0") != "0"


def read_server(connection: Connection) -> Server:
    """Asks the server about itself."""
    settings = variables(connection, *_VARIABLES)
    version = settings.get("version", "")
    found = re.match(r"(\d+)\.(\d+)", version)
    numbers = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    return Server("mariadb" if "mariadb" in version.lower() else "mysql", numbers, settings)


def read_head(connection: Connection, server: Server, era: int = 0) -> Place:
    """Where the binary log ends now.

    Raises:
        SourceStopped: it is not written, or we may not ask.
    """
    words = "BINARY LOG" if server.flavor == "mysql" and server.version >= _NEW_STATUS else "MASTER"
    try:
        row = ask(connection, f"SHOW {words} STATUS")
    except pymysql.MySQLError as error:
        failed(error, "asking how far the binary log goes")
    if row is None:
        raise no_binary_log(server)
    file, position = str(row["File"]), int(row["Position"])
    gtid = str(row.get("Executed_Gtid_Set", "") or "").replace("\n", "")
    if server.flavor == "mariadb":
        gtid = mariadb_gtid(connection, file, position)
    return Place(file, position, gtid, era)


def mariadb_gtid(connection: Connection, file: str, position: int) -> str:
    """The GTIDs before a place of MariaDB's binary log."""
    found = execute(connection, "SELECT BINLOG_GTID_POS(%s, %s)", (file, position))[0][0]
    return str(found or "")


def binary_logs(connection: Connection) -> dict[str, int]:
    """The files of the binary log that are there, oldest first, and their sizes in bytes."""
    return {str(row[0]): int(row[1]) for row in execute(connection, "SHOW BINARY LOGS")}


def no_binary_log(server: Server) -> SourceStopped:
    """The server writes no binary log."""
    return SourceStopped(
        "the server writes no binary log (log_bin is OFF): its changes cannot be read",
        hint="put into the server's configuration and restart it: [mysqld] log_bin = binlog, server_id = 1, "
        "binlog_format = ROW",
    )
