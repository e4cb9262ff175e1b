"""Reads the same table of a PostgreSQL with Headwater's snapshot, ConnectorX and dlt, one after the other.

    .venv/bin/python bench/snapshot.py --rows 2000000

Headwater's rows are in its log, fsynced; ConnectorX's are in memory; dlt's are in Parquet files. Installs what is
missing under .bench/. Prints a table and writes it to bench/results/snapshot.json and snapshot.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from side_by_side import machine
from side_by_side.engine import NotMeasured
from side_by_side.environment import last_lines, virtual_environment

from headwater.bench.capture.backlog import TABLE
from headwater.bench.capture.postgres import filled
from headwater.bench.child import measure

_ROOT = Path(__file__).parents[1]
_LOADERS = Path(__file__).parent / "loaders"
HEADER = ("loader", "rows/s", "rows/cpu s", "seconds", "cpu s", "peak MB")


def main() -> int:
    """The command. Returns 1 if a loader cannot run here."""
    asked = _arguments()
    try:
        python = virtual_environment(_ROOT / ".bench" / "venv-loaders", _LOADERS / "requirements.lock")
    except NotMeasured as error:
        sys.stderr.write(f"{error}\n")
        return 1
    loaders: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name, filled(asked.rows) as url:
        folder = Path(name)
        arguments = {
            "kind": "postgres", "url": url, "table": f"public.{TABLE}", "folder": str(folder / "log"),
            "snapshot": "initial",
        }  # fmt: skip
        loaders["headwater"] = measure("headwater.bench.capture.drain:drain", arguments, asked.limit)
        for loader in ("connectorx", "dlt"):
            loaders[loader] = _loaded(python, loader, url, folder / loader, asked.limit)
    result = {
        "v": 1, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts(), "rows": asked.rows,
        "loaders": loaders,
    }  # fmt: skip
    text = _table(result)
    sys.stdout.write(text)
    if asked.keep:
        results = _ROOT / "bench" / "results"
        (results / "snapshot.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
        (results / "snapshot.md").write_text(text, encoding="utf-8")
    return 0


def _loaded(python: Path, loader: str, url: str, folder: Path, timeout_s: float) -> dict[str, Any]:
    command = [str(python), str(_LOADERS / "load.py"), loader, url, TABLE, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {timeout_s:,.0f} s"}
    if done.returncode:
        return {"error": last_lines(done.stderr)}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _table(result: dict[str, Any]) -> str:
    lines = [list(HEADER), ["---"] * len(HEADER)]
    lines += [_line(loader, one) for loader, one in result["loaders"].items()]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return (
        f"# A table of {result['rows']:,} rows of 8 mixed columns, read whole ({result['date']})\n\n{rows}\n"
        "Headwater's rows are in its log, fsynced, in change batches; ConnectorX's in memory as Arrow; dlt's in Parquet "
        "files. Each in a process of its own; imports are not counted.\n"
    )


def _line(loader: str, one: dict[str, Any]) -> list[str]:
    if "error" in one:
        return [loader, *["-"] * 4, str(one["error"])]
    peak = f"{one['peak_bytes'] / 1e6:,.0f}" if "peak_bytes" in one else "-"
    return [
        loader, f"{one['rows'] / one['seconds']:,.0f}", f"{one['rows'] / one['cpu_s']:,.0f}", f"{one['seconds']:.2f}",
        f"{one['cpu_s']:.2f}", peak,
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--limit", type=float, default=600, help="seconds that one loader may take")
    parser.add_argument("--keep", action="store_true", help="write bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
