"""T-IC-01: eight committers with compaction, expiry and removal of orphan files on one table: no row is lost or
doubled, and history is linear. `HEADWATER_LAKE_COMMITS` says how many commits each makes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from foreign_appender import THREADS
from lake_model import MULTISET, NAMESPACE, agree, delta, open_lake
from maintained import AT_ONCE

from headwater.errors import StorageFailed
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.table import IcebergTable

COMMITS = int(os.environ.get("HEADWATER_LAKE_COMMITS", "6"))
PROCESSES = 3
POLICY = replace(AT_ONCE, fanout=4, keep_snapshots=8, orphan_age_s=3600.0)


def commit_all(table: IcebergTable, epochs: int) -> None:
    """Epochs of one row each; every third takes one back. Tried again as the runtime would."""
    for epoch in range(1, epochs + 1):
        change = [((epoch, "ours", 1.0), 1)]
        if epoch % 3 == 0:
            change.append(((epoch - 1, "ours", 1.0), -1))
        while True:
            try:
                table.commit(epoch, delta(change), {})
                break
            except StorageFailed:
                assert table.committed().epoch < epoch


def keep_until(table: IcebergTable, ended: threading.Event, done: Counter[str]) -> None:
    """Maintains the table until it is told to stop; what another writer makes moot is planned again."""
    care = table.maintenance()
    while True:
        last = ended.is_set()
        for task in care.plan(POLICY):
            try:
                done[task.kind] += care.carry_out(task, POLICY).done
            except StorageFailed:
                done["failed"] += 1
        if last:
            return


def check_history(lake: IcebergLake, epochs: int) -> None:
    held = lake.catalog.load_table((NAMESPACE, MULTISET.name))
    snapshots = held.metadata.snapshots
    by_id = {snapshot.snapshot_id: snapshot for snapshot in snapshots}
    lineage, at = [], held.current_snapshot()
    while at is not None:
        lineage.append(at)
        at = by_id.get(at.parent_snapshot_id)
    assert len(lineage) == len(snapshots)
    numbers = [snapshot.sequence_number for snapshot in reversed(lineage)]
    assert numbers == sorted(set(numbers))
    assert lake.open_table(MULTISET.name).committed().epoch == epochs


def test_eight_committers_and_maintenance(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    table, ended, done = lake.table(MULTISET), threading.Event(), Counter()
    script = str(Path(__file__).with_name("foreign_appender.py"))
    appenders = [
        subprocess.Popen([sys.executable, script, str(tmp_path), MULTISET.name, str((n + 1) * 10_000), str(COMMITS)])
        for n in range(PROCESSES)
    ]
    keeper = threading.Thread(target=keep_until, args=(table, ended, done))
    keeper.start()
    try:
        commit_all(table, 4 * COMMITS)
        assert [appender.wait(timeout=240) for appender in appenders] == [0] * PROCESSES
    finally:
        ended.set()
        keeper.join()
        for appender in appenders:
            appender.kill()
    expected = Counter((n, "ours", 1.0) for n in range(1, 4 * COMMITS + 1) if n % 3 != 2 or n + 1 > 4 * COMMITS)
    firsts = [(n + 1) * 10_000 for n in range(PROCESSES)]
    expected += Counter((f + n, "foreign", 1.0) for f in firsts for n in range(THREADS * COMMITS))
    agree(lake, lake.open_table(MULTISET.name), expected)
    check_history(lake, 4 * COMMITS)
    assert done["compact"] and done["expire"]
    lake.close()
