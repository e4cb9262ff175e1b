"""The streaming connection: what the server sends, what is confirmed to it, and heartbeats while there is nothing.

Source: "Streaming Replication Protocol" in PostgreSQL's manual. libpq does the talking (psycopg's `pq`); nothing here
waits longer than it is asked to.
"""

from __future__ import annotations

import selectors

import psycopg
from psycopg import pq

from headwater.capture.postgres import pgoutput
from headwater.capture.postgres.connection import Connection, failed, result_failed
from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.postgres.preconditions import quoted
from headwater.capture.postgres.transactions import Assembler
from headwater.change import Group
from headwater.clock import Clock
from headwater.errors import SourceStopped, SourceUnavailable

LINGER_S = 0.002
LINGER_MAX_S = 0.02
"""How long a group that is not full waits for the next bytes, and for all that follow them in a steady stream."""

STATUS_INTERVAL_S = 10.0
"""At the latest after this the server hears from us, well within its wal_sender_timeout of a minute."""

_DOING = "reading changes"


class Stream:
    """Changes from a slot.

    Args:
        replication: a replication connection, which the stream takes over.
        assembler: turns messages into groups, from where the log ends on.
        slot, publication: what to read.
        head: how far the server's log goes now.
        heartbeat_s: seconds between two heartbeats.
        clock: time.

    Raises:
        SourceStopped: the server refuses, for instance because the slot is gone.
        SourceUnavailable: the slot is in use, or the connection broke.
    """

    def __init__(
        self,
        replication: Connection,
        assembler: Assembler,
        slot: str,
        publication: str,
        head: int,
        heartbeat_s: float,
        clock: Clock,
    ) -> None:
        self._connection = replication
        self._wire = replication.pgconn
        self._assembler = assembler
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._flushed = self._taken = assembler.lsn
        self._head = max(head, assembler.lsn)
        self._quiet = 0
        self._asked = False
        self._waiting_since: float | None = None
        self._stopped: SourceStopped | None = None
        self._status_at = self._heartbeat_at = clock.monotonic_s()
        self._start(slot, publication)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wire.socket, selectors.EVENT_READ)

    def _start(self, slot: str, publication: str) -> None:
        names = quoted(publication).replace("'", "''")
        command = (
            f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(self._flushed)} "
            f"(proto_version '1', publication_names '{names}')"
        )
        try:
            result = self._wire.exec_(command.encode())
        except psycopg.Error as error:
            failed(error, f"starting to read slot {slot!r}")
        if result.status != pq.ExecStatus.COPY_BOTH:
            result_failed(result, f"starting to read slot {slot!r}")

    def poll(self, timeout_s: float) -> Group | None:
        """The next group; None if nothing is whole within `timeout_s` seconds. See `Reader.poll`.

        Raises:
            SourceUnavailable: the connection broke.
            SourceStopped: the server ended the stream for good, or a table changed in a way that stops it.
        """
        deadline = self._clock.monotonic_s() + timeout_s
        try:
            while True:
                self._wire.consume_input()
                self._receive()
                group = self._last_group() if self._stopped else self._next()
                left = deadline - self._clock.monotonic_s()
                if group is not None or left <= 0:
                    return group
                self._keep_alive()
                self._readable(min(left, self._heartbeat_s, STATUS_INTERVAL_S))
        except psycopg.Error as error:
            failed(error, _DOING)

    def _receive(self) -> None:
        """Takes in what libpq has read from the socket, up to a full group."""
        assembler, get = self._assembler, self._wire.get_copy_data
        while not (assembler.full or self._stopped):
            length, message = get(1)
            if length > 0:
                self._take_in(message)
            elif length == 0:
                return
            else:
                self._ended()

    def _take_in(self, message: pgoutput.Message) -> None:
        """Feeds one message. What stops us is kept until the transactions before it are handed over."""
        if message[0] != pgoutput.XLOG_DATA:
            return self._hear(message)
        try:
            self._assembler.feed(message)
        except SourceStopped as error:
            self._stopped = error

    def _last_group(self) -> Group:
        """The transactions before what stopped us; raises that when there are none.

        Raises:
            SourceStopped: the reason.
        """
        group = self._assembler.take()
        if group is None:
            raise self._stopped or SourceUnavailable("the stream was stopped")
        self._taken = self._assembler.lsn
        return group

    def _hear(self, keepalive: pgoutput.Message) -> None:
        """A keepalive tells how far the server has read its log for us.

        It is sent on the same connection, after everything that the server decoded before that point: a transaction is
        sent when its commit record is read, so outside of a transaction no commit of ours lies before `wal_end` that
        has not been received. One that is still running commits later, at a higher LSN, and the slot's restart_lsn
        keeps its changes.
        """
        wal_end, reply = pgoutput.read_keepalive(keepalive)
        self._head = max(self._head, wal_end)
        if not self._assembler.inside:
            self._quiet = wal_end
        if reply:
            # A server that is shutting down asks until everything is confirmed, so a heartbeat must not wait then.
            self._asked = True
            self._send_status()

    def _next(self) -> Group | None:
        """A group if there is one to hand over now."""
        assembler = self._assembler
        if self._ripe():
            group = assembler.take()
            self._waiting_since = None
        elif self._heartbeat_due():
            group = assembler.heartbeat(self._quiet)
            self._asked, self._heartbeat_at = False, self._clock.monotonic_s()
        else:
            return None
        self._taken = assembler.lsn
        self._head = max(self._head, self._taken)
        return group

    def _ripe(self) -> bool:
        """Whether whole transactions wait, and waiting longer would not pack many more into the group."""
        if not self._assembler.complete:
            return False
        now = self._clock.monotonic_s()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        waited = now - self._waiting_since >= LINGER_MAX_S
        return self._assembler.full or waited or not self._readable(LINGER_S)

    def _heartbeat_due(self) -> bool:
        assembler = self._assembler
        if assembler.complete or assembler.inside or max(self._quiet, assembler.lsn) <= self._taken:
            return False
        return self._asked or self._clock.monotonic_s() - self._heartbeat_at >= self._heartbeat_s

    def _keep_alive(self) -> None:
        """Tells the server now and then that we live, and asks how far it is."""
        if self._clock.monotonic_s() - self._status_at >= min(self._heartbeat_s, STATUS_INTERVAL_S):
            self._send_status(ask=True)

    def _send_status(self, *, ask: bool = False) -> None:
        """`flush` is what was confirmed to us and nothing else; `write` may be ahead of it."""
        self._status_at = self._clock.monotonic_s()
        written = max(self._flushed, self._assembler.lsn)
        self._wire.put_copy_data(pgoutput.status_update(written, self._flushed, self._clock.now_us(), reply=ask))
        self._wire.flush()

    def confirm(self, lsn: int) -> None:
        """Lets the server forget what lies before `lsn`.

        Raises:
            SourceUnavailable: the connection broke.
        """
        self._flushed = max(self._flushed, lsn)
        try:
            self._send_status()
        except psycopg.Error as error:
            failed(error, "confirming")

    def lag_bytes(self) -> int:
        """Bytes of log between what was handed over, or said to hold nothing of ours, and the farthest that the server
        spoke of; from the first moment on, for it may take the server long to send the first byte."""
        waiting = self._assembler.complete or self._assembler.inside
        return max(0, self._head - (self._taken if waiting else max(self._taken, self._quiet, self._assembler.lsn)))

    def close(self) -> None:
        """Gives up the connection."""
        self._selector.close()
        self._connection.close()

    def _readable(self, timeout_s: float) -> bool:
        return bool(self._selector.select(max(0.0, timeout_s)))

    def _ended(self) -> None:
        """The server ended the stream.

        Raises:
            SourceStopped: for good.
            SourceUnavailable: for now.
        """
        result = self._wire.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            result_failed(result, _DOING)
        raise SourceUnavailable("the server ended the stream of changes", hint="trying again")
