"""What docs/http.md shows works as it stands there."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest
from fenced import DOCS, Block, blocks

from headwater.deliver.http_settings import HttpSettings
from headwater.project import load
from headwater.project.document import read_yaml
from headwater.project.mistakes import Mistakes
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor

PAGE = blocks(DOCS / "http.md")
DEADLINE_S = 60.0


def only(language: str, note: str = "") -> Block:
    return next(block for block in PAGE if (block.language, block.note) == (language, note))


def test_a_client_sends_and_waits(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "large.sql").write_text(only("sql").text)
    (tmp_path / "headwater.yml").write_text(only("yaml", "project").text.replace("8080", "0"))
    supervisor = Supervisor(load(tmp_path, environment={}), Journal(io.StringIO(), as_json=True))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        shown = only("python", "runs").text
        assert "http://127.0.0.1:8080" in shown
        ready = 'while client.post("/v1/streams/clicks", json=[]).status_code != 202: pass\n'
        program = shown.replace("http://127.0.0.1:8080", supervisor.api_url or "")
        program = re.sub(r"(client = .*\n)", rf"\1{ready}", program)
        exec(compile(program, "docs/http.md", "exec"), {})
    finally:
        supervisor.stop()
        thread.join(DEADLINE_S)


def test_the_sync_is_one() -> None:
    mistakes = Mistakes()
    document = read_yaml(
        only("yaml").text.replace("${CRM_TOKEN}", "t"), file="http.md", mistakes=mistakes, expand=_as_is
    )
    crm = dict(document.data["syncs"]["crm"])  # type: ignore[index, call-overload, arg-type]
    crm.pop("model")
    assert HttpSettings.model_validate(crm).token is not None


def _as_is(text: str, place: object, exact: bool) -> str:
    return text


@pytest.mark.parametrize("block", [block for block in PAGE if block.language == "yaml"], ids=lambda b: str(b.line))
def test_yaml_is_yaml(block: Block) -> None:
    mistakes = Mistakes()
    assert read_yaml(block.text, file="http.md", mistakes=mistakes, expand=_as_is) is not None
    assert not mistakes.found
