"""The lake's catalog over the Iceberg REST protocol, for reading only: Spark, Trino, DuckDB and PyIceberg attach.

What is answered: configuration, namespaces, tables, one table. A request that would write is answered 405, whatever its
path. Only names that the catalog lists are found, and none is ever made part of a path on disk. A page of another site
that is open in a browser on this machine can reach 127.0.0.1 too: so a request must name a host of ours (DNS
rebinding), and must not come from a page (Origin). Bound to anything but loopback, the server demands a token, which no
such page knows, and goes by any name.

`answer` knows nothing of sockets: `headwater catalog serve` and the web server of `headwater run` have it answer.
Credentials of the storage are not handed out; a reader has its own.

The protocol: Iceberg's `open-api/rest-catalog-open-api.yaml`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from pyiceberg.exceptions import NoSuchTableError

from headwater.errors import StorageFailed
from headwater.lake.iceberg.handle import storage_errors
from headwater.lake.iceberg.lake import IcebergLake

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
SEPARATOR = "\x1f"
"""Between the levels of a namespace in a path (of the protocol)."""

ENDPOINTS = (
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
)


@dataclass(frozen=True)
class Answer:
    """A status and a JSON value."""

    status: HTTPStatus
    body: Mapping[str, object]


class CatalogReader:
    """Answers requests from one lake.

    Args:
        lake: opened for reading.
        hosts: names, without port, by which this server may be asked; None: any.
        token: what a request must bear; None: nothing.
    """

    def __init__(self, lake: IcebergLake, hosts: Sequence[str] | None = LOOPBACK, token: str | None = None) -> None:
        self._lake, self._hosts, self._token = lake, hosts, token

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """The answer to a request.

        Args:
            method: in capitals.
            target: path and query, as sent.
            headers: by name in small letters.
        """
        refusal = self._refusal(method, headers)
        if refusal is not None:
            return refusal
        parts = tuple(unquote(part) for part in urlsplit(target).path.split("/")[1:])
        try:
            return self._found(parts)
        except StorageFailed:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException", "the catalog does not answer")

    def _refusal(self, method: str, headers: Mapping[str, str]) -> Answer | None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self._hosts is not None and name.lower() not in self._hosts:
            return _error(HTTPStatus.FORBIDDEN, "ForbiddenException", "this server does not go by that name")
        if "origin" in headers:
            return _error(HTTPStatus.FORBIDDEN, "ForbiddenException", "pages of a browser are not answered")
        borne = headers.get("authorization", "").encode()
        if self._token is not None and not secrets.compare_digest(borne, f"Bearer {self._token}".encode()):
            return _error(HTTPStatus.UNAUTHORIZED, "NotAuthorizedException", "a token is needed")
        if method not in ("GET", "HEAD"):
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "UnsupportedOperationException", "this catalog is read-only")
        return None

    def _found(self, parts: Sequence[str]) -> Answer:
        match parts:
            case ("v1", "config"):
                return _ok({"defaults": {}, "overrides": {}, "endpoints": list(ENDPOINTS)})
            case ("v1", "namespaces"):
                return _ok({"namespaces": [[self._lake.namespace]]})
            case ("v1", "namespaces", namespace, *rest) if namespace.split(SEPARATOR) == [self._lake.namespace]:
                return self._in_namespace(rest)
            case ("v1", "namespaces", *_):
                return _error(HTTPStatus.NOT_FOUND, "NoSuchNamespaceException", "there is no such namespace")
        return _error(HTTPStatus.NOT_FOUND, "NotFoundException", "there is no such endpoint")

    def _in_namespace(self, rest: Sequence[str]) -> Answer:
        match rest:
            case ():
                return _ok({"namespace": [self._lake.namespace], "properties": {}})
            case ("tables",):
                names = [{"namespace": [self._lake.namespace], "name": name} for name in self._lake.names()]
                return _ok({"identifiers": names})
            case ("tables", name):
                return self._table(name)
        return _error(HTTPStatus.NOT_FOUND, "NotFoundException", "there is no such endpoint")

    def _table(self, name: str) -> Answer:
        try:
            with storage_errors(f"reading table {name!r} from the catalog"):
                table = self._lake.catalog.load_table((self._lake.namespace, name))
        except NoSuchTableError:
            return _error(HTTPStatus.NOT_FOUND, "NoSuchTableException", "there is no such table")
        metadata = json.loads(table.metadata.model_dump_json())
        return _ok({"metadata-location": table.metadata_location, "metadata": metadata, "config": {}})


def _ok(body: Mapping[str, object]) -> Answer:
    return Answer(HTTPStatus.OK, body)


def _error(status: HTTPStatus, kind: str, message: str) -> Answer:
    return Answer(status, {"error": {"message": message, "type": kind, "code": int(status)}})
