"""Elasticsearch and OpenSearch as a destination: the bulk API, an outcome per item, external versions.

Each document's version is the record's number in the outbox, counted from a base of the outbox's own (`version_type:
external`), so that the server itself refuses whatever is older than what it holds: a call that is made again changes
nothing, and a conflict with a version that is not older means that the record is there. A full resync begins a new
outbox, whose base lies beyond all versions of the one before; the bases stand in one document per sync, in an index of
their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.documents import documents
from headwater.deliver.elasticsearch_settings import ElasticsearchSettings
from headwater.deliver.key_text import names
from headwater.deliver.web_server import look_at
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError
from headwater.finding import Finding, sentences
from headwater.outgoing import AddressRefused, client

ROOM = 1 << 40
"""Versions of one outbox: so many from its base on."""
NO_KEY = "the record has no id: a part of its key is null"
_RETRY = frozenset((408, 429, 500, 502, 503, 504))
_REFUSED_US = frozenset((401, 403))
_ONLY = "errors,items.*.status,items.*.error.type,items.*.error.reason"
_CURRENT = re.compile(r"current version \[(\d+)\]")
_BLOCKED = "cluster_block_exception"


class ElasticsearchDestination:
    """See `headwater.deliver.destination.Destination`.

    Args:
        settings: from `headwater.yml`.
    """

    exactly_once = False
    wants_before = False
    repeats_keys = False
    send: Send = "newest"

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self.settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        server = _Server(self.settings)
        try:
            about = server.ask("GET", "/")
            there = server.ask("GET", f"/{self.settings.index}/_count", missing={})
        finally:
            server.close()
        version = about.get("version", {})
        kind = version.get("distribution", "elasticsearch")
        told = [f"keeps the documents of index {self.settings.index!r} in {kind} {version.get('number')}"]
        if not there:
            told.append("the index is not there: the server makes it at the first record, and guesses the types")
        if not sync.key:
            told.append("the model has no key: every row is a document of its own")
        return told

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        settings = self.settings
        found = look_at(settings.url, sync.clock, allow_private=settings.allow_private, ca_file=settings.ca_file)
        told = sentences("index", lambda: self.check(sync))
        if any(one.level == "fail" for one in told):
            return [*found, *told]
        server = _Server(settings)
        try:
            health = str(server.ask("GET", "/_cluster/health", missing={}).get("status", "unknown"))
            held = server.ask("GET", f"/{settings.index}/_settings?flat_settings=true", missing={})
        finally:
            server.close()
        return [*found, *told, _health(health), *_blocks(settings.index, held)]

    def open(self, sync: Sync) -> ElasticsearchSession:
        """See `Destination.open`."""
        server = _Server(self.settings)
        try:
            return ElasticsearchSession(self.settings, sync, server)
        except HeadwaterError:
            server.close()
            raise

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        actions = _actions(self.settings, sync, batch, 0)
        return [f"refused: {NO_KEY}" if action is None else action.decode().rstrip() for action in actions]


def _health(status: str) -> Finding:
    """Whether the cluster has all its shards."""
    if status == "red":
        return Finding("cluster", "warn", "red: some shards are not there", "GET /_cluster/allocation/explain says why")
    return Finding("cluster", "ok", status)


def _blocks(index: str, held: Mapping[str, Any]) -> list[Finding]:
    """Whether an index may be written."""
    on = sorted(
        name
        for one in held.values()
        for name, value in one.get("settings", {}).items()
        if name.startswith("index.blocks.") and str(value) == "true" and name != "index.blocks.metadata"
    )
    if not on:
        return [Finding("writable", "ok", "no block is on the index")]
    mend = f'make room if its disk is full; then PUT /{index}/_settings {{"{on[0]}": null}}'
    return [Finding("writable", "fail", f"the index is blocked: {', '.join(on)}", mend)]


class ElasticsearchSession:
    """See `headwater.deliver.destination.Session`.

    Args:
        settings: from `headwater.yml`.
        sync: the sync.
        server: the session closes it.
    """

    def __init__(self, settings: ElasticsearchSettings, sync: Sync, server: _Server) -> None:
        self._settings = settings
        self._sync = sync
        self._server = server
        self._base = _base(settings, sync, server)

    def held(self) -> str | None:
        """See `Session.held`. The server cannot say, and need not: versions make repetition harmless."""
        return None

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        refused: dict[int, str] = {}
        retry: dict[int, str] = {}
        waits: list[float] = []
        pending: list[tuple[int, bytes]] = []
        for number, action in enumerate(_actions(self._settings, self._sync, batch, self._base)):
            if action is None:
                refused[number] = NO_KEY
            else:
                pending.append((number, action))
        for part in _parts(pending, int(self._settings.max_body)):
            self._send(part, refused, retry, waits)
        return Outcomes.of(len(batch), refused, retry, retry_after_s=max(waits, default=None))

    def close(self) -> None:
        """See `Session.close`."""
        self._server.close()

    def _send(
        self, part: Sequence[tuple[int, bytes]], refused: dict[int, str], retry: dict[int, str], waits: list[float]
    ) -> None:
        """One request, or several if the server finds it too large."""
        answer = self._server.bulk(b"".join(action for _, action in part))
        if answer.status_code == 413 and len(part) > 1:
            half = len(part) // 2
            self._send(part[:half], refused, retry, waits)
            self._send(part[half:], refused, retry, waits)
        elif answer.status_code == 413:
            refused[part[0][0]] = "the document is larger than the server takes"
        elif answer.status_code in _RETRY:
            retry.update((number, f"the server answered {answer.status_code}") for number, _ in part)
            waits += _waits(answer)
        else:
            self._sort(part, _items(answer, len(part)), refused, retry)

    def _sort(
        self, part: Sequence[tuple[int, bytes]], items: Sequence[Any], refused: dict[int, str], retry: dict[int, str]
    ) -> None:
        for (number, _), item in zip(part, items, strict=True):
            ((action, result),) = item.items()
            status, error = int(result["status"]), result.get("error") or {}
            told = f"{error.get('type')}: {error.get('reason')}"[:500]
            if status < 300 or (status == 404 and action == "delete" and not error):
                continue
            if status == 409:
                if self._written_by_another(told):
                    refused[number] = f"somebody else has written this document: {told}"
            elif status in _RETRY or error.get("type") == _BLOCKED:
                retry[number] = told
            elif status in _REFUSED_US or error.get("type") == "index_not_found_exception":
                raise DestinationStopped(
                    f"the server does not let us write to index {self._settings.index!r}: {told}",
                    hint="make the index, or give our user the right to write and make it",
                )
            else:
                refused[number] = told

    def _written_by_another(self, told: str) -> bool:
        """Whether a document has a version that none of ours can have."""
        current = _CURRENT.search(told)
        return current is not None and int(current[1]) >= self._base + ROOM


class _Server:
    """Requests to the server, and what its refusals mean."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self._settings = settings
        self._client = client(
            allow_private=settings.allow_private, timeout_s=settings.timeout_s, ca_file=settings.ca_file,
            max_response_bytes=64 << 20,
        )  # fmt: skip
        if settings.api_key is not None:
            self._client.headers["Authorization"] = f"ApiKey {settings.api_key.get_secret_value()}"
        elif settings.user is not None and settings.password is not None:
            self._client.auth = httpx.BasicAuth(settings.user, settings.password.get_secret_value())

    def ask(self, method: str, path: str, body: object = None, *, missing: Any = None, conflict: Any = None) -> Any:
        """A question outside of bulks.

        Args:
            missing: what a 404 stands for; None: an error.
            conflict: what a 409 stands for; None: an error.
        """
        answer = self._call(method, path, json.dumps(body).encode() if body is not None else b"", "application/json")
        if answer.status_code == 404 and missing is not None:
            return missing
        if answer.status_code == 409 and conflict is not None:
            return conflict
        if answer.status_code >= 300:
            raise DestinationUnavailable(f"{method} {path}: the server answered {answer.status_code}")
        return _json(answer)

    def bulk(self, body: bytes) -> httpx.Response:
        """One bulk request."""
        return self._call("POST", f"/_bulk?filter_path={_ONLY}", body, "application/x-ndjson")

    def close(self) -> None:
        """Gives up the connections."""
        self._client.close()

    def _call(self, method: str, path: str, body: bytes, kind: str) -> httpx.Response:
        try:
            answer = self._client.request(
                method, self._settings.url + path, content=body or None, headers={"Content-Type": kind}
            )
        except AddressRefused as error:
            raise DestinationStopped(error.message, hint=error.hint) from None
        except (httpx.HTTPError, HeadwaterError) as error:
            raise DestinationUnavailable(f"{self._settings.url} does not answer: {error}") from None
        if answer.status_code in _REFUSED_US:
            raise DestinationStopped(
                f"{self._settings.url} refused us ({answer.status_code})",
                hint="check api_key, or user and password, and what they may do with the index",
            )
        return answer


