"""The OpenAPI 3.1 document of the API, made of its endpoints and served at /v1/openapi.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import headwater
from headwater.console.endpoint import Endpoint
from headwater.console.shapes.problem import ProblemAnswer
from headwater.console.shapes.shape import Nothing

PATH = "/v1/openapi.json"
_REF = "#/components/schemas/{model}"
_PROBLEM = {"description": "Why not (RFC 9457).", "content": {
    "application/problem+json": {"schema": {"$ref": _REF.format(model="ProblemAnswer")}}}}  # fmt: skip


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document, as JSON has it."""
    answers = [endpoint.answer for endpoint in endpoints if endpoint.answer is not None]
    bodies = [endpoint.asks for endpoint in endpoints if endpoint.asks is not Nothing]
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in dict.fromkeys(answers)]
    wanted += [(model, "validation") for model in dict.fromkeys(bodies)]
    wanted.append((ProblemAnswer, "serialization"))
    named, definitions = models_json_schema(wanted, ref_template=_REF)
    schemas = {(model, mode): schema for (model, mode), schema in named.items()}
    components = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater",
            "version": headwater.__version__,
            "description": "A running project. Times are microseconds since 1970 UTC (`_us`), sizes bytes (`_bytes`), "
            "rates per second (`_per_s`). Where the server has a token, send `Authorization: Bearer TOKEN`.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    schema = schemas[(endpoint.answer, "serialization")] if endpoint.answer is not None else {"type": "string"}
    media = "text/event-stream" if endpoint.follow is not None else endpoint.media
    told: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path.removeprefix('/v1')}").strip("_"),
        "summary": endpoint.summary,
        "tags": [endpoint.noun],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)", endpoint.path)
        ],
        "responses": {
            "200": {"description": "The answer.", "content": {media: {"schema": schema}}},
            "default": _PROBLEM,
        },
    }
    if endpoint.asks is Nothing:
        return told
    asked = schemas[(endpoint.asks, "validation")]
    if endpoint.method == "GET":
        told["parameters"] += _query(components[asked["$ref"].rpartition("/")[2]])
    else:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": asked}}}
    return told


def _query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": of,
         **({"description": of["description"]} if "description" in of else {})}
        for name, of in schema.get("properties", {}).items()
    ]  # fmt: skip
