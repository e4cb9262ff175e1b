"""`headwater test`: runs the tests of models, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output
from headwater.cli.opening import read_project

if TYPE_CHECKING:
    from headwater.project.model_tests import ModelTest
    from headwater.runtime.model_tests.comparison import Difference
    from headwater.runtime.model_tests.runner import Outcome


def test(*names: str, project: Path = Path(), record: str | None = None, rows: int = 5, json: bool = False) -> int:
    """Run the tests of the project's models, offline: no source, log, lake or state is touched.

    A test stands in tests/*.yml: rows that streams are given, and rows that models are expected to have then. The exit
    code is 5 if one is red.

    Args:
        names: Only tests of these names, or of files or models of these names.
        project: The project's folder.
        record: Write a test of this model from live data: some of its rows, and the rows of streams that make them.
        rows: About how many rows of the model are recorded.
        json: Print one JSON object to stdout.
    """
    opened = read_project(project)
    if record is not None:
        from headwater.serve.recorded_test import record_test

        path = record_test(opened, record, rows)
        output.note(f"wrote {path}")
        names = (path.stem,)
    outcomes = _run(opened.folder, names)
    red = [one for one in outcomes if not one.passed]
    code = output.WRONG_DATA if red else output.OK
    if json:
        output.print_json({"passed": len(outcomes) - len(red), "failed": len(red), "tests": list(map(_told, outcomes))})
        return code
    for one in outcomes:
        _print(one)
    if not outcomes:
        output.note(
            "no tests" + (f" called {', '.join(names)}" if names else ": write tests/NAME.yml, or --record MODEL")
        )
    else:
        took = sum(one.elapsed_ms for one in outcomes)
        output.note(f"{len(outcomes) - len(red)} passed, {len(red)} failed, in {took:.0f} ms")
    return code


def _run(folder: Path, names: tuple[str, ...]) -> list[Outcome]:
    from headwater.project.discovery import load_streams
    from headwater.project.mistakes import Mistakes
    from headwater.project.model_tests import read_tests
    from headwater.runtime.model_tests.runner import Runner

    opened, mistakes = read_project(folder), Mistakes()
    tests = read_tests(folder, mistakes)
    mistakes.raise_any()
    runner = Runner(opened, load_streams(opened.state))
    try:
        return [runner.run(one) for one in tests if _is_meant(one, names)]
    finally:
        runner.close()


def _is_meant(test: ModelTest, names: tuple[str, ...]) -> bool:
    return not names or any(name in (test.name, test.file.stem, *test.models) for name in names)


def _told(one: Outcome) -> dict[str, object]:
    mistake = None if one.mistake is None else output.error_json(one.mistake)[0]
    place = one.test.place
    return {
        "name": one.test.name, "file": place.file, "line": place.line, "passed": one.passed,
        "elapsed_ms": one.elapsed_ms, "mistake": mistake, "differences": [_difference(d) for d in one.differences],
    }  # fmt: skip


def _difference(found: Difference) -> dict[str, object]:
    columns = {name: {"expected": a, "found": b} for name, (a, b) in found.columns.items()}
    return {
        "what": found.what,
        "kind": found.kind,
        "expected": found.expected,
        "found": found.found,
        "columns": columns,
    }


def _print(one: Outcome) -> None:
    word, style = ("ok", "green") if one.passed else ("FAILED", "bold red")
    output.print_styled([(f"{word:6} ", style), (one.test.name, ""), (f"  {one.elapsed_ms:.0f} ms", "dim")])
    if one.mistake is not None:
        output.print_error(one.mistake)
    what = ""
    for found in one.differences:
        if found.what != what:
            what = found.what
            output.print_styled([(f"  {what}", "bold"), (f"  ({one.test.place})", "dim")])
        _print_difference(found)


def _print_difference(found: Difference) -> None:
    if found.kind in ("missing", "unexpected"):
        text, style = (found.expected, "red") if found.kind == "missing" else (found.found, "yellow")
        output.print_styled([(f"    {found.kind:10} ", style), (text, "")])
        return
    if found.kind != "differs":
        output.print_styled([("    expected ", "red"), (found.expected, ""), (", found ", "yellow"), (found.found, "")])
        return
    same = [part for part in found.expected.split(", ") if part.partition("=")[0] not in found.columns]
    output.print_styled([("    differs    ", "yellow"), (", ".join(same), "")])
    names = max(map(len, found.columns))
    width = max(len(expected) for expected, _ in found.columns.values())
    for name, (expected, came) in found.columns.items():
        line = [(f"      {name.ljust(names)}  expected ", ""), (expected.ljust(width), "red"), ("  found ", "")]
        output.print_styled([*line, (came, "green")])
