"""Confluent's schema registry REST API, version 1, over the schema store: what its clients ask for, and its error codes
("Schema Registry API Reference", docs.confluent.io). Contexts, exporters and data contracts are not there.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headwater.errors import HeadwaterError
from headwater.formats.schema_source import Reference, SchemaText
from headwater.registry import registration
from headwater.registry.registration import LEVELS, MODES, TYPES, RegistryRefusal
from headwater.registry.store import GLOBAL, SchemaStore, Version

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MAX_BODY: Final = 2 << 20
Body = dict[str, object]
Action = Callable[["Call"], object]


class Call:
    """One request: where it is about, and what it says.

    Args:
        store: the schemas.
        request: as it came.
        body: its JSON object, empty if it has none.
    """

    def __init__(self, store: SchemaStore, request: Request, body: Body) -> None:
        self.store = store
        self.body = body
        self._request = request

    @property
    def subject(self) -> str:
        """The subject of the path; the name for all of them if it has none."""
        return str(self._request.path_params.get("subject", GLOBAL))

    def flag(self, name: str) -> bool:
        """Whether the query sets something."""
        return self._request.query_params.get(name, "").lower() == "true"

    def text(self, name: str, default: str = "") -> str:
        """A value of the query or the path."""
        return str(self._request.path_params.get(name, self._request.query_params.get(name, default)))

    def page(self, found: list[object]) -> list[object]:
        """What `offset` and `limit` leave."""
        try:
            offset, limit = int(self.text("offset", "0")), int(self.text("limit", "-1"))
        except ValueError as error:
            raise RegistryRefusal(422, "offset and limit are numbers") from error
        return found[offset : offset + limit] if limit >= 0 else found[offset:]

    def schema(self) -> SchemaText:
        """The schema in the body.

        Raises:
            RegistryRefusal: there is none, or of a type that is not known.
        """
        text, kind = self.body.get("schema"), self.body.get("schemaType") or "AVRO"
        if not isinstance(text, str) or not text:
            raise RegistryRefusal(42201, "Invalid schema: empty")
        if kind not in TYPES:
            raise RegistryRefusal(42201, f"Invalid schema type {kind}")
        refs = self.body.get("references") or []
        try:
            references = tuple(Reference(str(r["name"]), str(r["subject"]), int(r["version"])) for r in refs)  # type: ignore[attr-defined]
        except (TypeError, KeyError, ValueError) as error:
            raise RegistryRefusal(42201, "Invalid schema: references need name, subject and version") from error
        return SchemaText(0, next(known for known in TYPES if known == kind), text, references)

    def identifier(self) -> SchemaText:
        """The schema whose id is in the path."""
        text = self.text("id")
        found = self.store.schema(int(text)) if text.isdigit() and len(text) < 19 else None
        if found is None:
            raise RegistryRefusal(40403, f"Schema {text} not found")
        return found

    def versions(self, *, deleted: bool = False) -> list[Version]:
        """The subject's versions.

        Raises:
            RegistryRefusal: there is no such subject.
        """
        found = self.store.versions(self.subject, deleted=deleted, streams=True)
        if not found:
            raise RegistryRefusal(40401, f"Subject '{self.subject}' not found.")
        return found

    def version(self, *, deleted: bool = False) -> Version:
        """The version in the path."""
        return self.among(self.versions(deleted=deleted))

    def among(self, versions: list[Version]) -> Version:
        """Of these versions the one in the path."""
        text = self.text("version")
        if text in ("latest", "-1"):
            return versions[-1]
        if not text.isdigit() or not 0 < int(text) < 1 << 31:
            raise RegistryRefusal(
                42202, f"The specified version '{text}' is not a valid version id: a number from 1 on, or 'latest'"
            )
        found = next((each for each in versions if each.version == int(text)), None)
        if found is None:
            raise RegistryRefusal(40402, f"Version {text} not found.")
        return found


def _shown(schema: SchemaText, call: Call) -> Body:
    text = schema.text
    if schema.type == "PROTOBUF":
        from headwater.formats.protobuf.schema import as_serialized, as_text

        text = (as_serialized if call.text("format") == "serialized" else as_text)(schema, call.store)
    shown: Body = {"schema": text}
    if schema.type != "AVRO":
        shown["schemaType"] = schema.type
    if schema.references:
        shown["references"] = [vars(reference) for reference in schema.references]
    return shown


def _version(version: Version, call: Call) -> Body:
    named = {"subject": version.subject, "version": version.version, "id": version.schema.id}
    return {**named, **_shown(version.schema, call)}


def _register(call: Call) -> object:
    made = registration.register(call.store, call.subject, call.schema())
    return {"id": made.schema.id, "version": made.version, **_shown(made.schema, call)}


def _look_up(call: Call) -> object:
    found = registration.same(call.store, call.versions(deleted=call.flag("deleted")), call.schema())
    if found is None:
        raise RegistryRefusal(40403, "Schema not found")
    return _version(found, call)


def _subjects(call: Call) -> object:
    names = call.store.subjects(deleted=call.flag("deleted") or call.flag("deletedOnly"))
    if call.flag("deletedOnly"):
        names = [name for name in names if name not in call.store.subjects()]
    prefix = call.text("subjectPrefix").removeprefix(":*:")
    return call.page([name for name in names if name.startswith(prefix)])


def _versions(call: Call) -> object:
    return call.page([each.version for each in call.versions(deleted=call.flag("deleted"))])


def _delete_subject(call: Call) -> object:
    _may_change(call)
    purge = call.flag("permanent")
    with call.store.transaction():
        every = call.versions(deleted=True)
        live = [each for each in every if not each.deleted]
        if purge and live:
            raise RegistryRefusal(
                40405, f"Subject '{call.subject}' was not deleted first before being permanently deleted"
            )
        if not purge and not live:
            raise RegistryRefusal(
                40404, f"Subject '{call.subject}' was soft deleted. Set permanent=true to delete permanently"
            )
        _unreferenced(call, live)
        numbers = [each.version for each in (every if purge else live)]
        call.store.delete(call.subject, numbers, purge=purge)
    return numbers


def _delete_version(call: Call) -> object:
    _may_change(call)
    purge = call.flag("permanent")
    with call.store.transaction():
        found = call.among(call.versions(deleted=True))
        name = f"Subject '{call.subject}' Version {found.version}"
        if purge and not found.deleted:
            raise RegistryRefusal(
                40407,
                f"{name} was not deleted first before being permanently deleted",
            )
        if not purge and found.deleted:
            raise RegistryRefusal(
                40406,
                f"{name} was soft deleted. Set permanent=true to delete permanently",
            )
        _unreferenced(call, [found])
        call.store.delete(call.subject, [found.version], purge=purge)
    return found.version


def _unreferenced(call: Call, versions: list[Version]) -> None:
    for each in versions:
        users = call.store.referrers(each.subject, each.version)
        if users:
            raise RegistryRefusal(
                42206, f"One or more references exist to the schema {each.subject} version {each.version}"
            )


def _may_change(call: Call) -> None:
    if not call.store.is_registered(call.subject) and call.store.versions(call.subject, streams=True):
        raise RegistryRefusal(42205, f"Subject {call.subject} is read-only: it says what a stream was like")
    mode = registration.mode_of(call.store, call.subject)
    if mode != "READWRITE":
        raise RegistryRefusal(42205, f"Subject {call.subject} is in {mode} mode")


def _compatibility(call: Call) -> object:
    schema = call.schema()
    registration.validate(call.store, schema)
    level = registration.level_of(call.store, call.subject)
    if call.text("version"):
        before, level = [call.version()], level.removesuffix("_TRANSITIVE")
    else:
        before = call.store.versions(call.subject)
    wrong = registration.incompatibilities(call.store, level, schema, [each.schema for each in before])
    return {"is_compatible": not wrong, **({"messages": wrong} if call.flag("verbose") else {})}


def _config(call: Call) -> object:
    own = call.store.setting("compatibility", call.subject)
    if own is None and call.subject and not call.flag("defaultToGlobal"):
        raise RegistryRefusal(40408, f"Subject '{call.subject}' does not have subject-level compatibility configured")
    return {"compatibilityLevel": own or registration.level_of(call.store, call.subject)}


def _set_config(call: Call) -> object:
    level = call.body.get("compatibility")
    if level not in LEVELS:
        raise RegistryRefusal(42203, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}")
    call.store.set("compatibility", str(level), call.subject)
    return {"compatibility": level}


def _unset_config(call: Call) -> object:
    before = _config(call)
    call.store.set("compatibility", None, call.subject)
    return before


def _mode(call: Call) -> object:
    own = call.store.setting("mode", call.subject)
    if own is None and call.subject and not call.flag("defaultToGlobal"):
        raise RegistryRefusal(40409, f"Subject '{call.subject}' does not have subject-level mode configured")
    return {"mode": own or registration.mode_of(call.store, call.subject)}


def _set_mode(call: Call) -> object:
    mode = call.body.get("mode")
    if mode not in MODES:
        raise RegistryRefusal(42204, f"Invalid mode. Valid values are {', '.join(MODES)}")
    if mode == "IMPORT":
        raise RegistryRefusal(42205, "Schemas cannot be imported with ids of their own")
    call.store.set("mode", str(mode), call.subject)
    return {"mode": mode}


def _unset_mode(call: Call) -> object:
    before = _mode(call)
    call.store.set("mode", None, call.subject)
    return before


def _uses(call: Call) -> list[tuple[str, int]]:
    return call.store.uses(call.identifier().id, deleted=call.flag("deleted"))


def _every(call: Call) -> object:
    prefix, latest = call.text("subjectPrefix").removeprefix(":*:"), call.flag("latestOnly")
    names = [name for name in call.store.subjects() if name.startswith(prefix)]
    found = [each for name in names for each in call.store.versions(name, streams=True)[-1 if latest else 0 :]]
    return call.page([_version(each, call) for each in found])


_S, _V = "/subjects/{subject:path}", "/subjects/{subject:path}/versions/{version}"
_ACTIONS: Final[tuple[tuple[str, str, Action], ...]] = (
    ("GET", "/", lambda call: {}),
    ("GET", "/contexts", lambda call: ["."]),
    ("GET", "/schemas", _every),
    ("GET", "/schemas/types", lambda call: list(TYPES)),
    ("GET", "/schemas/ids/{id}", lambda call: _shown(call.identifier(), call)),
    ("GET", "/schemas/ids/{id}/schema", lambda call: _raw(call.identifier(), call)),
    ("GET", "/schemas/ids/{id}/subjects", lambda call: call.page([subject for subject, _ in _uses(call)])),
    ("GET", "/schemas/ids/{id}/versions", lambda call: [{"subject": s, "version": v} for s, v in _uses(call)]),
    ("GET", "/subjects", _subjects),
    ("GET", f"{_V}/schema", lambda call: _raw(call.version(deleted=call.flag("deleted")).schema, call)),
    ("GET", f"{_V}/referencedby", lambda call: call.store.referrers(call.subject, call.version().version)),
    ("GET", _V, lambda call: _version(call.version(deleted=call.flag("deleted")), call)),
    ("DELETE", _V, _delete_version),
    ("GET", f"{_S}/versions", _versions),
    ("POST", f"{_S}/versions", _register),
    ("POST", _S, _look_up),
    ("DELETE", _S, _delete_subject),
    ("POST", f"/compatibility{_V}", _compatibility),
    ("POST", f"/compatibility{_S}/versions", _compatibility),
    *((method, path, action)
      for path in ("/config", "/config/{subject:path}")
      for method, action in (("GET", _config), ("PUT", _set_config), ("DELETE", _unset_config))),
    *((method, path, action)
      for path in ("/mode", "/mode/{subject:path}")
      for method, action in (("GET", _mode), ("PUT", _set_mode), ("DELETE", _unset_mode))),
)  # fmt: skip


def _raw(schema: SchemaText, call: Call) -> object:
    text = str(_shown(schema, call)["schema"])
    return text if schema.type == "PROTOBUF" else json.loads(text)


def routes(store: SchemaStore) -> list[Route]:
    """The routes, to be mounted where clients are told the registry is."""
    return [Route(path, _endpoint(store, action), methods=[method]) for method, path, action in _ACTIONS]


def _endpoint(store: SchemaStore, action: Action) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = await _body(request)
            return _response(200, await run_in_threadpool(action, Call(store, request, body)))
        except RegistryRefusal as refusal:
            status = refusal.confluent if refusal.confluent < 1000 else refusal.confluent // 100
            return _response(status, {"error_code": refusal.confluent, "message": str(refusal)})
        except HeadwaterError as error:
            return _response(500, {"error_code": 50001, "message": str(error)})

    return answer


async def _body(request: Request) -> Body:
    if request.method not in ("POST", "PUT"):
        return {}
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise RegistryRefusal(413, "the request is too large")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RegistryRefusal(400, "the request is not JSON") from error
    if not isinstance(found, dict):
        raise RegistryRefusal(422, "the request is not a JSON object")
    return cast(Body, found)


def _response(status: int, content: object) -> Response:
    return Response(json.dumps(content), status, media_type=MEDIA_TYPE)
