"""A writer killed at every failpoint: each table holds a whole number of epochs, and the next writer goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crash_writer import state_at, write
from lake_model import KEYED, MULTISET, agree, open_lake, snapshot_epochs

from headwater.lake.iceberg import IcebergLake

LAST = 6
FAILPOINTS = [
    "commit.before_data_file",
    "commit.after_data_file",
    "commit.before_catalog",
    "commit.after_catalog",
    "index.before_save",
    "index.before_rename",
    "index.after_save",
]
LANDED = FAILPOINTS[3:]


def run_writer(folder: Path, armed: str = "") -> int:
    command = [sys.executable, str(Path(__file__).with_name("crash_writer.py")), str(folder), str(LAST)]
    return subprocess.run(command, env={**os.environ, "HEADWATER_FAILPOINT": armed}, timeout=60, check=False).returncode


def expected_epochs(place: str, passing: int) -> dict[str, int]:
    """What each table must hold: orders and events are committed by turns, and the last commit landed or did not. An
    index is kept after each commit but the first of events, which looks nothing up."""
    landed = passing - (place not in LANDED) + (place.startswith("index.") and passing > 1)
    return {KEYED.name: (landed + 1) // 2, MULTISET.name: landed // 2}


def check_whole(lake: IcebergLake, name: str, epoch: int) -> None:
    """The table stands exactly at `epoch`, and says so."""
    table = lake.open_table(name)
    committed = table.committed()
    assert (committed.epoch if committed else 0) == epoch
    assert committed is None or committed.properties == {"offset": str(epoch * 10)}
    agree(lake, table, state_at(epoch))


@pytest.mark.parametrize("passing", [1, 8])
@pytest.mark.parametrize("place", FAILPOINTS)
def test_kill_at_failpoint(tmp_path: Path, place: str, passing: int) -> None:
    assert run_writer(tmp_path, f"lake.{place}:{passing}") == -signal.SIGKILL
    reader = open_lake(tmp_path, read_only=True)
    for name, epoch in expected_epochs(place, passing).items():
        check_whole(reader, name, epoch)
    reader.close()
    write(tmp_path, LAST)
    lake = open_lake(tmp_path)
    for name in (KEYED.name, MULTISET.name):
        agree(lake, lake.open_table(name), state_at(LAST))
        assert snapshot_epochs(lake, name) == list(range(1, LAST + 1))
    lake.close()
