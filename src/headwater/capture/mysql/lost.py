"""Whether reading can go on where the log ends, and why not: by what the server has before, and by what it says when
it ends the stream."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.capture.mysql.connection import Connection, execute, server_error
from headwater.capture.mysql.gtid import MariaDbGtids
from headwater.capture.mysql.place import FIRST_POSITION, Place
from headwater.capture.mysql.resume import Standing
from headwater.capture.mysql.server import Server, binary_logs, mariadb_gtid
from headwater.errors import HeadwaterError, PositionLost, SourceStopped, SourceUnavailable

PURGED = "log_purged"
SERVER_BEHIND = "server_behind"
OTHER_SERVER = "other_server"
UNREADABLE = "log_unreadable"

CANNOT_READ_LOG = 1236
KILLED = 1927
_KEEP = "against a next time keep binary logs longer: SET GLOBAL binlog_expire_logs_seconds = 604800"

_SAID = (
    (
        r"Could not find first log file name|could not find next log|purged required|purged GTIDs|has purged|"
        r"Could not find GTID state requested by slave",
        PURGED,
        "the server has purged binary logs that were not read yet",
    ),
    (
        r"is not in the master's binlog|not in the master|diverg|from the future|has more GTIDs than|"
        r"more transactions than|impossible position|start replication from .* past|position > file size|"
        r"bogus data in log event",
        SERVER_BEHIND,
        "the server does not have what we have read: it was reset (RESET MASTER), restored from a backup, or lost "
        "transactions in a failover",
    ),
)
"""What servers say with error 1236 when a position is lost: a pattern, the cause, and what it means."""

_CLASH = re.compile(r"same server_(uu)?id|A (slave|replica) with the same", re.IGNORECASE)


@dataclass(frozen=True)
class LogEnd:
    """Where our log ends.

    Attributes:
        source: the source's name.
        standing: what the resume point says was so.
        place: everything before it is in the log, and nothing after.
    """

    source: str
    standing: Standing
    place: Place

    def lost(self, cause: str, message: str, until: str = "", advice: str = "") -> PositionLost:
        """The error that says so; `until` is where the server could go on."""
        since = f"{self.place}" + (f" ({self.place.gtid})" if self.place.gtid else "")
        return PositionLost(
            f"{message}; the log ends at {since}",
            source=self.source,
            cause=cause,
            since=str(self.place),
            until=until,
            advice=advice,
        )

    def judge(self, connection: Connection, server: Server, *, by_gtid: bool) -> None:
        """Looks whether the server has what follows the log's end, and did not lose what comes before it.

        Raises:
            PositionLost: it does not, or did.
        """
        other = bool(self.standing.server) and server.identity != self.standing.server
        if server.flavor != self.standing.flavor or (other and not by_gtid):
            raise self.lost(
                OTHER_SERVER,
                "this is another server than the one that was read, and a file and an offset mean nothing on it",
                advice="if the url is wrong, put the former one back; position: gtid follows a failover by itself",
            )
        if by_gtid and server.flavor == "mariadb":
            self._judge_mariadb(connection)
        elif by_gtid:
            self._judge_mysql(connection)
        else:
            self._judge_files(connection)

    def _judge_files(self, connection: Connection) -> None:
        files = binary_logs(connection)
        size = files.get(self.place.file)
        if size is None:
            newest = max(files, default="")
            if newest < self.place.file:
                raise self.lost(SERVER_BEHIND, _SAID[1][2], until=f"{newest}:4")
            raise self.lost(PURGED, _SAID[0][2], until=f"{min(files, default='')}:4", advice=_KEEP)
        if size < self.place.position:
            raise self.lost(SERVER_BEHIND, _SAID[1][2], until=f"{self.place.file}:{size}")

    def _judge_mariadb(self, connection: Connection) -> None:
        """Every domain of ours must have come as far on the server, and its oldest file must begin no later."""
        ours = MariaDbGtids(self.place.gtid).last
        theirs = MariaDbGtids(str(execute(connection, "SELECT @@gtid_binlog_pos")[0][0] or "")).last
        current = MariaDbGtids(str(execute(connection, "SELECT @@gtid_current_pos")[0][0] or "")).last
        for domain, (_, number) in ours.items():
            reached = max(theirs.get(domain, (0, 0))[1], current.get(domain, (0, 0))[1])
            if reached < number:
                raise self.lost(SERVER_BEHIND, _SAID[1][2])
        oldest = min(binary_logs(connection), default="")
        for domain, (_, number) in MariaDbGtids(mariadb_gtid(connection, oldest, FIRST_POSITION)).last.items():
            if ours.get(domain, (0, 0))[1] < number:
                raise self.lost(PURGED, _SAID[0][2], until=f"{oldest}:{FIRST_POSITION}", advice=_KEEP)

    def _judge_mysql(self, connection: Connection) -> None:
        missing, purged = execute(
            connection,
            "SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed), GTID_SUBTRACT(@@GLOBAL.gtid_purged, %s)",
            (self.place.gtid, self.place.gtid),
        )[0]
        if missing:
            raise self.lost(SERVER_BEHIND, f"{_SAID[1][2]} ({missing})")
        if purged:
            raise self.lost(PURGED, f"{_SAID[0][2]} ({purged})", advice=_KEEP)

    def ended(self, code: int, text: str, server_id: int) -> HeadwaterError:
        """The error for a stream that the server ended with one of its own."""
        if _CLASH.search(text):
            return clash(server_id, text)
        if code == CANNOT_READ_LOG:
            for pattern, cause, reason in _SAID:
                if re.search(pattern, text, re.IGNORECASE):
                    return self.lost(cause, f"{reason} ({text})", advice=_KEEP if cause == PURGED else "")
            return self.lost(UNREADABLE, f"the server cannot read its binary log: {text}")
        if code == KILLED:
            return SourceUnavailable(f"the server ended the stream of changes: {text}", hint="trying again")
        return server_error(code, text, "reading the binary log")


def clash(server_id: int, text: str) -> SourceStopped:
    """Two replicas have one id: the server serves the one that came last."""
    return SourceStopped(
        f"another replica reads with our server_id {server_id}: {text}",
        hint="give this source one of its own: server_id: N, which no replica of the server has",
    )
