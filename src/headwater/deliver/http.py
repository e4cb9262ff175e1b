"""Any HTTP API as a destination. It cannot say what it holds, so every record has a key that it can know it by.

`Idempotency-Key` is the same whenever a record is sent, and no other record's. Of records that are sent together each
has its own in the body, and the header has one that is the same for the same records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event

import httpx

from headwater.clock import Clock
from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.documents import documents
from headwater.deliver.http_settings import HttpSettings
from headwater.deliver.http_template import (
    EPOCH,
    KEY,
    OP,
    ROW,
    Refused,
    Template,
    Values,
    body_template,
    header_template,
    url_template,
)
from headwater.deliver.web_server import look_at
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.finding import Finding, sentences
from headwater.outgoing import AddressRefused, ResponseTooLarge, client, resolve

ANSWER_BYTES = 1 << 20
TOLD_CHARACTERS = 300
LONGEST_WAIT_S = 3600.0
_RETRY = frozenset((408, 425, 429))
_GONE = frozenset((404, 410))
_OPS = {Op.UPSERT: "upsert", Op.DELETE: "delete", Op.INSERT: "insert"}


@dataclass(frozen=True)
class _Call:
    """A request for some records of a batch.

    Attributes:
        rows: their places in the batch.
        size: bytes of the body.
    """

    rows: tuple[int, ...]
    method: str
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    deletes: bool


@dataclass(frozen=True)
class _Answer:
    """What came of a call: delivered if both reasons are empty."""

    refused: str = ""
    retry: str = ""
    wait_s: float | None = None
    away: bool = False


class HttpDestination:
    """See `headwater.deliver.destination.Destination`.

    Args:
        settings: from `headwater.yml`.
    """

    exactly_once = False
    wants_before = False
    repeats_keys = False
    send: Send = "newest"

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`. The server's address is judged; nothing is called."""
        writer = _Writer(self.settings, sync)
        missing = [name for name in writer.columns if name not in sync.columns.names]
        if missing:
            raise DestinationStopped(
                f"sync {sync.name!r} writes {', '.join('{{' + name + '}}' for name in missing)}, which the model "
                f"{sync.model!r} does not have",
                hint=f"it has {', '.join(sync.columns.names)}",
            )
        url = httpx.URL(self.settings.url.split("{", 1)[0])
        try:
            resolve(url.host, url.port or 443, allow_private=self.settings.allow_private)
        except AddressRefused as error:
            raise DestinationStopped(error.message, hint=error.hint) from None
        except OSError as error:
            raise DestinationUnavailable(f"{url.host} cannot be looked up: {error}") from None
        every = "one request per record" if self.settings.together == "no" else f"batches as {self.settings.together}"
        return [f"calls {url.host}, {every}, at least once, with {self.settings.idempotency_header}"]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`. Whether it takes our credentials, the first call tells."""
        told = sentences("calls", lambda: self.check(sync))
        if any(one.level == "fail" for one in told):
            return told
        settings, url = self.settings, self.settings.url.split("{", 1)[0]
        return [*look_at(url, sync.clock, allow_private=settings.allow_private, ca_file=settings.ca_file), *told]

    def open(self, sync: Sync) -> HttpSession:
        """See `Destination.open`."""
        return HttpSession(self.settings, sync)

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        refused: dict[int, str] = {}
        calls = list(_Writer(replaced(self.settings), sync).calls(batch, refused))
        told = {row: f"{call.method} {call.url}\n{call.body.decode()}".rstrip() for call in calls for row in call.rows}
        return [told.get(row) or f"refused: {refused[row]}" if row in refused or row in told else "not sent"
                for row in range(len(batch))]  # fmt: skip


def replaced(settings: HttpSettings) -> HttpSettings:
    """The settings with each record in a call of its own, for a look."""
    return settings.model_copy(update={"max_body": 0})


class HttpSession:
    """See `headwater.deliver.destination.Session`.

    Args:
        settings: from `headwater.yml`.
        sync: the sync.
    """

    def __init__(self, settings: HttpSettings, sync: Sync) -> None:
        self._settings = settings
        self._writer = _Writer(settings, sync)
        self._clock = sync.clock
        self._pool = ThreadPoolExecutor(settings.connections, thread_name_prefix=f"http:{sync.name}")
        self._client = client(
            allow_private=settings.allow_private, timeout_s=settings.timeout_s, ca_file=settings.ca_file,
            max_response_bytes=ANSWER_BYTES, clock=sync.clock,
        )  # fmt: skip
        if settings.token is not None:
            self._client.headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        elif settings.user is not None and settings.password is not None:
            self._client.auth = httpx.BasicAuth(settings.user, settings.password.get_secret_value())
        if settings.secret_header is not None and settings.secret is not None:
            self._client.headers[settings.secret_header] = settings.secret.get_secret_value()

    def held(self) -> str | None:
        """See `Session.held`. Nobody can say."""
        return None

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        refused: dict[int, str] = {}
        retry: dict[int, str] = {}
        calls = list(self._writer.calls(batch, refused))
        halt = Event()
        answers = list(self._pool.map(lambda call: self._call(call, halt), calls))
        if calls and all(answer.away for answer in answers):
            raise DestinationUnavailable(answers[0].retry)
        for call, answer in zip(calls, answers, strict=True):
            for row in call.rows:
                if answer.refused:
                    refused[row] = answer.refused
                elif answer.retry:
                    retry[row] = answer.retry
        waits = [answer.wait_s for answer in answers if answer.wait_s is not None]
        return Outcomes.of(len(batch), refused, retry, retry_after_s=max(waits, default=None))

    def close(self) -> None:
        """See `Session.close`."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _call(self, call: _Call, halt: Event) -> _Answer:
        """One request. After one that was told to wait, or not answered, no more of the batch are sent."""
        if halt.is_set():
            return _Answer(retry="it was not sent: the server wants to be left alone", away=True)
        try:
            answer = self._client.request(call.method, call.url, content=call.body or None, headers=list(call.headers))
        except AddressRefused as error:
            raise DestinationStopped(error.message, hint=error.hint) from None
        except ResponseTooLarge as error:
            return _Answer(retry=error.message)
        except httpx.HTTPError as error:
            halt.set()
            return _Answer(retry=f"no answer: {type(error).__name__}", away=True)
        return self._judged(call, answer, halt)

    def _judged(self, call: _Call, answer: httpx.Response, halt: Event) -> _Answer:
        status = answer.status_code
        if 200 <= status < 300 or status in self._settings.accept or (call.deletes and status in _GONE):
            return _Answer()
        if status == 401:
            raise DestinationStopped(
                f"{answer.url.host} does not know us (401)", hint="check token, user and password, or secret"
            )
        told = f"the server answered {status}"
        if status in _RETRY or status >= 500 or status in self._settings.retry:
            wait_s = _retry_after_s(answer.headers.get("Retry-After", ""), self._clock)
            if wait_s is not None or status == 429:
                halt.set()
            return _Answer(retry=told, wait_s=wait_s)
        return _Answer(refused=f"{told}: {_plain(answer.text)}".rstrip(": "))


class _Writer:
    """Writes batches as requests."""

    def __init__(self, settings: HttpSettings, sync: Sync) -> None:
        self._settings, self._sync = settings, sync
        delete_body = settings.delete_body
        self._templates = {
            False: (url_template(settings.url), self._body(settings.body)),
            True: (
                url_template(settings.delete_url or settings.url),
                self._body(delete_body) if delete_body is not None or settings.together != "no" else None,
            ),
        }
        self._headers = {name: header_template(value) for name, value in settings.headers.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are written."""
        templates: list[Template] = list(self._headers.values())
        templates += [part for pair in self._templates.values() for part in pair if part is not None]
        return tuple(dict.fromkeys(name for template in templates for name in template.columns))

    def calls(self, batch: Batch, refused: dict[int, str]) -> Iterator[_Call]:
        """The requests of a batch; notes records that cannot be written. Deletes that are not to be sent are in none.

        Args:
            batch: the records.
            refused: takes by row why one cannot be written.
        """
        records = self._records(batch)
        if self._settings.together == "no":
            for row, values in enumerate(records):
                try:
                    call = self._single(row, values, batch.op[row] == Op.DELETE)
                except Refused as error:
                    refused[row] = str(error)
                    continue
                if call is not None:
                    yield call
            return
        yield from self._together(records, batch, refused)

    def _body(self, text: str | None) -> Template:
        if text is None:
            text = '{"op":{{@op}},"key":{{@key}},"row":{{*}}}' if self._settings.together != "no" else "{{*}}"
        return body_template(text, self._settings.kind)

    def _records(self, batch: Batch) -> list[dict[str, str]]:
        """By record, the JSON texts that templates are filled with."""
        rows = [text.decode() for text in documents(batch.rows)]
        keys = batch.idempotency_keys(self._sync)
        named = {
            name: [text.decode()[len(json.dumps(name, ensure_ascii=False)) + 2 : -1] for text in
                   documents(batch.rows.select([name]))]
            for name in self.columns
        }  # fmt: skip
        return [
            {
                **{name: texts[at] for name, texts in named.items()},
                ROW: rows[at],
                OP: json.dumps(_OPS[Op(int(batch.op[at]))]),
                KEY: json.dumps(keys[at]),
                EPOCH: str(int(batch.epoch[at])),
            }
            for at in range(len(batch))
        ]

    def _single(self, row: int, values: Values, deletes: bool) -> _Call | None:
        settings = self._settings
        method = settings.delete_method if deletes else settings.method
        if method == "none":
            return None
        url, body = self._templates[deletes]
        content = body.fill(values).encode() if body is not None else b""
        headers = self._filled(values, json.loads(values[KEY]), bool(content))
        return _Call((row,), method, url.fill(values), content, headers, deletes)

    def _together(self, records: Sequence[Values], batch: Batch, refused: dict[int, str]) -> Iterator[_Call]:
        written: list[tuple[int, bytes]] = []
        for row, values in enumerate(records):
            deletes = batch.op[row] == Op.DELETE
            body = self._templates[bool(deletes)][1]
            if (deletes and self._settings.delete_method == "none") or body is None:
                continue
            try:
                written.append((row, body.fill(values).encode()))
            except Refused as error:
                refused[row] = str(error)
        array = self._settings.together == "array"
        for part in _parts(written, int(self._settings.max_body)):
            texts = [text for _, text in part]
            content = b"[" + b",".join(texts) + b"]" if array else b"\n".join(texts) + b"\n"
            rows = tuple(row for row, _ in part)
            keys = "\n".join(json.loads(records[row][KEY]) for row in rows)
            key = keys if len(rows) == 1 else hashlib.blake2b(keys.encode(), digest_size=16).hexdigest()
            try:
                headers = self._filled(records[rows[0]], key, True)
            except Refused as error:
                refused.update(dict.fromkeys(rows, str(error)))
                continue
            yield _Call(rows, self._settings.method, self._settings.url, content, headers, False)

    def _filled(self, values: Values, key: str, has_body: bool) -> tuple[tuple[str, str], ...]:
        headers = [(name, template.fill(values)) for name, template in self._headers.items()]
        headers.append((self._settings.idempotency_header, key))
        return tuple([*headers, ("Content-Type", self._settings.kind)] if has_body else headers)


def _parts(written: Sequence[tuple[int, bytes]], most: int) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = 0
    for one in written:
        if part and size + len(one[1]) > most:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one[1])
    if part:
        yield part


def _retry_after_s(header: str, clock: Clock) -> float | None:
    """Seconds that a server asks to be left alone: a number, or a date (RFC 9110, 10.2.3); an hour at most."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except ValueError:
            return None
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        seconds = (until - datetime.fromtimestamp(clock.now_us() / 1e6, UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT_S) if seconds == seconds else None


def _plain(text: str) -> str:
    """The beginning of what a server says, on one line."""
    return " ".join(text[: 4 * TOLD_CHARACTERS].split())[:TOLD_CHARACTERS]
