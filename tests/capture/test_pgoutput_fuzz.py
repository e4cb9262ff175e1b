"""A small run of the fuzzer (`make fuzz-pgoutput` for a large one), in a process of its own, for it may crash."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mutated_input_raises_declared_errors_only():
    arguments = ["-m", "tests.capture.pgoutput_fuzz", "--inputs", "8000", "--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "8000 inputs" in done.stdout
