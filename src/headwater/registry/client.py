"""A foreign registry that speaks Confluent's protocol, read and written as `SchemaSource` wants it."""

from __future__ import annotations

import threading
from typing import Final
from urllib.parse import quote

import httpx

from headwater import outgoing
from headwater.errors import SourceStopped, SourceUnavailable, UserError
from headwater.formats.schema_source import Reference, SchemaText, SchemaType
from headwater.registry.settings import RegistrySettings

_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"
_TYPES: Final[dict[str, SchemaType]] = {"AVRO": "AVRO", "JSON": "JSON", "PROTOBUF": "PROTOBUF"}
_NO_SUCH_SCHEMA: Final = (40401, 40402, 40403)
MAX_BYTES: Final = 8 << 20


class RegistryClient:
    """See `SchemaSource`. What has an id is asked for once. Any thread may use it.

    Args:
        settings: how the registry is reached.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._url = settings.url.rstrip("/")
        self._http = outgoing.client(
            allow_private=settings.allow_private, timeout_s=settings.timeout_s, max_response_bytes=MAX_BYTES
        )
        self._http.headers["Accept"] = _ACCEPT
        if settings.token is not None:
            self._http.headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        elif settings.username is not None and settings.password is not None:
            self._http.auth = httpx.BasicAuth(settings.username, settings.password.get_secret_value())
        self._lock = threading.Lock()
        self._by_id: dict[int, SchemaText] = {}

    def schema(self, identifier: int) -> SchemaText | None:
        """See `SchemaSource.schema`."""
        with self._lock:
            known = self._by_id.get(identifier)
        if known is not None:
            return known
        found = self._ask("GET", f"/schemas/ids/{identifier}")
        if found is None:
            return None
        schema = _schema({**found, "id": identifier})
        with self._lock:
            self._by_id[identifier] = schema
        return schema

    def version(self, subject: str, version: int) -> SchemaText | None:
        """See `SchemaSource.version`."""
        name = "latest" if version == -1 else str(version)
        found = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/{name}")
        return None if found is None else _schema(found)

    def register(self, subject: str, schema: SchemaText) -> int:
        """See `SchemaSource.register`."""
        body: dict[str, object] = {"schema": schema.text, "schemaType": schema.type}
        if schema.references:
            body["references"] = [vars(reference) for reference in schema.references]
        found = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)
        if found is None or not isinstance(found.get("id"), int):
            raise UserError(f"the schema registry did not register the schema of {subject}")
        return int(str(found["id"]))

    def close(self) -> None:
        """Gives up its connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object] | None:
        """The registry's answer; None if it has no such schema."""
        try:
            answer = self._http.request(method, self._url + path, json=body)
        except httpx.TransportError as error:
            raise SourceUnavailable(f"the schema registry {self._url} does not answer: {error}") from error
        try:
            found = answer.json()
        except ValueError:
            found = None
        said = found if isinstance(found, dict) else {}
        if answer.status_code == 200 and isinstance(found, dict):
            return said
        if answer.status_code == 404 and said.get("error_code") in _NO_SUCH_SCHEMA:
            return None
        why = f"the schema registry {self._url} answers {answer.status_code}: {str(said.get('message', ''))[:300]}"
        if answer.status_code in (401, 403):
            raise SourceStopped(why, hint="mend username, password or token of the registry's settings")
        if method == "POST" and answer.status_code in (409, 422):
            raise UserError(
                why, hint="compatibility is the registry's to decide: change the columns or the subject's level"
            )
        raise SourceUnavailable(why)


def _schema(found: dict[str, object]) -> SchemaText:
    """A schema as the registry tells it.

    Raises:
        SourceUnavailable: that is no schema; the address leads to something else.
    """
    try:
        refs = found.get("references") or []
        references = tuple(Reference(str(r["name"]), str(r["subject"]), int(r["version"])) for r in refs)  # type: ignore[attr-defined]
        return SchemaText(
            int(str(found["id"])), _TYPES[str(found.get("schemaType") or "AVRO")], str(found["schema"]), references
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceUnavailable("the schema registry's answer is not a schema") from error
