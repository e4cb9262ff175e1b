"""One connection of a client, whose requests must arrive in time (slow loris) and must end once they are answered."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

AFTER_ANSWER_BYTES = 4 << 20
"""A client that sends so much more after its answer is cut off. Not at once: the end might overtake the answer."""


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a limit on how long a request's head and body may take to arrive.

    Attributes:
        head_s: seconds from the connection, or from the answer before, to the end of the head.
        body_s: seconds from there to the end of the body.
    """

    head_s: ClassVar[float]
    body_s: ClassVar[float]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._phase: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._after_answer = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wait_for(None, 0)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY:
            self._after_answer += len(data)
            if self._after_answer > AFTER_ANSWER_BYTES:
                self.transport.abort()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Sets the limit of what is waited for now."""
        state = self.conn.their_state
        if state is h11.IDLE:
            self._wait_for((state, id(self.cycle)), self.head_s)
        elif state is h11.SEND_BODY:
            self._wait_for((state, id(self.cycle)), self.body_s)
        else:
            self._wait_for(None, 0)

    def _wait_for(self, phase: object, seconds: float) -> None:
        if phase == self._phase:
            return
        self._phase, self._after_answer = phase, 0
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort) if phase is not None else None


def timed_protocol(head_s: float, body_s: float) -> type[TimedProtocol]:
    """The protocol with these limits."""
    return type("Timed", (TimedProtocol,), {"head_s": head_s, "body_s": body_s})
