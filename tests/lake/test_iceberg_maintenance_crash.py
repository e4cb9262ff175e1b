"""Killed at every failpoint of maintenance: the table is unharmed, and garbage is found and removed later."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_maintainer import ALL_AT_ONCE, write
from crash_writer import state_at
from fork_server import ForkServer
from lake_model import KEYED, NAMESPACE, agree, open_lake
from maintained import maintain

from headwater.lake.iceberg.orphan_files import NamedFiles

LAST = 8
REWRITES = (1, 2, 3)
"""Of data and of deletes. Four epochs are committed before, so the fifth commit is that of the first of them."""
PLACES = [
    *(f"lake.rewrite.before_write:{rewrite}" for rewrite in REWRITES),
    *(f"lake.rewrite.after_write:{rewrite}" for rewrite in REWRITES),
    *(f"lake.commit.before_catalog:{4 + rewrite}" for rewrite in REWRITES),
    *(f"lake.commit.after_catalog:{4 + rewrite}" for rewrite in REWRITES),
    "lake.expire.before:1",
    "lake.expire.after:1",
    "lake.orphans.before:1",
    "lake.orphans.between:1",
    "lake.orphans.between:4",
]


@pytest.fixture(scope="module")
def maintainer() -> Iterator[ForkServer]:
    with ForkServer("crash_maintainer") as server:
        yield server


@pytest.mark.parametrize("armed", PLACES)
def test_kill_during_maintenance(maintainer: ForkServer, tmp_path: Path, armed: str) -> None:
    assert maintainer.run(armed, tmp_path, LAST) == -signal.SIGKILL
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
