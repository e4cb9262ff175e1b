"""Every model and setting on the page about models is accepted, refused or explained as the page says."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from fenced import DOCS, Block, blocks

from headwater.engine.view import View
from headwater.project import load
from headwater.project.document import read_yaml
from headwater.project.front_matter import split
from headwater.project.mistakes import Mistakes
from headwater.project.settings import ModelSettings
from headwater.project.validation import validate
from headwater.sql.check import check
from headwater.sql.fast_paths import Options
from headwater.sql.functions import Function
from headwater.sql.last_resort import last_resorts

PAGE = blocks(DOCS / "models.md")
AMOUNT, TIME = pa.decimal128(10, 2), pa.timestamp("us", "UTC")
INPUTS = {
    "orders": pa.schema(
        [("id", pa.int32()), ("customer", pa.int32()), ("status", pa.string()), ("amount", AMOUNT), ("placed_at", TIME)]
    ),
    "customers": pa.schema([("id", pa.int32()), ("name", pa.string()), ("city", pa.string())]),
    "payments": pa.schema([("id", pa.int32()), ("order_id", pa.int32()), ("amount", AMOUNT), ("paid_at", TIME)]),
}


def functions() -> list[Function]:
    """What the page's Python defines."""
    found: dict[str, object] = {}
    for block in PAGE:
        if block.language == "python":
            exec(compile(block.text, "models.md", "exec"), found)
    return [value for value in found.values() if isinstance(value, Function)]


FUNCTIONS = functions()


def place(block: Block) -> str:
    return f"line {block.line}"


def parts(block: Block) -> tuple[ModelSettings, str]:
    """A model's settings and SQL, as a project reads them."""
    mistakes = Mistakes()
    text = split(block.text)
    document = read_yaml(text.front_matter, file="models.md", mistakes=mistakes)
    assert document is not None
    settings = validate(ModelSettings, document.data, document=document, path=(), mistakes=mistakes)
    mistakes.raise_any()
    assert settings is not None
    return settings, text.sql


def view(block: Block) -> View:
    settings, sql = parts(block)
    return View(
        sql,
        INPUTS,
        key=settings.key,
        emit=settings.emit,
        lateness=settings.lateness,
        late=settings.late,
        name="model",
        recompute=settings.recompute,
        functions=FUNCTIONS,
    )


@pytest.mark.parametrize("block", [b for b in PAGE if b.language == "sql" and not b.note], ids=place)
def test_models_that_are_kept_up_to_date(block: Block) -> None:
    made = view(block)
    rows = {name: schema.empty_table() for name, schema in INPUTS.items()}
    made.apply({name: table for name, table in rows.items() if name in block.text})
    assert made.counts.holds


@pytest.mark.parametrize("block", [b for b in PAGE if b.note.startswith("refused:")], ids=place)
def test_models_that_are_refused(block: Block) -> None:
    said = check(block.text, INPUTS).mistakes
    assert [mistake.message for mistake in said if block.note.removeprefix("refused: ") in mistake.message]


@pytest.mark.parametrize("block", [b for b in PAGE if b.note.startswith("last resort:")], ids=place)
def test_models_that_are_computed_again_at_every_change(block: Block) -> None:
    plan = check(block.text, INPUTS).plan
    assert plan is not None
    (found,) = last_resorts(plan)
    assert block.note.removeprefix("last resort: ") in found.why
    (mistake,) = check(block.text, INPUTS, options=Options(recompute="refused")).mistakes
    assert "recompute: allowed" in mistake.hint


@pytest.mark.parametrize("at", [i for i, b in enumerate(PAGE) if b.note == "explain"], ids=lambda at: place(PAGE[at]))
def test_explanations(at: int) -> None:
    assert view(PAGE[at - 1]).explain() == PAGE[at].text.rstrip("\n")


@pytest.mark.parametrize("block", [b for b in PAGE if b.language == "yaml"], ids=place)
def test_settings_are_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "headwater.yml").write_text(block.text)
    assert load(tmp_path, environment={}).sources


def test_the_page_has_something_of_each_kind() -> None:
    notes = {block.note.partition(":")[0] for block in PAGE}
    assert {"", "refused", "explain", "last resort"} <= notes
    assert FUNCTIONS
    assert any(block.language == "yaml" for block in PAGE)
