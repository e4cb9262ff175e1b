"""The replication connection: what the server sends from its binary log, and whether it still lives.

Sources: "Replication Protocol" in MySQL's manual of the protocol (COM_REGISTER_SLAVE, COM_BINLOG_DUMP,
COM_BINLOG_DUMP_GTID), "Replication Protocol" in MariaDB's knowledge base (@slave_connect_state).
"""

from __future__ import annotations

import struct

import pymysql

from headwater.capture.mysql.connection import Connection, execute, failed, hang_up
from headwater.capture.mysql.definition import TableDefinition
from headwater.capture.mysql.gtid import MysqlGtids
from headwater.capture.mysql.lost import LogEnd
from headwater.capture.mysql.packets import Frames, Packets, read_error
from headwater.capture.mysql.place import FIRST_POSITION, Place
from headwater.capture.mysql.table import Table
from headwater.capture.mysql.transactions import Assembler
from headwater.change import Group
from headwater.clock import Clock
from headwater.errors import SourceStopped, SourceUnavailable
from headwater.position import Boundary, Position

COM_BINLOG_DUMP, COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID = 0x12, 0x15, 0x1E
THROUGH_GTID = 4
OFFSET_LIMIT = 1 << 32
"""COM_BINLOG_DUMP has 32 bits for the offset; beyond, a file is read from its beginning and what is in the log passed
over."""

MISSED_HEARTBEATS = 4
SILENCE_MIN_S = 20.0
"""After so many heartbeats that did not come, and this long at least, the connection is taken for dead."""

LINGER_S, LINGER_MAX_S = 0.002, 0.02
"""How long a group that is not full waits for the next bytes, and for all that follow them in a steady stream."""

TAKE_S = 0.05
"""So long is taken in what comes before we look what is to be handed over, however much more of it is there: a busy
server sends the next event before this one is looked at."""

_DOING = "reading the binary log"
_ERROR = 0xFF


