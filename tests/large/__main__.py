"""`python -m tests.large --megabytes 5000`, from the repository's root. Exit code 1 if the limit did not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.large.transaction import Case, as_json, run


def main() -> int:
    """Runs one case and prints its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.large")
    parser.add_argument("--megabytes", type=int, default=5000)
    parser.add_argument("--row-bytes", type=int, default=1000)
    parser.add_argument("--memory-mb", type=int, default=400, help="run.memory")
    parser.add_argument("--limit-mb", type=int, default=1000)
    parser.add_argument("--deadline-s", type=float, default=1800.0)
    parser.add_argument("--no-model", action="store_true")
    given = parser.parse_args()
    case = Case(given.megabytes, given.row_bytes, given.memory_mb, given.limit_mb, given.deadline_s, not given.no_model)
    with tempfile.TemporaryDirectory(prefix="headwater-large-") as folder:
        figures = run(case, Path(folder) / "big")
    sys.stdout.write(as_json(figures) + "\n")
    return 0 if figures.right and figures.peak_own_mb <= case.limit_mb else 1


if __name__ == "__main__":
    sys.exit(main())
