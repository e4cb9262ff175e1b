"""JSON Schema of `headwater.yml`, for editors: `# yaml-language-server: $schema=headwater.schema.json`."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from pydantic import BaseModel, ByteSize
from pydantic.json_schema import GenerateJsonSchema

from headwater.project.connectors import CONNECTORS, settings_class
from headwater.project.destinations import DESTINATIONS
from headwater.project.destinations import settings_class as sync_settings_class
from headwater.project.quantity import format_duration
from headwater.project.settings import ProjectFile, SourceSection, SyncSection

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, object]


class _Readable(GenerateJsonSchema):
    """Writes defaults as people write them in the file."""

    def encode_default(self, dft: object) -> object:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, ByteSize):
            return f"{dft.human_readable(separator=' ')}".replace(".0 ", " ")
        return super().encode_default(dft)


def schema_of(settings: type[BaseModel]) -> Schema:
    """The JSON Schema of one settings class, references into its own `$defs`."""
    return cast(Schema, settings.model_json_schema(schema_generator=_Readable))


def json_schema() -> Schema:
    """The schema of the whole file (draft 2020-12); a source is one of the connectors and a sync one of
    the destinations, told apart by `type`."""
    top = schema_of(ProjectFile)
    definitions = cast(Schema, top.pop("$defs", {}))
    properties = cast(dict[str, Schema], top["properties"])
    sources = [_one_of("source", one.type, SourceSection, settings_class(one), definitions) for one in CONNECTORS]
    syncs = [_one_of("sync", one.type, SyncSection, sync_settings_class(one), definitions) for one in DESTINATIONS]
    for name, branches in (("sources", sources), ("syncs", syncs)):
        named = cast(dict[str, Schema], properties[name]["patternProperties"])
        properties[name]["patternProperties"] = {pattern: {"anyOf": branches} for pattern in named}
        properties[name]["additionalProperties"] = False
    whole = {"$schema": DIALECT, **top, "title": "headwater.yml", "$defs": definitions}
    return cast(Schema, _open_to_references(whole))


def _one_of(what: str, kind: str, common: type[BaseModel], own: type[BaseModel], definitions: Schema) -> Schema:
    """A source or sync of one type: the keys that all have and its own, as a reference into `definitions`."""
    generic, special = schema_of(common), schema_of(own)
    for schema in (generic, special):
        definitions.update(cast(Schema, schema.pop("$defs", {})))
    properties = {**cast(Schema, generic["properties"]), **cast(Schema, special["properties"])}
    if "streams" in own.model_fields and "streams" in common.model_fields:
        properties["streams"] = _streams(f"{what}_{kind}", (generic, special), definitions)
    told = "The connector." if what == "source" else "The destination."
    properties["type"] = {"const": kind, "description": told}
    required = {*cast(list[str], generic.get("required", [])), *cast(list[str], special.get("required", []))}
    definitions[f"{what}_{kind}"] = {
        "type": "object",
        "description": special.get("description", ""),
        "properties": properties,
        "required": sorted(required | {"type"}),
        "additionalProperties": False,
    }
    return {"$ref": f"#/$defs/{what}_{kind}"}


def _streams(name: str, sections: tuple[Schema, Schema], definitions: Schema) -> Schema:
    """The `streams` of a source whose type has settings of its own for each: the keys of both."""
    parts = [cast(dict[str, Schema], section["properties"])["streams"] for section in sections]
    named = [str(cast(Schema, part["additionalProperties"])["$ref"]).rpartition("/")[2] for part in parts]
    each = [cast(Schema, definitions[one]) for one in named]
    properties = {key: value for one in each for key, value in cast(Schema, one["properties"]).items()}
    definitions[f"{name}_stream"] = {**each[1], "properties": properties}
    return {**parts[1], "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{name}_stream"}, {"type": "null"}]}}


def _open_to_references(schema: object) -> object:
    """Lets `${NAME}` stand where a number, true or false is wanted."""
    if isinstance(schema, list):
        return [_open_to_references(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {name: _open_to_references(value) for name, value in schema.items()}
    if opened.get("type") not in ("integer", "number", "boolean"):
        return opened
    outside = {name: opened.pop(name) for name in ("title", "description", "default", "examples") if name in opened}
    return {**outside, "anyOf": [opened, {"type": "string", "pattern": r"\$\{"}]}
