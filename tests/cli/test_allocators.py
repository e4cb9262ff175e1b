"""A process that is Headwater's own keeps memory that it frees; one that only imports Headwater is left as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headwater.allocators import keep_freed


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMALLOC_PURGE_DELAY", "7")
    monkeypatch.delenv("NUMPY_MADVISE_HUGEPAGE", raising=False)
    monkeypatch.setattr(sys, "platform", "other")
    keep_freed()
    assert (os.environ["MIMALLOC_PURGE_DELAY"], os.environ["NUMPY_MADVISE_HUGEPAGE"]) == ("7", "0")


def test_importing_headwater_changes_nothing() -> None:
    code = "import os; before = dict(os.environ); import headwater; headwater.View; print(before == dict(os.environ))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_the_collector_looks_seldom_until_a_process_has_started() -> None:
    code = "import gc; before = gc.get_threshold(); from headwater.allocators import *; keep_freed();"
    code += "print(gc.get_threshold()[0] > 50 * before[0]); settle(); print(gc.get_threshold() == before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
