"""Every command speaks JSON, and what a command says in sentences is one object."""

import json
from pathlib import Path

import pytest
from cyclopts import App

from headwater.cli import app, output
from headwater.errors import UserError

MADE = "name: shop\nsources:\n  shop: {type: postgres, url: '${SHOP_URL}'}\n"


def leaves(of: App, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command that does something, by what is typed."""
    below = [name for name in of if not name.startswith("-")]
    own = [path] if of.default_command is not None and path else []
    return own + [leaf for name in below for leaf in leaves(of[name], (*path, name))]


COMMANDS = leaves(app.build())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_json(command: tuple[str, ...]) -> None:
    built = app.build()
    for name in command:
        built = built[name]
    found = [n for argument in built.assemble_argument_collection() for n in argument.names]
    assert "--json" in found, " ".join(command)


def test_there_are_as_many_as_are_known() -> None:
    assert len(COMMANDS) > 45
    assert {("status",), ("rejects", "replay"), ("tables", "tag", "make"), ("run",)} <= set(COMMANDS)


def test_sentences_become_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "headwater.yml").write_text(MADE)
    (tmp_path / ".headwater" / "log").mkdir(parents=True)
    assert app.main(["log", "verify", str(tmp_path), "--json"]) == output.OK
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"v": 1, "code": 0, "said": [], "lines": [], "tables": [], "warnings": []}
    assert captured.err == ""


def test_listening_takes_everything_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with output.gathered() as said:
        output.note("done")
        output.warn("it is slow", "wait")
        output.print_data("a line")
        output.print_table(["n"], [["1"]])
        output.print_error(UserError("no"))
    assert said.as_dict() == {
        "said": ["done"], "lines": ["a line"], "tables": [{"columns": ["n"], "rows": [["1"]]}],
        "warnings": [{"message": "it is slow", "hint": "wait"}],
    }  # fmt: skip
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: no [HW-USER]\n")


def test_an_error_is_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["status", str(tmp_path), "--json"]) == output.INVALID
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["v"], told["code"]) == (1, output.INVALID)
    assert told["errors"][0]["message"] in captured.err


def test_completion_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert app.main(["--install-completion", "--shell", "bash"]) == output.OK
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "accept-gap" in written and "--json" in written
