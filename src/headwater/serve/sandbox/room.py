"""The project's side: takes questions, lets a few at a time be answered by turns, and passes the answers on unread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import pyarrow as pa

from headwater.api.settings import SqlLimits
from headwater.project.definition import Project
from headwater.serve.sandbox.keeper_process import KeeperProcess, end, exactly, listen, start
from headwater.serve.sandbox.wire import LENGTH, Header, frame

GRACE_S = 5.0
"""Seconds after its time is up that a turn's end may take to be told of."""
MOST_WAITING = 32
"""Questions that wait for their turn; those beyond are refused."""
WAIT_S = 20.0
"""Seconds that one waits."""
REFUSAL_S = 1.0
"""Seconds until a refusal, so that who asks without a pause takes none of the pipeline's time."""


@dataclass(frozen=True)
class Answer:
    """What a turn gave.

    Attributes:
        status: as in HTTP.
        body: a JSON object; with a status from 400 on the members of a problem.
    """

    status: int
    body: bytes


class SqlRoom:
    """Answers what users ask. To be used from one event loop.

    Args:
        project: the project as it is now; with another one the next question has a new keeper.
        limits: of a question.
    """

    def __init__(self, project: Callable[[], Project], limits: SqlLimits | None = None) -> None:
        self._project = project
        self.limits = limits or SqlLimits.model_validate({})
        self._keeper: KeeperProcess | None = None
        self._numbers = itertools.count(1)
        self._turns = asyncio.Semaphore(self.limits.at_once)
        self._starting = asyncio.Lock()
        self._waiting = 0

    async def ask(self, do: str, *, payload: bytes = b"", timeout_s: float | None = None, **asked: object) -> Answer:
        """Has a question answered. Who stops waiting (cancels) ends the turn.

        Args:
            do: one of `headwater.serve.sandbox.turn.QUESTIONS`.
            payload: what comes with it.
            timeout_s: shorter than the limit, if given.
            asked: its members.
        """
        if self._waiting >= MOST_WAITING:
            await asyncio.sleep(REFUSAL_S)
            return _problem(503, "too many queries at once", "ask again in a moment")
        self._waiting += 1
        try:
            await asyncio.wait_for(self._turns.acquire(), WAIT_S)
        except TimeoutError:
            return _problem(503, f"other queries ran for {WAIT_S:g} s", "ask again in a moment")
        finally:
            self._waiting -= 1
        try:
            return await self._turn({"do": do, **asked}, payload, min(timeout_s or inf, self.limits.timeout_s))
        finally:
            self._turns.release()

    async def filter(self, condition: str, rows: pa.Table) -> Answer:
        """The numbers of the rows that a user's condition holds for: `{"rows": [0, 7]}`."""
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        return await self.ask("filter", payload=sink.getvalue(), condition=condition)

    def close(self) -> None:
        """Ends the keeper and its turns."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            end(keeper)

    async def _turn(self, asked: Header, payload: bytes, timeout_s: float) -> Answer:
        keeper = await self._ready()
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        ended = keeper.ended[number] = loop.create_future()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                socket.send_fds(keeper.control, [frame({"id": number, "timeout_s": timeout_s})], [theirs.fileno()])
            async with asyncio.timeout(timeout_s + GRACE_S):
                await loop.sock_sendall(ours, frame({**asked, "payload": len(payload)}) + payload)
                return await self._read(ours, ended, timeout_s)
        except (TimeoutError, OSError):
            self.close()  # the keeper itself does not answer
            return _problem(503, "the query process did not answer and was ended", "ask again")
        finally:
            ours.close()
            if not ended.done() and not keeper.gone:
                with contextlib.suppress(OSError):
                    keeper.control.send(frame({"kill": number}))
            keeper.ended.pop(number, None)

    async def _read(self, ours: socket.socket, ended: asyncio.Future[Header], timeout_s: float) -> Answer:
        try:
            (size,) = LENGTH.unpack(await exactly(ours, LENGTH.size))
            header = json.loads(await exactly(ours, min(size, 1 << 16)))
            most = int(self.limits.max_bytes) + (1 << 20)
            if header["size"] > most:
                return _problem(422, "the answer is too large", "LIMIT it")
            return Answer(int(header["status"]), await exactly(ours, int(header["size"])))
        except EOFError:
            return _died(await ended, timeout_s)

    async def _ready(self) -> KeeperProcess:
        async with self._starting:
            keeper, project = self._keeper, self._project()
            if keeper is None or keeper.gone or keeper.of is not project:
                self.close()
                keeper = self._keeper = await asyncio.to_thread(start, project, self.limits)
                keeper.listening = asyncio.create_task(listen(keeper))
            return keeper


def _died(said: Header, timeout_s: float) -> Answer:
    """Why a turn ended without an answer."""
    if said["late"] or said["exit"] in (-24, -14):  # SIGXCPU, SIGALRM
        return _problem(
            422, f"the query was ended after {timeout_s:g} s", "LIMIT it, or set api: {sql: {timeout_s: ...}}"
        )
    return _problem(
        422, "the query's process was ended: it needed more memory than it may take", "LIMIT it, or filter first"
    )


def _problem(status: int, detail: str, hint: str) -> Answer:
    return Answer(status, json.dumps({"detail": detail, "hint": hint}).encode())
