"""The queries under tests/sql find a planted bug in every fast path, and only where that path is taken.

They are run as `test_sql_files` runs them: from the same seed, over the same history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from oracle import Case, compare, read_cases
from planted import BUGS, ELSEWHERE, Bug

from headwater.errors import HeadwaterError
from headwater.sql.check import forget
from headwater.sql.fast_paths import FAST_PATHS

CASES = list(read_cases(Path(__file__).parent.parent / "sql"))


@pytest.fixture(autouse=True)
def _planned_anew() -> Iterator[None]:
    """Some bugs are in plans: none made without them is used, nor is one made with them afterwards."""
    forget()
    yield
    forget()


def _fails(case: Case, folder: Path) -> bool:
    """Whether the oracle finds the engine wrong. What is no finding of its own, as a TypeError, goes through."""
    folder.mkdir()
    try:
        compare(case, 1, folder)
    except (AssertionError, HeadwaterError):
        return True
    return False


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.path}: {bug.what}")
def test_planted_bug_is_found(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case for case in CASES if case.name.startswith(bug.where)]
    assert cases, bug.where
    bug.plant(monkeypatch)
    for number, case in enumerate(cases):
        if _fails(case, tmp_path / str(number)):
            off = ",".join(filter(None, [case.settings.get("without", ""), bug.path]))
            without = replace(case, settings={**case.settings, "without": off})
            assert not _fails(without, tmp_path / "without"), "the general operator is wrong too"
            return
    pytest.fail(f"no query of {bug.where} finds it")


def test_every_fast_path_has_a_bug() -> None:
    assert {bug.path for bug in BUGS} | ELSEWHERE == set(FAST_PATHS)
