"""`POST /v1/streams/NAME`: from a request to a submission, and from what became of it to the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import pyarrow as pa
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.api.body import Room, Share, read_body, too_large
from headwater.api.problem import Problem, busy
from headwater.api.server import Service
from headwater.capture.http.completion import Completion
from headwater.capture.http.containers import Containers
from headwater.capture.http.door import Door, Full
from headwater.capture.http.forms import ACCEPTED, CONTAINER, Body, ContentType, Unknown, cut, require_known
from headwater.capture.http.limits import Pace
from headwater.capture.http.settings import HttpSettings
from headwater.capture.http.submission import NotTaken, Receipt, Submission, Wrong, fingerprint
from headwater.capture.http.unpacking import CODECS, TooLarge, unpack
from headwater.capture.messages.message import messages_of
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.formats.avro.container import TooMuch
from headwater.registry.store import SchemaStore

Made = TypeVar("Made")
Arguments = TypeVarTuple("Arguments")

PATH = "/v1/streams/{name}"
KEY = "idempotency-key"
KEY_BYTES = 255
ANSWER_S = 60.0
"""After so long without an answer from the log nobody knows what became of a request."""
AT_ONCE = 2
"""Bodies that are unpacked and cut at a time."""


class Taking(Protocol):
    """The source, as its routes see it."""

    name: str
    settings: HttpSettings
    identity: str
    clock: Clock
    door: Door
    schemas: SchemaStore | None


def service(source: Taking) -> Service:
    """What a source adds to the server."""
    given = [token for token in (source.settings.token, source.settings.former_token) if token is not None]
    desk = _Desk(source)
    paths = [PATH.format(name=stream) for stream in source.settings.streams]
    routes = [Route(path, desk.take, methods=["POST"]) for path in paths]
    return Service(routes, dict.fromkeys(paths, given) if given else {})


class _Desk:
    """Takes the requests of one source. Runs in the server's loop."""

    def __init__(self, source: Taking) -> None:
        self._source = source
        self._pace = Pace(source.settings.requests_per_second, source.clock)
        self._limiter: CapacityLimiter | None = None

    async def take(self, request: Request) -> Response:
        """One request."""
        wait_s = self._pace.wait_s()
        if wait_s:
            raise busy("more requests a second than this source takes", wait_s, 429)
        stream = request.url.path.rpartition("/")[2]
        headers = dict(request.headers)
        content_type = _content_type(headers)
        encoding = _encoding(headers)
        key, strict = _key(request), _strict(request)
        room: Room = request.app.state.room
        with room.held() as share:
            packed = await read_body(request, share, int(self._source.settings.max_body))
            body = packed if encoding is None else await self._unpacked(packed, encoding, share)
            messages, form = await self._aside(self._messages, stream, content_type, headers, body)
            mark = fingerprint(stream, headers.get("content-type", ""), body) if key else b""
            size = messages.nbytes
            if form == CONTAINER:  # which may be packed itself
                share.take(size)
            submission = Submission(stream, form, messages, size, key, mark, strict)
            receipt = await self._stored(submission)
        return JSONResponse(self._answer(receipt), 202)

    async def _unpacked(self, packed: bytes, encoding: str, share: Share) -> bytes:
        most = int(self._source.settings.max_unpacked)
        try:
            body = await self._aside(unpack, packed, encoding, most)
        except TooLarge as error:
            raise too_large(most) from error
        except UserError as error:
            raise Problem(400, error.message) from error
        share.take(len(body))
        return body

    def _messages(
        self, stream: str, content_type: ContentType, headers: Mapping[str, str], body: bytes
    ) -> tuple[pa.RecordBatch, str]:
        """The body's messages, and their form. Runs in a thread.

        Raises:
            Problem: the body is not what its type says, or holds too many.
        """
        try:
            settings = self._source.settings
            containers = Containers(self._source.schemas, int(settings.max_unpacked), settings.max_records)
            found = cut(content_type, headers, body, containers)
        except Unknown as error:
            raise Problem(415, error.message) from error
        except TooMuch as error:
            raise Problem(413, error.message) from error
        except UserError as error:
            raise Problem(400, error.message) from error
        if len(found.values) > self._source.settings.max_records:
            raise Problem(413, f"a request may have {self._source.settings.max_records:,} records")
        return as_messages(stream, found, self._source.clock.now_us()), found.form

    async def _stored(self, submission: Submission) -> Receipt:
        try:
            self._source.door.offer(submission)
            return await asyncio.wait_for(asyncio.wrap_future(submission.answer), ANSWER_S)
        except Full as error:
            raise busy(str(error)) from error
        except TimeoutError as error:
            raise busy("the log does not answer: it is not known whether the records are in it") from error
        except NotTaken as error:
            if error.status == 503:
                raise busy(error.detail) from error
            if not error.wrong:
                raise Problem(error.status, error.detail) from error
            raise Problem(error.status, error.detail, records=[_told(one) for one in error.wrong]) from error

    async def _aside(self, work: Callable[[Unpack[Arguments]], Made], *arguments: *Arguments) -> Made:
        """Does work in a thread, few at a time."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(AT_ONCE)
        return await to_thread.run_sync(work, *arguments, limiter=self._limiter)

    def _answer(self, receipt: Receipt) -> dict[str, object]:
        token = Completion.of(self._source.name, receipt.commit, self._source.identity)
        answer: dict[str, object] = {
            "accepted": receipt.accepted, "rejected": receipt.rejected, "token": str(token)
        }  # fmt: skip
        if receipt.wrong:
            answer["records"] = [_told(one) for one in receipt.wrong]
        if receipt.repeated:
            answer["repeated"] = True
        return answer


def as_messages(stream: str, body: Body, now_us: int) -> pa.RecordBatch:
    """Raw messages (`MESSAGE_SCHEMA`) that came at one instant. `partition` says how they are to be decoded, now and
    when one of them is replayed."""
    count = len(body.values)
    stamps = pa.repeat(pa.scalar(now_us, pa.timestamp("us", tz="UTC")), count)
    return messages_of(body.values, timestamp=stamps, partition=pa.repeat(pa.scalar(f"{stream}/{body.form}"), count))


def _told(wrong: Wrong) -> dict[str, object]:
    return {"record": wrong.record, "reason": wrong.reason, "message": wrong.message}


def _content_type(headers: Mapping[str, str]) -> ContentType:
    content_type = ContentType.of(headers.get("content-type", ""))
    try:
        require_known(content_type, headers)
    except Unknown as error:
        raise Problem(415, error.message, headers={"Accept-Post": ACCEPTED}, accepted=ACCEPTED.split(", ")) from error
    return content_type


def _encoding(headers: Mapping[str, str]) -> str | None:
    """The `Content-Encoding`, None for a body that is sent as it is."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in CODECS:
        accepted = ", ".join(CODECS)
        raise Problem(415, f"bodies packed as {encoding!r} are not taken", headers={"Accept-Encoding": accepted})
    return encoding


def _key(request: Request) -> str:
    keys = request.headers.getlist(KEY)
    if len(keys) > 1 or any(not key or len(key) > KEY_BYTES or not key.isprintable() for key in keys):
        raise Problem(400, f"Idempotency-Key is given once, with 1 to {KEY_BYTES} printable characters")
    return keys[0] if keys else ""


def _strict(request: Request) -> bool:
    strict = request.query_params.get("strict", "false").lower()
    if strict not in ("true", "false", "1", "0"):
        raise Problem(400, "strict is true or false")
    return strict in ("true", "1")
