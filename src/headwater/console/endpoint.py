"""One line of the API: method, path, what is asked, what is answered. Routes and the OpenAPI document are made of it.

Handlers are plain functions. They run in threads of the console's own, few at a time, so that a hundred open pages take
no thread and no turn from HTTP ingest, which shares the server's loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, TypeVarTuple

import anyio
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headwater.api.body import Room, read_body
from headwater.api.problem import Problem, busy
from headwater.console.kept import Kept
from headwater.console.shapes.shape import Asked, Nothing
from headwater.errors import HeadwaterError, UserError
from headwater.runtime.running import Running
from headwater.serve.sandbox.room import SqlRoom

Method = Literal["GET", "POST", "PUT", "DELETE"]
Said = TypeVar("Said", bound=Asked)
Made = TypeVar("Made")
Arguments = TypeVarTuple("Arguments")

MAX_BODY = 1 << 20
"""Bytes of a request's body: SQL and lists of numbers, nothing larger."""
AT_ONCE = 4
"""Handlers that run at a time."""
WAITING = 64
"""Requests that may wait for one of them; those beyond are told to come later."""
LIMIT_S = 30.0
"""After so long a request is told that it took too long; its handler's own limits end it."""
STREAMS = 32
"""Connections held open at a time."""


@dataclass(frozen=True)
class Call:
    """One request, as a handler sees it.

    Attributes:
        running: the project.
        path: parameters of the path.
        said: its query or body, of the endpoint's `asks`.
        kept: what was made for others a moment ago.
        limiter: of the console's threads.
        room: answers users' SQL in processes of their own.
    """

    running: Running
    path: Mapping[str, str]
    said: Asked
    kept: Kept
    limiter: CapacityLimiter
    room: SqlRoom

    def of(self, kind: type[Said]) -> Said:
        """What it says, typed."""
        assert isinstance(self.said, kind)
        return self.said

    async def aside(self, work: Callable[[*Arguments], Made], *arguments: *Arguments) -> Made:
        """Does something that takes time in one of the console's threads."""
        return await to_thread.run_sync(work, *arguments, limiter=self.limiter, abandon_on_cancel=True)


@dataclass(frozen=True)
class Endpoint:
    """One line of the API.

    Attributes:
        method: GET changes nothing; all else takes JSON only, which no form of another site can send.
        path: with parameters in braces.
        summary: a sentence for the document.
        answer: the shape of the answer; of each event's data for a stream; None for text.
        handle: makes the answer, in a thread.
        asks: the query of a GET, the body of all else.
        follow: makes a stream of server-sent events instead, in the server's loop.
        media: the answer's media type.
        wait: makes the answer instead in the server's loop, for what another process does; cancelled when who asks is
            gone.
    """

    method: Method
    path: str
    summary: str
    answer: type[BaseModel] | None
    handle: Callable[[Call], BaseModel | bytes | str] | None = None
    asks: type[Asked] = Nothing
    follow: Callable[[Call], AsyncIterator[bytes]] | None = None
    media: str = "application/json"
    wait: Callable[[Call], Coroutine[Any, Any, bytes]] | None = None

    @property
    def noun(self) -> str:
        """What it is about: the first part of the path."""
        return self.path.removeprefix("/v1/").split("/")[0].split(".")[0]