class Stream:
    """Groups of changes from the binary log.

    Args:
        connection: a connection that the stream takes over.
        assembler: turns events into groups, from where the log ends on.
        source: the source's name.
        server_id: ours among the replicas.
        mark: told to the server as our host's name, by which we know ourselves in its list of replicas.
        by_gtid: whether the place is said by GTID or by file and offset.
        head: how far the server's log goes now.
        heartbeat_s: seconds between two signs of life.
        clock: time.

    Raises:
        SourceStopped: the server refuses.
        SourceUnavailable: the connection broke.
    """

    def __init__(
        self,
        connection: Connection,
        assembler: Assembler,
        *,
        source: str,
        server_id: int,
        mark: str,
        by_gtid: bool,
        head: Place,
        heartbeat_s: float,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._assembler = assembler
        self._source = source
        self._server_id = server_id
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._head = head
        self._handed, self._resume = assembler.place, assembler.heartbeat_boundary().resume
        self._waiting_since: float | None = None
        self._stopped: SourceStopped | None = None
        self._heard_at = self._heartbeat_at = clock.monotonic_s()
        try:
            self._prepare(mark)
            self._packets = Packets(connection, _DOING)
            self._start(by_gtid)
        except pymysql.MySQLError as error:
            failed(error, "starting to read the binary log")

    def _prepare(self, mark: str) -> None:
        """Session variables by which the server knows what we can take, and our entry in its list of replicas."""
        mariadb = self._assembler.standing.flavor == "mariadb"
        nanoseconds = int(self._heartbeat_s * 1e9)
        settings = [f"@master_heartbeat_period = {nanoseconds}", "@master_binlog_checksum = @@global.binlog_checksum"]
        if mariadb:
            settings.append("@mariadb_slave_capability = 4")
        else:
            settings += ["@source_binlog_checksum = @@global.binlog_checksum"]
            settings += [f"@source_heartbeat_period = {nanoseconds}", f"@replica_uuid = '{_uuid(mark)}'"]
            settings += [f"@slave_uuid = '{_uuid(mark)}'"]
        execute(self._connection, f"SET {', '.join(settings)}")
        self._assembler.checksum = execute(self._connection, "SELECT @master_binlog_checksum")[0][0] == "CRC32"

    def _start(self, by_gtid: bool) -> None:
        place = self._assembler.place
        if self._assembler.standing.flavor == "mariadb":
            if by_gtid:
                self._say(f"SET @slave_connect_state = '{place.gtid}', @slave_gtid_strict_mode = 1")
            self._packets.send(COM_BINLOG_DUMP, self._dump("" if by_gtid else place.file, place.position))
        elif by_gtid:
            self._packets.send(COM_BINLOG_DUMP_GTID, self._dump_gtid(place.gtid))
        else:
            self._packets.send(COM_BINLOG_DUMP, self._dump(place.file, place.position))

    def _say(self, statement: str) -> None:
        self._packets.release()
        execute(self._connection, statement)
        self._packets = Packets(self._connection, _DOING)

    def _dump(self, file: str, position: int) -> bytes:
        offset = position if file and position < OFFSET_LIMIT else FIRST_POSITION
        return struct.pack("<IHI", offset, 0, self._server_id) + file.encode()

    def _dump_gtid(self, gtid: str) -> bytes:
        data = MysqlGtids(gtid).encoded()
        return struct.pack("<HIIQI", THROUGH_GTID, self._server_id, 0, FIRST_POSITION, len(data)) + data

    def poll(self, timeout_s: float) -> Group | None:
        """The next group; None if nothing is whole within `timeout_s` seconds. See `Reader.poll`.

        Raises:
            SourceUnavailable: the connection broke, or the server fell silent.
            SourceStopped: the server ended the stream for good, or something came that cannot be followed.
        """
        deadline = self._clock.monotonic_s() + timeout_s
        while True:
            self._receive(0.0)
            group = self._last_group() if self._stopped else self._next()
            left = deadline - self._clock.monotonic_s()
            if group is not None or left <= 0:
                return group
            self._receive(min(left, self._heartbeat_s))

    def _receive(self, wait_s: float) -> None:
        """Takes in what has come, up to a full group, and no longer than `TAKE_S`."""
        until: float | None = None
        while not (self._assembler.full or self._stopped):
            frames = self._packets.read(wait_s)
            if frames is None:
                self._require_life()
                break
            self._heard_at = self._clock.monotonic_s()
            self._take_in(frames)
            wait_s, until = 0.0, self._heard_at + TAKE_S if until is None else until
            if self._clock.monotonic_s() >= until:
                break

    def _take_in(self, frames: Frames) -> None:
        """Feeds packets. What stops us is kept until the transactions before it are handed over."""
        heads = frames.buffer[frames.begins]
        bad = heads.nonzero()[0]
        good = frames.part(0, int(bad[0])) if bad.size else frames
        try:
            if len(good):
                self._assembler.feed(good)
            if bad.size:
                self._ended(frames.payload(int(bad[0])))
        except SourceStopped as error:
            self._stopped = error

    def _ended(self, payload: bytes) -> None:
        """The server ended the stream.

        Raises:
            SourceStopped: for good.
            SourceUnavailable: for now.
        """
        if payload[0] == _ERROR:
            end = LogEnd(self._source, self._assembler.standing, self._assembler.place)
            raise end.ended(*read_error(payload), self._server_id)
        raise SourceUnavailable("the server ended the stream of changes", hint="trying again")

    def _require_life(self) -> None:
        silence = self._clock.monotonic_s() - self._heard_at
        if silence > max(SILENCE_MIN_S, MISSED_HEARTBEATS * self._heartbeat_s):
            raise SourceUnavailable(
                f"nothing came from the server for {silence:.0f} s, not even a heartbeat", hint="trying again"
            )

    def _last_group(self) -> Group:
        """The transactions before what stopped us; raises that when there are none.

        Raises:
            SourceStopped: the reason.
        """
        group = self._assembler.take() if self._assembler.complete else None
        if group is None:
            raise self._stopped or SourceUnavailable("the stream was stopped")
        return self._hand_over(group)

    def _next(self) -> Group | None:
        """A group if there is one to hand over now."""
        assembler = self._assembler
        if self._ripe():
            group = assembler.take()
            self._waiting_since = None
        elif self._heartbeat_due():
            group = Group(assembler.heartbeat_boundary())
            self._heartbeat_at = self._clock.monotonic_s()
        else:
            return None
        return self._hand_over(group) if group is not None else None

    def _hand_over(self, group: Group) -> Group:
        """Notes how far the reader is with this group: what only the assembler has may not be said to be in the log."""
        if not group.more:
            self._handed, self._resume = self._assembler.place, group.boundary.resume
        return group

    def _ripe(self) -> bool:
        """Whether something waits, and waiting longer would not pack much more into the group."""
        if self._assembler.full:
            return True
        if not self._assembler.complete:
            return False
        now = self._clock.monotonic_s()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        if now - self._waiting_since >= LINGER_MAX_S:
            return True
        before = self._heard_at
        self._receive(LINGER_S)
        return self._assembler.full or self._heard_at == before or bool(self._stopped)

    def _heartbeat_due(self) -> bool:
        """Whether the log has gone on (to another file) without a transaction for us."""
        assembler = self._assembler
        if assembler.complete or assembler.inside or assembler.place.number <= self._handed.number:
            return False
        return self._clock.monotonic_s() - self._heartbeat_at >= self._heartbeat_s

    @property
    def place(self) -> Place:
        """The end of the last transaction handed over."""
        return self._handed

    @property
    def reached(self) -> int:
        """A commit number before which every transaction was handed over."""
        assembler = self._assembler
        if assembler.complete or assembler.inside:
            return self._handed.number
        return max(self._handed.number, assembler.reached.number)

    @property
    def caught_up(self) -> bool:
        """Whether all that is known of the server's log was handed over."""
        return self.lag_bytes() == 0

    @property
    def parted(self) -> bool:
        """Whether a transaction is being handed over in parts, between which nothing may come."""
        return self._assembler.parted

    def boundary(self, ordinal: int) -> Boundary:
        """Where the stream is, after something that was added at `ordinal`."""
        return Boundary(Position(self._handed.number - 1, ordinal), self._resume)

    def take_unread(self) -> list[tuple[str, int, int]]:
        """Tables, database.table, that must be read from here on, each told once; why (see `history.Effect`), and since
        which commit."""
        found, self._assembler.unread = self._assembler.unread, []
        return found

    def tables(self) -> list[Table]:
        """The captured tables, as they are where the stream is."""
        return self._assembler.history.captured()

    def table(self, qualified: str) -> tuple[TableDefinition, Table] | None:
        """One of them with its definition; None if there is none of that name, database.table."""
        return self._assembler.history.captured_as(qualified)

    def lag_bytes(self) -> int:
        """Bytes of log between what was handed over and the farthest that is known of the server's log."""
        assembler = self._assembler
        waiting = assembler.complete or assembler.inside
        here = self._handed if waiting else max(self._handed, assembler.reached, key=lambda place: place.number)
        return behind(here, max(self._head, assembler.reached, key=lambda place: place.number))

    def close(self) -> None:
        """Gives up the connection."""
        self._packets.close()
        hang_up(self._connection)


def behind(here: Place, head: Place) -> int:
    """About how many bytes of log lie between two places; files between them count for their beginnings only."""
    if head.number <= here.number:
        return 0
    return head.position - here.position if head.file == here.file else max(1, head.position)


def _uuid(mark: str) -> str:
    """A UUID that stands for `mark`."""
    from uuid import NAMESPACE_URL, uuid5

    return str(uuid5(NAMESPACE_URL, f"headwater:{mark}"))
