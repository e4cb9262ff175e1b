"""A writer killed at every failpoint: each table holds a whole number of epochs, and the next writer goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import other_formats
import pytest
from crash_writer import state_at, write
from fork_server import ForkServer
from lake_model import KEYED, MULTISET, agree, format_of, open_any, rows_of, snapshot_epochs, table_folder

from headwater.lake.table_format import Lake

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


@pytest.fixture(scope="module")
def writer() -> Iterator[ForkServer]:
    with ForkServer("crash_writer") as server:
        yield server


def expected_epochs(place: str, passing: int) -> dict[str, int]:
    """What each table must hold: orders and events are committed by turns, and the last commit landed or did not. An
    index is kept after each commit but the first of events, which looks nothing up."""
    landed = passing - (place not in LANDED) + (place.startswith("index.") and passing > 1)
    return {KEYED.name: (landed + 1) // 2, MULTISET.name: landed // 2}


def check_whole(lake: Lake, name: str, epoch: int) -> None:
    """The table stands exactly at `epoch`, and says so."""
    table = lake.open_table(name)
    committed = table.committed()
    assert (committed.epoch if committed else 0) == epoch
    assert committed is None or committed.properties == {"offset": str(epoch * 10)}
    if format_of(lake) != "parquet":
        agree(lake, table, state_at(epoch))
        return
    assert rows_of(table.read()) == state_at(epoch)
    for rows in other_formats.readers("parquet", table_folder(lake, name)):
        assert rows_of(rows) in (state_at(epoch), state_at(max(epoch - 1, 0))), "a plain reader is at most one behind"


@pytest.mark.parametrize(("place", "passing"), [*((place, 8) for place in FAILPOINTS), ("commit.after_catalog", 1)])
def test_kill_at_failpoint(writer: ForkServer, tmp_path: Path, format: str, place: str, passing: int) -> None:
    if place.startswith("index.") and format != "iceberg":
        pytest.skip("only Iceberg tables keep their indexes")
    assert writer.run(f"lake.{place}:{passing}", format, tmp_path, LAST) == -signal.SIGKILL
    reader = open_any(format, tmp_path, read_only=True)
    for name, epoch in expected_epochs(place, passing).items():
        check_whole(reader, name, epoch)
    reader.close()
    lake = open_any(format, tmp_path)
    for name, epoch in expected_epochs(place, passing).items():
        spec = KEYED if name == KEYED.name else MULTISET
        if epoch:
            agree(lake, lake.table(spec), state_at(epoch))
    lake.close()
    write(format, tmp_path, LAST)
    lake = open_any(format, tmp_path)
    for name in (KEYED.name, MULTISET.name):
        agree(lake, lake.open_table(name), state_at(LAST))
        assert snapshot_epochs(lake, name) == list(range(1, LAST + 1))
    lake.close()
