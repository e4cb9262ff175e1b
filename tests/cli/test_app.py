"""The edge: what is imported, what is printed where, and the exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.cli import app, output
from headwater.errors import (
    CheckFailed,
    CorruptCheckpoint,
    CorruptLog,
    DestinationStopped,
    DestinationUnavailable,
    HeadwaterError,
    InvariantBroken,
    Place,
    ProjectError,
    SourceStopped,
    SourceUnavailable,
    SqlError,
    StorageFailed,
    UserError,
)

HEAVY = ("pyarrow", "duckdb", "numba", "numpy", "pyiceberg", "psycopg", "sqlglot", "pydantic", "ruamel")


@pytest.mark.parametrize(
    "statement",
    ["import headwater", "import headwater.errors", "from headwater.cli.app import main; main(['--help'])",
     "from headwater.cli.app import main; main(['--version'])", "from headwater.cli.app import main; main(['chek'])"],
)  # fmt: skip
def test_nothing_heavy_is_imported_to_answer(statement: str) -> None:
    program = f"import sys\n{statement}\nprint(sorted({{name.split('.')[0] for name in sys.modules}}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = done.stderr.strip().splitlines()[-1]
    assert "'sys'" in imported
    assert [name for name in HEAVY if f"'{name}'" in imported] == []


def test_no_commands_module_is_imported_for_help() -> None:
    program = "import sys; from headwater.cli.app import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {name for name in done.stderr.split() if name.startswith("headwater.")}
    assert ours == {
        "headwater.cli",
        "headwater.cli.app",
        "headwater.cli.output",
        "headwater.errors",
        "headwater.redaction",
    }


@pytest.mark.parametrize("reader", ["runtime.status", "serve.query", "serve.tail"])
def test_the_engine_is_not_loaded_to_look_at_a_run(reader: str) -> None:
    program = f"import sys, headwater.{reader}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"headwater.{reader}" in done.stdout.split()
    assert [name for name in done.stdout.split() if name.startswith("headwater.engine")] == []


@pytest.mark.parametrize("command", [command.name for command in app.COMMANDS])
def test_every_command_has_help(command: str, run: Callable[..., object]) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert f"Usage: headwater {command}" in done.out


def test_a_command_shows_its_docstring(run: Callable[..., object]) -> None:
    assert "Every mistake is reported at once." in " ".join(run("check", "--help").out.split())


@pytest.mark.parametrize(
    ("arguments", "words", "see"),
    [
        (["chek"], 'Did you mean "check"', "headwater --help"),
        (["check", "--jsn"], "--json", "headwater check --help"),
        (["plan", "a", "b"], "b", "headwater plan --help"),
        (["log", "peek"], "SOURCE", "headwater log peek --help"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, see: str, run: Callable[..., object]) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert f"hint: {see}\n" in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 1),
        (StorageFailed("x"), 1),
        (InvariantBroken("x"), 1),
        (ProjectError([]), 3),
        (SqlError("x"), 3),
        (SourceUnavailable("x"), 4),
        (SourceStopped("x"), 4),
        (DestinationUnavailable("x"), 4),
        (DestinationStopped("x"), 4),
        (CorruptLog("x"), 5),
        (CorruptCheckpoint("x"), 5),
        (CheckFailed("x"), 5),
    ],
)
def test_exit_codes(error: HeadwaterError, code: int) -> None:
    assert output.exit_code(error) == code


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes the command `check` fail with `error`."""

    def check() -> None:
        raise error

    monkeypatch.setattr("headwater.cli.check.check", check)


def test_a_bug_is_one_line_and_a_file(monkeypatch: pytest.MonkeyPatch, run: Callable[..., object]) -> None:
    failing(monkeypatch, ZeroDivisionError("postgresql://u:hunter2@h\nmore"))
    done = run("check")
    assert done.code == 1
    assert done.err.startswith("internal error: ZeroDivisionError: postgresql://u:***@h; the traceback is in ")
    path = Path(done.err.rsplit(" ", 1)[1].strip())
    assert "ZeroDivisionError" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()


def test_interrupted(monkeypatch: pytest.MonkeyPatch, run: Callable[..., object]) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run("check").code == 130


def test_an_error_shows_the_line_and_a_caret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., object]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("name: x\n\ttabels: [1]\n")
    mistakes = [
        UserError("unknown key", hint="did you mean 'tables'?", place=Place(str(file), 2, 2)),
        UserError("also"),
    ]
    failing(monkeypatch, ProjectError(mistakes))
    done = run("check")
    assert done.code == 3
    assert done.out == ""
    assert done.err.splitlines() == [
        "error: unknown key [HW-USER]",
        f"  --> {file}:2:2",
        "  2 | \ttabels: [1]",
        "    | \t^^^^^^",
        "  hint: did you mean 'tables'?",
        "error: also [HW-USER]",
        "2 mistakes in the project",
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("    url: postgresql://u:hunter2@h/d", "    url: ***"),
        ("    url: ${SHOP_URL}  # x", "    url: ${SHOP_URL}  # x"),
        ("  s: {type: postgres, url: hunter2}", "  s: {type: postgres, url: ***"),
        ("    password: 'hunter2'", "    password: ***"),
        ("    api_key: hunter2", "    api_key: ***"),
        ("    warehouse: s3://k:hunter2@b", "    warehouse: s3://k:***@b"),
        ("    tables: [a]", "    tables: [a]"),
    ],
)
def test_no_line_shows_a_secret(tmp_path: Path, line: str, shown: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(line + "\n")
    excerpt = ["".join(text for text, _ in parts) for parts in output.excerpt(Place(str(file), 1, len(line)))]
    assert excerpt[1] == f"  1 | {shown}"
    assert "hunter2" not in "\n".join(excerpt)


@pytest.mark.parametrize("place", [Place("gone.yml", 3, 1), Place("gone.yml"), Place(__file__, 10**6, 1)])
def test_a_place_without_a_line_is_named_alone(place: Place) -> None:
    assert output.excerpt(place) == [[("  --> ", "blue"), (str(place), "")]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1") if no_color else monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    output.print_error(UserError("it [broke]", hint="mend it"))
    assert ("\x1b[1;31m" in terminal.getvalue()) is not no_color
    assert "it [broke]" in terminal.getvalue()


def test_json_is_one_object_with_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"name": "é"})
    assert capsys.readouterr().out == '{"v": 1, "name": "é"}\n'


def test_output_into_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "headwater.yml").write_text("name: shop\n")
    command = f"{sys.executable} -m headwater.cli.app plan {tmp_path} --json --all | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_an_error_as_json() -> None:
    error = ProjectError([UserError("what postgresql://u:hunter2@h", hint="mend", place=Place("f", 1, 2))])
    assert json.loads(json.dumps(output.error_json(error))) == [
        {"code": "HW-USER", "message": "what postgresql://u:***@h", "hint": "mend", "file": "f", "line": 1, "column": 2}
    ]
