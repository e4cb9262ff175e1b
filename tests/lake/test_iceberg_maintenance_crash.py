"""Killed at every failpoint of maintenance: the table is unharmed, and garbage is found and removed later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crash_maintainer import ALL_AT_ONCE, write
from crash_writer import state_at
from lake_model import KEYED, NAMESPACE, agree, open_lake
from maintained import maintain

from headwater.lake.iceberg.orphan_files import NamedFiles

LAST = 8
PLACES = [
    "lake.rewrite.before_write:1",
    "lake.rewrite.after_write:1",
    "lake.commit.before_catalog:5",
    "lake.commit.after_catalog:5",
    "lake.expire.before:1",
    "lake.expire.after:1",
    "lake.orphans.before:1",
    "lake.orphans.between:1",
]
"""Four epochs are committed before the first rewrite, so the fifth commit is that of the rewrite."""


@pytest.mark.parametrize("armed", PLACES)
def test_kill_during_maintenance(tmp_path: Path, armed: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("crash_maintainer.py")), str(tmp_path), str(LAST)]
    ended = subprocess.run(command, env={**os.environ, "HEADWATER_FAILPOINT": armed}, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    lake = open_lake(tmp_path)
    table = lake.open_table(KEYED.name)
    assert table.committed().epoch == 4
    agree(lake, table, state_at(4))
    lake.close()
    write(tmp_path, LAST)
    lake = open_lake(tmp_path)
    agree(lake, lake.open_table(KEYED.name), state_at(LAST))
    maintain(lake.table(KEYED).maintenance(), ALL_AT_ONCE)
    held = lake.catalog.load_table((NAMESPACE, KEYED.name))
    files = {str(path) for path in (tmp_path / NAMESPACE / KEYED.name).rglob("*") if path.is_file()}
    assert files <= NamedFiles().of(held)
    agree(lake, lake.open_table(KEYED.name), state_at(LAST))
    lake.close()
