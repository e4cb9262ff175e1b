"""`python -m tests.readers`, from the repository's root: tables of every shape, and of a crash campaign, read by Spark
and by what `tests/readers` reads them with. Exit code 1 if one reader sees other rows."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from tests.readers.example_lake import Row, counted, make, metadata_of
from tests.readers.readers import READERS

_ROOT = Path(__file__).parents[2]
_SPARK = Path(__file__).parent / "spark"
sys.path.insert(0, str(_ROOT / "bench"))

from side_by_side.environment import jars_of, java_home, last_lines, virtual_environment  # noqa: E402


def main() -> int:
    """Makes the tables, reads them and prints a line for each table and reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.readers")
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-readers-") as folder:
        lake = Path(folder) / "lake"
        tables = make(lake, given.epochs)
        locations = {name: metadata_of(lake, name) for name in tables}
        found = {label: {n: counted(read(at)) for n, at in locations.items()} for label, (_, read) in READERS.items()}
        version, found["Spark"] = _spark(locations, Path(folder))
    versions = {label: version for label, (version, _) in READERS.items()} | {"Spark": version}
    wrong = 0
    for label, rows in found.items():
        for name, table in tables.items():
            same = rows[name] == table.rows
            wrong += not same
            sys.stdout.write(
                f"{label} {versions[label]}  {name}  {rows[name].total()} rows  {'equal' if same else 'WRONG'}\n"
            )
    return 1 if wrong else 0


def _spark(locations: dict[str, str], folder: Path) -> tuple[str, dict[str, Counter[Row]]]:
    """Spark's version, and the rows that it sees by table."""
    builds = _ROOT / ".bench"
    python = virtual_environment(builds / "venv-spark-iceberg", _SPARK / "requirements.lock")
    jars = ",".join(map(str, jars_of(_SPARK / "pom.xml", builds / "spark-iceberg")))
    asked = {"jars": jars, "tables": {at: str(folder / name) for name, at in locations.items()}}
    environment = {**os.environ, "JAVA_HOME": str(java_home()), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [str(python), str(_SPARK / "job.py"), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        sys.exit(f"Spark: {last_lines(done.stderr)}")
    version = json.loads(done.stdout.splitlines()[-1])["spark"]
    return version, {name: counted(pq.read_table(folder / name)) for name in locations}


if __name__ == "__main__":
    sys.exit(main())
