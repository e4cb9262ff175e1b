"""One transaction several times as large as the memory for it; `make large MEGABYTES=5000` for the size that counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEFORE, ROWS = 10, 60_000


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_a_transaction_larger_than_its_memory_becomes_visible_at_once():
    given = ["--megabytes", "60", "--memory-mb", "32", "--deadline-s", "120"]
    command = [sys.executable, "-m", "tests.large", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert figures["right"] and figures["rows"] == ROWS
    assert figures["seen"][-1] == BEFORE + ROWS and set(figures["seen"]) <= {BEFORE, BEFORE + ROWS}
    assert figures["peak_own_mb"] < 450, "an idle process takes 200"
