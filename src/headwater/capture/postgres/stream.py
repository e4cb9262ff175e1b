"""The streaming connection: what the server sends, what is confirmed to it, and heartbeats while there is nothing.

Source: "Streaming Replication Protocol" in PostgreSQL's manual. libpq does the talking (psycopg's `pq`); nothing here
waits longer than it is asked to.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
import psycopg
from psycopg import pq

from headwater.capture.postgres import pgoutput
from headwater.capture.postgres.connection import Connection, failed, result_failed
from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.postgres.preconditions import quoted
from headwater.capture.postgres.resume import confirmable, lsn_of
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.wire import CopyReader
from headwater.change import Group
from headwater.clock import Clock
from headwater.errors import SourceUnavailable
from headwater.position import Resume

LINGER_S = 0.002
LINGER_MAX_S = 0.02
"""How long a group that is not full waits for the next bytes, and for all that follow them in a steady stream."""

GATHER_S, GATHER_BEHIND_S, BEHIND_BYTES = 0.002, 0.01, 1 << 20
"""What comes next is left to gather so long, unless there was more than is taken at once: a reader that is faster than
the server would otherwise wake for every few rows, and the server would have to wake it. Longer when so much is behind
that a moment more does not tell."""

LOOPBACK_WINDOW = 1 << 16
"""Bytes that a server on the same machine may send before they are read. It sends every message by itself; what does
not fit is put together by its kernel, which halves what a row costs at both ends. Over a network it would be the
round trip's limit, and the network cards put the messages together."""

STATUS_INTERVAL_S, ALIVE_S = 10.0, 1.0
"""At the latest after this the server hears from us, well within its wal_sender_timeout of a minute: while we wait for
it, and while we are busy."""

READ_MESSAGES = 1 << 16
READ_BYTES = 4 << 20
"""What is taken from libpq at once."""

_DOING = "reading changes"