def _base(settings: ElasticsearchSettings, sync: Sync, server: _Server) -> int:
    """The number that the versions of the sync's outbox are counted from, noted on first use."""
    path = f"/{settings.notes_index}/_doc/{quote(sync.id, safe='')}"
    while True:
        found = server.ask("GET", path, missing={})
        note = found.get("_source") or {}
        if note.get("outbox") == sync.outbox:
            return int(note["base"])
        base = max(sync.clock.now_us(), int(note.get("base") or 0) + ROOM)
        only = f"if_seq_no={found['_seq_no']}&if_primary_term={found['_primary_term']}" if note else "op_type=create"
        body = {"outbox": sync.outbox, "base": base, "index": settings.index}
        if server.ask("PUT", f"{path}?{only}", body, conflict={"again": True}).get("again") is None:
            return base


def _actions(settings: ElasticsearchSettings, sync: Sync, batch: Batch, base: int) -> Iterator[bytes | None]:
    """The lines of each record; None for one that has no id."""
    ids = names(batch.rows, sync.key) if sync.key else batch.idempotency_keys(sync)
    texts = documents(batch.rows)
    for name, op, seq, text in zip(ids, batch.op.tolist(), batch.seq.tolist(), texts, strict=True):
        if name is None:
            yield None
            continue
        target = {"_index": settings.index, "_id": name, "version": base + seq, "version_type": "external"}
        line = json.dumps({"delete" if op == Op.DELETE else "index": target}, ensure_ascii=False).encode()
        yield line + b"\n" if op == Op.DELETE else b"%b\n%b\n" % (line, text)


def _parts(pending: Sequence[tuple[int, bytes]], most: int) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = 0
    for one in pending:
        if part and size + len(one[1]) > most:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one[1])
    if part:
        yield part


def _items(answer: httpx.Response, count: int) -> Sequence[Any]:
    """The items of a bulk's answer, one per action."""
    found: Mapping[str, Any] = _json(answer) if answer.status_code < 300 else {}
    items = found.get("items")
    if not isinstance(items, list) or len(items) != count:
        raise DestinationUnavailable(
            f"the server answered a bulk of {count} with {answer.status_code} and no result for each: "
            f"{answer.text[:300]}"
        )
    return items


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise DestinationUnavailable("the server's answer is not JSON: is that Elasticsearch?") from None


def _waits(answer: httpx.Response) -> list[float]:
    try:
        return [max(0.0, float(answer.headers.get("Retry-After", "")))]
    except ValueError:
        return []
