"""Redis and Valkey as a destination: each record is a key, and a call is one MULTI that holds its receipt as well.

So a call is there once or not at all, and Redis itself says which one was the last. A second key counts the openings of
the sync; it is watched, so that a process that was thought dead cannot write after another has taken over. As durable
as Redis is set up to be: with `appendfsync always` what was delivered survives the server's own crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

import redis
from redis import exceptions

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.documents import documents
from headwater.deliver.key_text import names
from headwater.deliver.redis_settings import RedisSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.finding import Finding, distance, sentences, way

NO_KEY = "the record has no key: a part of it is null"


class RedisDestination:
    """See `headwater.deliver.destination.Destination`.

    Args:
        settings: from `headwater.yml`.
    """

    exactly_once = True
    wants_before = False
    repeats_keys = False
    send: Send = "newest"

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        _require(self.settings, sync)
        client = _client(self.settings)
        try:
            with _told("looking at Redis"):
                info: Any = client.info()
        finally:
            client.close()
        told = [f"{self._does(sync)} in Redis {info.get('redis_version')}, a call of records in one transaction"]
        if info.get("cluster_enabled"):
            raise DestinationStopped(
                "this Redis is a cluster, whose transactions cannot hold keys of several slots",
                hint="use a server that is not clustered",
            )
        if not info.get("aof_enabled"):
            told.append("Redis keeps no append-only file: what was delivered last is lost when it crashes")
        return told

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        address = urlsplit(self.settings.url.get_secret_value())
        client = _client(self.settings)
        try:
            with _told("asking Redis about itself"):
                found = [
                    way(address.hostname or "", encrypted=address.scheme == "rediss", mend="rediss:// in the url"),
                    *_kept(client),
                    *_rights(client, self.settings.prefix),
                    *distance(lambda: _clock_us(client), sync.clock),
                ]
        finally:
            client.close()
        return [*found, *sentences("keys", lambda: self.check(sync))]

    def open(self, sync: Sync) -> RedisSession:
        """See `Destination.open`."""
        _require(self.settings, sync)
        client = _client(self.settings)
        try:
            return RedisSession(self.settings, sync, client)
        except DestinationUnavailable:
            client.close()
            raise

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        told = []
        for name, value in _values(self.settings, sync, batch):
            if name is None:
                told.append(f"refused: {NO_KEY}")
            elif value is None:
                told.append(f"DEL {name}")
            else:
                told.append(f"HSET {name} {value}" if isinstance(value, dict) else f"SET {name} {value}")
        return told

    def _does(self, sync: Sync) -> str:
        name = f"{self.settings.prefix}<{':'.join(sync.key)}>"
        return f"takes {name} away at every change" if self.settings.on_change == "invalidate" else f"keeps {name}"


class RedisSession:
    """See `headwater.deliver.destination.Session`.

    Args:
        settings: from `headwater.yml`.
        sync: which is taken over from whoever had it.
        client: of its own.
    """

    def __init__(self, settings: RedisSettings, sync: Sync, client: redis.Redis) -> None:
        self._settings = settings
        self._sync = sync
        self._client = client
        self._receipt, self._owner = f"headwater:{sync.id}:receipt", f"headwater:{sync.id}:owner"
        with _told("opening the sync in Redis"):
            self._number = str(client.incr(self._owner))

    def held(self) -> str | None:
        """See `Session.held`."""
        with _told("asking Redis for the last call"):
            found: Any = self._client.get(self._receipt)
        outbox, _, receipt = (found or "").partition("\n")
        return receipt if outbox == self._sync.outbox else ""

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        refused: dict[int, str] = {}
        with _told("delivering to Redis"), cast(Any, self._client).pipeline(transaction=True) as pipe:
            pipe.watch(self._owner)
            self._require_ours(pipe)
            pipe.multi()
            for number, (name, value) in enumerate(_values(self._settings, self._sync, batch)):
                if name is None:
                    refused[number] = NO_KEY
                else:
                    self._write(pipe, name, value)
            outcomes = Outcomes.of(len(batch), refused)
            pipe.set(self._receipt, f"{self._sync.outbox}\n{batch.receipt(outcomes)}")
            try:
                pipe.execute()
            except exceptions.WatchError as error:  # somebody has opened the sync, or the connection broke
                self._require_ours(self._client)
                raise DestinationUnavailable(f"delivering to Redis failed: {error}") from None
        return outcomes

    def close(self) -> None:
        """See `Session.close`."""
        self._client.close()

    def _require_ours(self, client: Any) -> None:
        if client.get(self._owner) != self._number:
            raise _taken_over(self._sync)

    def _write(self, pipe: Any, name: str, value: str | dict[str, str] | None) -> None:
        ttl_ms = round(self._settings.ttl_s * 1000) if self._settings.ttl_s else None
        if isinstance(value, str):
            pipe.set(name, value, px=ttl_ms)
            return
        pipe.delete(name)
        if value:
            pipe.hset(name, mapping=value)
            if ttl_ms is not None:
                pipe.pexpire(name, ttl_ms)


def _values(
    settings: RedisSettings, sync: Sync, batch: Batch
) -> Iterator[tuple[str | None, str | dict[str, str] | None]]:
    """For each record the Redis key, None if it has none, and what it is to hold; None: it is to go."""
    keys = names(batch.rows, sync.key)
    gone = (batch.op == Op.DELETE) | (settings.on_change == "invalidate")
    values: list[Any] = [None] * len(batch)
    if settings.value == "string":
        values = names(batch.rows, [settings.column])
    elif settings.on_change == "keep":
        values = _json(batch) if settings.value == "json" else _hashes(batch)
    for key, away, value in zip(keys, gone.tolist(), values, strict=True):
        yield None if key is None else settings.prefix + key, None if away else value


def _json(batch: Batch) -> list[str]:
    return [text.decode() for text in documents(batch.rows)]


def _hashes(batch: Batch) -> list[dict[str, str]]:
    columns = {name: names(batch.rows, [name]) for name in batch.rows.column_names}
    rows = zip(*columns.values(), strict=True)
    return [{name: value for name, value in zip(columns, row, strict=True) if value is not None} for row in rows]


def _require(settings: RedisSettings, sync: Sync) -> None:
    if not sync.key:
        raise DestinationStopped(
            f"the model {sync.model} has no key, and a Redis key is named by it", hint=f"syncs: {sync.name}: key: [...]"
        )
    if settings.column and settings.column not in sync.columns.names:
        raise DestinationStopped(
            f"the model {sync.model} has no column {settings.column!r}",
            hint=f"its columns are {', '.join(sync.columns.names)}",
        )


def _client(settings: RedisSettings) -> redis.Redis:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        settings.url.get_secret_value(), decode_responses=True, socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip


def _clock_us(client: redis.Redis) -> int:
    second, micro = client.time()
    return int(second) * 1_000_000 + int(micro)


def _kept(client: redis.Redis) -> Iterator[Finding]:
    """Whether it keeps what it is given."""
    info: dict[str, Any] = client.info()
    policy, limit = str(info.get("maxmemory_policy", "")), int(info.get("maxmemory", 0))
    if limit and policy != "noeviction":
        told = f"maxmemory-policy is {policy}: keys go when memory is short"
        yield Finding("memory", "warn", told, "CONFIG SET maxmemory-policy noeviction, if nothing may be missing")
    else:
        yield Finding("memory", "ok", "no key is put out for want of memory")
    if info.get("aof_enabled"):
        yield Finding("durable", "ok", "there is an append-only file")
    else:
        told = "there is no append-only file: what was delivered last is lost when Redis crashes"
        yield Finding("durable", "warn", told, "CONFIG SET appendonly yes")


def _rights(client: redis.Redis, prefix: str) -> Iterator[Finding]:
    """What we may do; only who may look into the lists of rights can say."""
    key = f"{prefix}doctor"
    try:
        user = str(client.acl_whoami())
        told = [str(client.acl_dryrun(user, *command)) for command in (("SET", key, "1"), ("DEL", key), ("MULTI",))]
    except exceptions.ResponseError:
        yield Finding("rights", "ok", "Redis does not say what we may do; the first call tells")
        return
    refused = next((one for one in told if one != "OK"), "")
    mend = f"ACL SETUSER {user} ~{prefix}* +@all" if refused else ""
    yield Finding("rights", "fail" if refused else "ok", refused or f"{user} may write keys {prefix}*", mend)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Turns errors of the client into ours."""
    try:
        yield
    except exceptions.RedisError as error:
        _fail(error, doing)


def _fail(error: exceptions.RedisError, doing: str) -> NoReturn:
    refusals = (
        exceptions.AuthenticationError,
        exceptions.NoPermissionError,
        exceptions.AuthenticationWrongNumberOfArgsError,
    )
    if isinstance(error, refusals) or str(error).startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
        raise DestinationStopped(
            f"Redis refused us while {doing}: {error}", hint="check the sync's url and the user's permissions: ACL LIST"
        ) from None
    raise DestinationUnavailable(f"{doing} failed: {error}") from None


def _taken_over(sync: Sync) -> DestinationStopped:
    return DestinationStopped(
        f"another process has opened the sync {sync.id} since", hint="run one process per project: headwater status"
    )
