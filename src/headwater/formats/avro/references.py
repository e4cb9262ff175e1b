"""A registered schema with the named types of the schemas that it refers to."""

from __future__ import annotations

from headwater.formats.avro.schema import AvroSchema, AvroSchemaError, AvroType, parse
from headwater.formats.schema_source import SchemaSource, SchemaText

MAX_REFERENCES = 1000


def parse_registered(schema: SchemaText, registry: SchemaSource) -> AvroSchema:
    """Reads a schema of the registry.

    Raises:
        AvroSchemaError: it is not valid, or refers to what is not there.
        SourceUnavailable: the registry does not answer.
    """
    return parse(schema.text, _known(schema, registry, set()))


def _known(schema: SchemaText, registry: SchemaSource, seen: set[tuple[str, int]]) -> dict[str, AvroType]:
    names: dict[str, AvroType] = {}
    for reference in schema.references:
        place = (reference.subject, reference.version)
        if place in seen:
            continue
        seen.add(place)
        found = registry.version(*place)
        if found is None or len(seen) > MAX_REFERENCES:
            raise AvroSchemaError(f"the schema refers to {place[0]} version {place[1]}, which is not registered")
        names |= parse(found.text, {**names, **_known(found, registry, seen)}).names
    return names
