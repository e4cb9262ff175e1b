"""The JSON Schema that editors get says the same as the loader."""

from __future__ import annotations

from headwater.project.connectors import CONNECTORS, settings_class
from headwater.project.schema import json_schema
from headwater.project.settings import ProjectFile


def test_every_key_is_in_the_schema() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(ProjectFile.model_fields)
    for known in CONNECTORS:
        source = schema["$defs"][f"source_{known.type}"]
        names = {field.alias or name for name, field in settings_class(known).model_fields.items()}
        assert set(source["properties"]) >= {*names, "mirror", "streams"}
        assert source["properties"]["type"]["const"] == known.type
        assert source["additionalProperties"] is False


def test_a_reference_may_stand_where_a_number_is_wanted() -> None:
    records = json_schema()["$defs"]["RunSettings"]["properties"]["epoch_max_records"]
    assert records["anyOf"][0]["type"] == "integer"
    assert records["anyOf"][1] == {"type": "string", "pattern": r"\$\{"}
    assert records["default"] == 100_000


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    schema = json_schema()
    text = str(schema)
    for name in {part.split("'")[0] for part in text.split("#/$defs/")[1:]}:
        assert name in schema["$defs"]


def test_every_setting_is_described() -> None:
    for properties in [
        json_schema()["properties"],
        *(d.get("properties", {}) for d in json_schema()["$defs"].values()),
    ]:
        for name, field in properties.items():
            assert field.get("description") or "$ref" in field or "const" in field, name
