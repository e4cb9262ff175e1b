"""functions/*.py: loaded, called by models, part of their fingerprints; mistakes with their place."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from headwater.errors import ProjectError
from headwater.project import load
from headwater.project.check import check
from headwater.runtime.dataflow import view_of
from headwater.schema import StreamSchema

FUNCTION = """\
import pyarrow.compute as pc
import headwater

@headwater.udf(["VARCHAR"], "VARCHAR")
def shouted(words):
    return pc.binary_join_element_wise(pc.utf8_upper(words), "!", "")
"""
COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string())])
PROJECT = "name: shop\nsources: {shop: {type: postgres, url: 'postgresql://x@y/z'}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "headwater.yml": PROJECT,
        "functions/words.py": FUNCTION,
        "models/loud.sql": "SELECT id, shouted(name) AS name FROM people",
        "models/quiet.sql": "SELECT id FROM people",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_models_call_them(folder: Path) -> None:
    project = load(folder, environment={})
    assert set(check(project, [StreamSchema("people", COLUMNS, ("id",), "full")])) == {"loud", "quiet"}
    loud, quiet = sorted(project.models, key=lambda model: model.name)
    assert [len(model.functions) for model in (loud, quiet)] == [1, 0]
    view = view_of(loud, {"people": COLUMNS})
    view.apply({"people": pa.table([[1], ["hey"]], schema=COLUMNS)})
    assert view.result().to_pylist() == [{"id": 1, "name": "HEY!"}]
    view.close()


def test_a_changed_function_changes_the_models_that_call_it(folder: Path) -> None:
    before = {model.name: model.fingerprint for model in load(folder, environment={}).models}
    (folder / "functions" / "words.py").write_text(FUNCTION.replace('"!"', '"?"'))
    after = {model.name: model.fingerprint for model in load(folder, environment={}).models}
    assert before["loud"] != after["loud"] and before["quiet"] == after["quiet"]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("import nonesuch\n", ":1", "No module named 'nonesuch'"),
        ("x = 1\ndef f(:\n", ":2", "not Python"),
        (FUNCTION.replace('["VARCHAR"]', '["VARCHR"]'), ":4", "no type VARCHR"),
        (FUNCTION + FUNCTION.replace("shouted", "said").replace("def said", "def shout2").replace(
            '["VARCHAR"], "VARCHAR"', '["VARCHAR"], "VARCHAR", name="shouted"'), "", "two functions"),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(folder: Path, text: str, place: str, message: str) -> None:
    (folder / "functions" / "words.py").write_text(text)
    with pytest.raises(ProjectError) as raised:
        load(folder, environment={})
    told = [str(mistake) for mistake in raised.value.mistakes]
    assert any(f"words.py{place}" in one and message in one for one in told), told
