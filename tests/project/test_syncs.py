"""`syncs:` in `headwater.yml`: read, validated with places, and in the JSON Schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import ProjectError
from headwater.project.folder import load
from headwater.project.schema import json_schema

TOP = "name: shop\nsources:\n  db: {type: postgres, url: 'postgresql://u:p@h/d'}\n"


def project(folder: Path, syncs: str) -> Path:
    (folder / "models").mkdir()
    (folder / "models" / "scores.sql").write_text("SELECT id, score FROM customers", encoding="utf-8")
    (folder / "headwater.yml").write_text(TOP + syncs, encoding="utf-8")
    return folder


def mistakes(folder: Path, syncs: str) -> list[str]:
    with pytest.raises(ProjectError) as raised:
        load(project(folder, syncs), environment={})
    return [str(one) for one in raised.value.mistakes]


def test_a_sync_is_read(tmp_path: Path) -> None:
    text = (
        "syncs:\n  crm: {type: postgres, model: scores, key: id, start: changes, url: 'postgresql://u@h/d', table: t}\n"
    )
    (sync,) = load(project(tmp_path, text), environment={}).syncs
    assert (sync.name, sync.type, sync.model, sync.settings.key, sync.settings.start) == (
        "crm", "postgres", "scores", ("id",), "changes",
    )  # fmt: skip
    assert sync.own.model_dump()["table"] == "t"


@pytest.mark.parametrize(
    ("section", "line", "says"),
    [
        ("{type: postgress, model: scores}", 5, "unknown type of sync 'postgress'"),
        ("{type: postgres, model: score, url: x, table: t}", 5, "there is no model 'score'"),
        ("{type: postgres, model: scores, url: x, table: t, tabel: u}", 5, "unknown key 'tabel'"),
        ("{type: postgres, model: scores, table: t}", 5, "'url' is missing"),
        ("{type: postgres, model: scores, url: x, table: t, start: now}", 5, "start: expected 'all' or 'changes'"),
        ("{type: postgres, url: x, table: t}", 5, "'model' is missing"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, section: str, line: int, says: str) -> None:
    found = mistakes(tmp_path, f"syncs:\n  crm: {section}\n")
    assert any(f"headwater.yml:{line}:" in one and says in one for one in found), found


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "syncs:\n  crm: {type: postgres, model: scores, table: t, url: [hunter22]}\n")
    assert found and not any("hunter22" in one for one in found)


def test_the_schema_knows_every_destination() -> None:
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    assert {"model", "table", "type", "url"} <= set(definitions["sync_postgres"]["required"])
