"""Readers that run in a JVM of their own, Spark and Flink. Both find the tables through the catalog that Headwater
serves, as docs/lake.md says, and each reads many tables in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.lake.iceberg.lake import IcebergLake
from headwater.serve.iceberg_rest import CatalogServer

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_BUILDS = _ROOT / ".bench"
_HEAP = "-Xmx512m"
sys.path.insert(0, str(_ROOT / "bench"))

from side_by_side.environment import compiled, jars_of, java_home, last_lines, virtual_environment  # noqa: E402

Place = tuple[Path, str, str]
"""A table: the folder of its lake, its namespace, its name."""
_OPENED = ("java.lang", "java.net", "java.nio", "java.time", "java.util", "java.util.concurrent", "sun.nio.ch")


def spark(tables: Collection[Place], folder: Path) -> tuple[str, dict[Place, pa.Table]]:
    """What Spark sees.

    Args:
        tables: which.
        folder: for what it writes.

    Returns:
        Its version, and the rows by table.
    """
    python = virtual_environment(_BUILDS / "venv-spark-iceberg", _HERE / "spark" / "requirements.lock")
    jars = ",".join(map(str, jars_of(_HERE / "spark" / "pom.xml", _BUILDS / "spark-iceberg")))
    copies = {place: folder / f"spark-{number}" for number, place in enumerate(tables)}
    environment = {"SPARK_LOCAL_IP": "127.0.0.1", "_JAVA_OPTIONS": _HEAP}
    with ExitStack() as stack:
        addresses = _served(stack, tables)
        rows = [[addresses[place[:2]], place[1], place[2], str(copy)] for place, copy in copies.items()]
        (folder / "spark.json").write_text(json.dumps({"jars": jars, "tables": rows}), encoding="utf-8")
        said = _run([str(python), str(_HERE / "spark" / "job.py"), str(folder / "spark.json")], environment)
    version = json.loads(said.splitlines()[-1])["spark"]
    return version, {place: pq.read_table(copy) for place, copy in copies.items()}


def flink(tables: Collection[Place], folder: Path) -> tuple[str, dict[Place, pa.Table]]:
    """What Flink sees; as `spark`."""
    home, jars = java_home(), jars_of(_HERE / "flink" / "pom.xml", _BUILDS / "flink-iceberg")
    classes = compiled(_HERE / "flink" / "java", jars, home, _BUILDS)
    copies = {place: f"copy_{number}" for number, place in enumerate(tables)}
    with ExitStack() as stack:
        addresses = _served(stack, tables)
        lines = ["\t".join((addresses[place[:2]], place[1], place[2], copy)) for place, copy in copies.items()]
        (folder / "flink.tsv").write_text("\n".join(lines), encoding="utf-8")
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        path = os.pathsep.join(map(str, [classes, *jars]))
        command = [str(home / "bin" / "java"), _HEAP, *opened, "-cp", path, "readers.Read"]
        said = _run([*command, str(folder / "flink.tsv"), str(folder / "flink")], {})
    rows = {place: pq.read_table(folder / "flink" / "rows" / copy / "data") for place, copy in copies.items()}
    return said.split()[-1], rows


def _served(stack: ExitStack, tables: Collection[Place]) -> dict[tuple[Path, str], str]:
    """By lake, folder and namespace, the address at which its catalog is served."""
    addresses = {}
    for folder, namespace in sorted({place[:2] for place in tables}):
        lake = IcebergLake(folder, namespace=namespace, read_only=True)
        stack.callback(lake.close)
        server = CatalogServer(lake)
        stack.callback(server.close)
        addresses[folder, namespace] = server.url
    return addresses


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env={**os.environ, "JAVA_HOME": str(java_home()), **environment},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{Path(command[0]).name}: {last_lines(done.stderr, 12)}")
    return done.stdout
