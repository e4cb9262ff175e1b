"""What commands answer with --json is what their schemas say, to the last key."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from headwater.cli import app
from headwater.cli.answers import answers_schema

PROJECT = """
name: shop
api: {}
sources:
  clicks: {type: http, streams: {clicks: {columns: {id: int64, page: string}}}}
"""


def closed(schema: Any) -> Any:
    """The schema with no more keys allowed than it names: one that was added is to be written down."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(one) for name, one in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in made else made


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["doctor"], "doctor"), (["check", "--no-connect"], "check"), (["check"], "check"), (["log", "ls"], "log ls"),
        (["log", "verify"], "sentences"), (["status"], "error"),
    ],
)  # fmt: skip
def test_answers_are_as_their_schemas_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], name: str
) -> None:
    (tmp_path / "headwater.yml").write_text(PROJECT)
    (tmp_path / ".headwater" / "log").mkdir(parents=True)
    app.main([*command, str(tmp_path), "--json"])
    schema = answers_schema()["$defs"][name]  # type: ignore[index]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(capsys.readouterr().out), closed(schema))