@dataclass(frozen=True)
class Wanted:
    """What the server is asked to send.

    Attributes:
        slot, publication: what to read.
        streaming: large transactions while they run (PostgreSQL 14 and newer).
        two_phase: prepared transactions when they are prepared (15 and newer). The slot stays so for good.
        messages: what is written with `pg_logical_emit_message`, too.
    """

    slot: str
    publication: str
    streaming: bool = True
    two_phase: bool = False
    messages: bool = False

    def options(self, server_version: int) -> str:
        """Options of pgoutput for that server (180006): the newest protocol that it speaks."""
        newest = min(server_version // 10_000, 16) - 12
        options = {"proto_version": str(newest), "publication_names": quoted(self.publication)}
        if self.streaming:
            options["streaming"] = "parallel" if newest >= pgoutput.PARALLEL_VERSION else "on"
        if self.two_phase and newest >= pgoutput.TWO_PHASE_VERSION:
            options["two_phase"] = "on"
        if self.messages:
            options["messages"] = "on"
        return ", ".join("{} '{}'".format(name, value.replace("'", "''")) for name, value in options.items())


class Stream:
    """Changes from a slot.

    Args:
        replication: a replication connection, which the stream takes over.
        assembler: turns messages into groups, from where the log ends on.
        wanted: what to read.
        resume: the resume point to read on from.
        head: how far the server's log goes now.
        heartbeat_s: seconds between two heartbeats.
        silence_s: seconds without a word from the server, though asked, after which it is taken for gone.
        clock: time.

    Raises:
        SourceStopped: the server refuses, for instance because the slot is gone.
        SourceUnavailable: the slot is in use, or the connection broke.
    """

    def __init__(
        self,
        replication: Connection,
        assembler: Assembler,
        wanted: Wanted,
        resume: Resume,
        head: int,
        heartbeat_s: float,
        silence_s: float,
        clock: Clock,
    ) -> None:
        self._connection = replication
        self._wire = replication.pgconn
        self._assembler = assembler
        self._heartbeat_s = heartbeat_s
        self._silence_s = silence_s
        self._clock = clock
        self._never = threading.Event()
        self._unanswered_since: float | None = None
        self._flushed, self._taken, self._resume = confirmable(resume), lsn_of(resume), resume
        assembler.head = max(head, assembler.lsn)
        self._asked = False
        self._waiting_since: float | None = None
        self._status_at = self._heartbeat_at = clock.monotonic_s()
        _narrow(self._wire.socket)
        self._start(wanted)
        self._incoming = CopyReader(self._wire, READ_MESSAGES, READ_BYTES)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wire.socket, selectors.EVENT_READ)

    def _start(self, wanted: Wanted) -> None:
        command = (
            f"START_REPLICATION SLOT {quoted(wanted.slot)} LOGICAL {lsn_text(self._flushed)} "
            f"({wanted.options(self._wire.server_version)})"
        )
        try:
            result = self._wire.exec_(command.encode())
        except psycopg.Error as error:
            failed(error, f"starting to read slot {wanted.slot!r}")
        if result.status != pq.ExecStatus.COPY_BOTH:
            result_failed(result, f"starting to read slot {wanted.slot!r}")

    def poll(self, timeout_s: float) -> Group | None:
        """The next group; None if nothing is whole within `timeout_s` seconds. See `Reader.poll`.

        Raises:
            SourceUnavailable: the connection broke.
            SourceStopped: the server ended the stream for good, or a table changed in a way that stops it.
        """
        deadline = self._clock.monotonic_s() + timeout_s
        try:
            while True:
                received = self._receive()
                group = self._next()
                self._sign_of_life()
                left = deadline - self._clock.monotonic_s()
                if group is not None:
                    self._tell_alive()
                if group is not None or left <= 0:
                    return group
                self._keep_alive()
                if received:
                    behind = self.lag_bytes() > BEHIND_BYTES
                    self._clock.wait(self._never, min(left, GATHER_BEHIND_S if behind else GATHER_S))
                else:
                    self._readable(min(left, self._heartbeat_s, STATUS_INTERVAL_S))
        except psycopg.Error as error:
            failed(error, _DOING)

    def _receive(self) -> bool:
        """Takes in what the server has sent, up to a full group. Returns whether anything came of which the rest may be
        on its way."""
        assembler, incoming, more, received = self._assembler, self._incoming, True, False
        while more and not assembler.full:
            incoming.fill()
            if incoming.ended and not len(incoming):
                self._ended()
            if not len(incoming):
                break
            more, received, self._unanswered_since = incoming.full, True, None
            assembler.feed(incoming.cut(lent=True))
            if assembler.asked:
                # A server that is shutting down asks until everything is confirmed; a heartbeat must not wait then.
                self._asked, assembler.asked = True, False
                self._send_status()
        return received

    def _next(self) -> Group | None:
        """A group if there is one to hand over now."""
        assembler = self._assembler
        if self._ripe():
            group = assembler.take()
            self._waiting_since = None
        elif self._heartbeat_due():
            group = assembler.heartbeat(assembler.quiet)
            self._asked, self._heartbeat_at = False, self._clock.monotonic_s()
        else:
            return None
        return None if group is None else self._handed_over(group)

    def _handed_over(self, group: Group) -> Group:
        self._resume = group.boundary.resume
        self._taken = lsn_of(self._resume)
        self._assembler.head = max(self._assembler.head, self._taken)
        return group

    def _ripe(self) -> bool:
        """Whether whole transactions wait, and waiting longer would not pack many more into the group."""
        if self._assembler.full:
            return True
        if not self._assembler.complete:
            return False
        now = self._clock.monotonic_s()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        waited = now - self._waiting_since >= LINGER_MAX_S
        return waited or not self._readable(LINGER_S)

    def _heartbeat_due(self) -> bool:
        assembler = self._assembler
        if assembler.complete or assembler.inside or max(assembler.quiet, assembler.lsn) <= self._taken:
            return False
        return self._asked or self._clock.monotonic_s() - self._heartbeat_at >= self._heartbeat_s

    def _sign_of_life(self) -> None:
        """Tells the server that we live when it has not heard from us for long: a large transaction that is taken out
        of what was held keeps us busy for longer than its wal_sender_timeout, without a look at the connection."""
        if self._clock.monotonic_s() - self._status_at >= 2 * STATUS_INTERVAL_S:
            self._send_status()

    def _tell_alive(self) -> None:
        """Tells the server that we live: while the parts of a large transaction are handed over nothing is read, so
        that what it asks is not heard, and nothing is confirmed. It gives us up after wal_sender_timeout."""
        if self._clock.monotonic_s() - self._status_at >= ALIVE_S:
            self._send_status()

    def _keep_alive(self) -> None:
        """Tells the server now and then that we live, and asks how far it is.

        Raises:
            SourceUnavailable: it has not answered for long: the connection is open at our end only.
        """
        now, since = self._clock.monotonic_s(), self._unanswered_since
        if since is not None and now - since >= self._silence_s:
            raise SourceUnavailable(
                f"the server has not said a word for {self._silence_s:g} s", hint="connecting anew; look at the network"
            )
        if now - self._status_at >= min(self._heartbeat_s, STATUS_INTERVAL_S):
            self._send_status(ask=True)

    def _send_status(self, *, ask: bool = False) -> None:
        """`flush` is what was confirmed to us and nothing else; `write` may be ahead of it."""
        self._status_at = self._clock.monotonic_s()
        if ask and self._unanswered_since is None:
            self._unanswered_since = self._status_at
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
        return max(0, self._assembler.head - self.reached)

    def transactions(self) -> tuple[np.ndarray, np.ndarray]:
        """Commit LSNs (uint64) and ids (uint32) of all transactions that were handed over since the last call, those
        without a captured change included if the server sent them (15 and newer do not); none at the first call."""
        handed = self._assembler.handed()
        commits = [np.empty(0, np.uint64), *(each.commits for each in handed)]
        return np.concatenate(commits), np.concatenate([np.empty(0, np.uint32), *(each.xids for each in handed)])

    @property
    def reached(self) -> int:
        """An LSN before which every commit has been handed over."""
        assembler = self._assembler
        waiting = assembler.complete or assembler.inside or not assembler.hungry
        return self._taken if waiting else max(self._taken, assembler.quiet, assembler.lsn)

    def settle(self) -> Group | None:
        """A group that brings the last resume point up to `reached`; None if it is there."""
        if self.reached <= self._taken:
            return None
        return self._handed_over(self._assembler.heartbeat(self.reached))

    @property
    def resume(self) -> Resume:
        """The resume point of what was handed over last."""
        return self._resume

    def ask(self) -> None:
        """Asks the server how far it is; `reached` shows it after some later poll.

        Raises:
            SourceUnavailable: the connection broke.
        """
        try:
            self._send_status(ask=True)
        except psycopg.Error as error:
            failed(error, _DOING)

    def close(self) -> None:
        """Gives up the connection."""
        self._selector.close()
        self._connection.close()
        self._assembler.close()

    def _readable(self, timeout_s: float) -> bool:
        readable = bool(self._selector.select(max(0.0, timeout_s)))
        if readable:  # perhaps a part of a large message: that is a sign of life as well
            self._unanswered_since = None
        return readable

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


def _narrow(number: int) -> None:
    """See `LOOPBACK_WINDOW`.

    Args:
        number: of a connected socket.
    """
    with socket.socket(fileno=os.dup(number)) as connection:
        is_ip = connection.family in (socket.AF_INET, socket.AF_INET6)
        if is_ip and ip_address(connection.getpeername()[0]).is_loopback:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LOOPBACK_WINDOW)