class Desk:
    """Serves endpoints of one project. Used in the server's loop.

    Args:
        running: the project.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        limits = running.project.api.sql if running.project.api is not None else None
        self.room = SqlRoom(lambda: running.project, limits)
        self._kept = Kept(running.clock)
        self._limiter: CapacityLimiter | None = None
        self._waiting = self._streams = 0

    def route(self, endpoint: Endpoint) -> Route:
        """The route of an endpoint."""
        serve = self._stream if endpoint.follow else self._awaited if endpoint.wait else self._answer

        async def answer(request: Request) -> Response:
            return await serve(endpoint, request)

        return Route(endpoint.path, answer, methods=[endpoint.method])

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        call = await self._call(endpoint, request)
        if self._waiting >= WAITING + AT_ONCE:
            raise busy("the console has more requests than it can serve")
        self._waiting += 1
        try:
            with anyio.fail_after(LIMIT_S):
                body = await call.aside(_made, endpoint, call)
        except TimeoutError as error:
            raise Problem(504, f"no answer within {LIMIT_S:.0f} s") from error
        finally:
            self._waiting -= 1
        return Response(body, media_type=endpoint.media)

    async def _awaited(self, endpoint: Endpoint, request: Request) -> Response:
        call = await self._call(endpoint, request)
        assert endpoint.wait is not None
        return Response(await _unless_gone(request, endpoint.wait(call)), media_type=endpoint.media)

    async def _stream(self, endpoint: Endpoint, request: Request) -> Response:
        call = await self._call(endpoint, request)
        if self._streams >= STREAMS:
            raise busy("too many connections are held open", 5.0)
        assert endpoint.follow is not None
        return StreamingResponse(self._counted(endpoint.follow(call)), media_type="text/event-stream")

    async def _counted(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for event in events:
                yield event
        except Problem as problem:
            yield event_of("problem", {"status": problem.status, "detail": problem.detail, **problem.more})
        finally:
            self._streams -= 1

    async def _call(self, endpoint: Endpoint, request: Request) -> Call:
        told: object = dict(request.query_params) if endpoint.method == "GET" else await _body(request)
        try:
            said = endpoint.asks.model_validate(told)
        except ValidationError as error:
            raise Problem(422, _mistakes(error)) from error
        self._limiter = self._limiter or CapacityLimiter(AT_ONCE)
        return Call(self._running, request.path_params, said, self._kept, self._limiter, self.room)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """Does something for as long as somebody waits for it."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Problem(400, "who asked is gone")
        return doing.result()
    finally:
        doing.cancel()
        leaving.cancel()


def _made(endpoint: Endpoint, call: Call) -> bytes:
    """The answer's bytes; runs in a thread."""
    assert endpoint.handle is not None
    try:
        answer = endpoint.handle(call)
    except HeadwaterError as error:
        raise problem_of(error, call.running.mask) from error
    if isinstance(answer, BaseModel):
        return answer.model_dump_json().encode()
    return answer.encode() if isinstance(answer, str) else answer


def problem_of(error: HeadwaterError, mask: Callable[[str], str]) -> Problem:
    """An error of ours as an answer: 400 for what the user can mend, 503 for what may pass, else 500."""
    status = 400 if isinstance(error, UserError) else 503 if error.retryable else 500
    more: dict[str, Any] = {"code": error.code} | ({"hint": mask(error.hint)} if error.hint else {})
    if error.place is not None:
        more |= {"file": error.place.file, "line": error.place.line, "column": error.place.column}
    return Problem(status, mask(error.message), **more)


def missing(what: str, name: str) -> Problem:
    """There is nothing of that name."""
    return Problem(404, f"there is no {what} {name!r}")


def event_of(kind: str, data: Mapping[str, Any] | bytes, number: int | None = None) -> bytes:
    """One server-sent event ("Server-sent events", html.spec.whatwg.org); data is one line of JSON."""
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    head = f"id: {number}\n".encode() if number is not None else b""
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), text)


HEARTBEAT = b": \n\n"


async def _body(request: Request) -> object:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "send JSON: Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "send it as it is, not compressed")
    room: Room = request.app.state.room
    with room.held() as share:
        raw = await read_body(request, share, MAX_BODY)
    try:
        told = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the body is not JSON") from error
    if not isinstance(told, dict):
        raise Problem(400, "the body is not a JSON object")
    return told


def _mistakes(error: ValidationError) -> str:
    found = [f"{'.'.join(map(str, each['loc'])) or 'the request'}: {each['msg']}" for each in error.errors()]
    return "; ".join(found)
