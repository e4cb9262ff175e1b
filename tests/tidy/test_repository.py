"""House rules about the repository as a whole: layers, failpoints, commands, and what must not stand in any file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from headwater import failpoint
from headwater.cli.app import COMMANDS, main

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "headwater"
REGISTRIES = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "crates" + ".io",
    "conda" + ".anaconda.org",
)


def files_kept() -> list[Path]:
    """The files under version control; where there is none, those of the folders that are."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    return [
        path for folder in ("src", "tests", "docs", "examples") for path in (ROOT / folder).rglob("*") if path.is_file()
    ]


def texts() -> Iterator[tuple[str, str]]:
    for path in files_kept():
        data = path.read_bytes()
        if b"\0" not in data:
            yield path.relative_to(ROOT).as_posix(), data.decode("utf-8", errors="replace")


def test_the_rooms_keep_their_layers() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def reached() -> Iterator[tuple[str, str]]:
    """Every literal name that is reached, with its place."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("reach", "failpoint.reach"):
                name = ast.literal_eval(node.args[0])
                yield name, f"{path.relative_to(SOURCE)}:{node.lineno}"


def test_every_failpoint_is_reached_and_every_one_reached_is_known() -> None:
    names = {name for name, _ in reached()}
    assert [place for name, place in reached() if name not in failpoint.NAMES] == []
    assert sorted(set(failpoint.NAMES) - names) == []


def test_no_file_names_a_package_registry() -> None:
    assert [(name, host) for name, text in texts() for host in REGISTRIES if host in text] == []


def test_no_file_holds_a_path_of_a_machine() -> None:
    home = re.compile(r"(?<![\w.])/(home|Users|root)/[a-z]")
    assert [name for name, text in texts() if home.search(text)] == []


def test_help_lists_every_command(capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert [command.name for command in COMMANDS if f"  {command.name}" not in help_text] == []


def test_every_command_has_a_module_of_its_name() -> None:
    modules = {command.name: command.function.split(":")[0] for command in COMMANDS}
    assert modules == {command.name: f"headwater.cli.{command.name}" for command in COMMANDS}
    assert [name for name in modules if not (SOURCE / "cli" / f"{name}.py").is_file()] == []
