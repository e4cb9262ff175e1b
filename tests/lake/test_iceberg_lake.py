"""The lake as a whole: names, dropping, other keys, and many hands at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, agree, delta, live_paths, open_lake, snapshot_epochs
from maintained import AT_ONCE, keep
from sqlalchemy import event

from headwater.errors import UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.manifests import FANOUT
from headwater.lake.table_format import TableSpec

A, B = (1, "a", 1.0), (2, "b", 2.0)


def test_names_and_drop(lake: IcebergLake) -> None:
    lake.table(KEYED).commit(1, delta([(A, 1)]), {})
    lake.table(MULTISET)
    assert lake.names() == ["events", "orders"]
    lake.drop("orders")
    assert lake.names() == ["events"]
    assert not list(lake.warehouse.rglob("orders"))
    for attempt in (lake.open_table, lake.drop):
        with pytest.raises(UserError, match="'orders'") as caught:
            attempt("orders")
        assert "events" in caught.value.hint
    table = lake.table(KEYED)
    table.commit(1, delta([(B, 1)]), {})
    agree(lake, table, Counter([B]))


@pytest.mark.parametrize("name", ["a b", "ü/..", "..", "100%", "Select", "a.b"])
def test_any_name_is_a_table_inside_the_warehouse(lake: IcebergLake, name: str) -> None:
    table = lake.table(replace(KEYED, name=name))
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([(A, -1)]), {})
    agree(lake, table, Counter([B]))
    assert lake.names() == [name]
    assert all(Path(path).resolve().is_relative_to(lake.warehouse / "shop") for path in live_paths(lake, name)[0])
    lake.drop(name)
    assert lake.names() == []


def test_another_key_is_refused(lake: IcebergLake) -> None:
    lake.table(KEYED)
    with pytest.raises(UserError, match=r"key \['id'\], not \['name'\]"):
        lake.table(replace(KEYED, key=("name",)))
    with pytest.raises(UserError, match="no column 'gone'"):
        lake.table(TableSpec("other", COLUMNS, ("gone",)))


def test_reading_only(lake: IcebergLake, tmp_path: Path) -> None:
    lake.table(KEYED).commit(1, delta([(A, 1)]), {})
    reader = open_lake(tmp_path / "lake", read_only=True)
    table = reader.open_table("orders")
    assert (table.spec.key, table.spec.columns) == (("id",), COLUMNS)
    agree(reader, table, Counter([A]))
    for forbidden in (
        lambda: reader.table(KEYED),
        lambda: table.commit(2, delta([(B, 1)]), {}),
        lambda: table.evolve(COLUMNS),
    ):
        with pytest.raises(UserError, match="reading only"):
            forbidden()
    with pytest.raises(UserError, match="no lake"):
        open_lake(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()
    reader.close()


def test_tables_are_committed_from_many_threads(lake: IcebergLake) -> None:
    tables = [lake.table(replace(KEYED, name=f"t{i}")) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for epoch in range(1, 6):
            change = delta([((epoch, "x", None), 1), *([((epoch - 1, "x", None), -1)] if epoch > 1 else [])])
            list(pool.map(lambda table, e=epoch, c=change: table.commit(e, c, {}), tables))
    for table in tables:
        agree(lake, table, Counter([(5, "x", None)]))
        assert snapshot_epochs(lake, table.spec.name) == [1, 2, 3, 4, 5]


READER = """
import sys
from pathlib import Path
from lake_model import open_lake
lake = open_lake(Path(sys.argv[1]), read_only=True)
table, reads, epoch = lake.open_table("orders"), 0, 0
print("ready", flush=True)
while epoch < int(sys.argv[2]):
    epoch = table.committed().epoch
    rows = table.read(epoch).to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(epoch, epoch + 10)), (epoch, rows)
    reads += 1
print(reads)
"""


def test_a_reading_process_sees_whole_epochs_while_another_writes(lake: IcebergLake) -> None:
    last = 60
    table = lake.table(KEYED)
    table.commit(1, delta([((key, "r", None), 1) for key in range(1, 11)]), {})
    command = [sys.executable, "-c", READER, str(lake.warehouse), str(last)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for epoch in range(2, last + 1):
            table.commit(epoch, delta([((epoch - 1, "r", None), -1), ((epoch + 9, "r", None), 1)]), {})
        out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert int(out) > 0


def test_manifests_and_metadata_stay_few_and_history_stays_whole(lake: IcebergLake) -> None:
    table = lake.table(replace(KEYED, properties={"headwater.snapshots.keep": "10"}))
    commits = FANOUT * 3 + 5
    for epoch in range(1, commits + 1):
        change = [((epoch, "x", None), 1)]
        if epoch > 1 and epoch % 2:
            change.append(((epoch - 1, "x", None), -1))
        table.commit(epoch, delta(change), {})
    expected = Counter({(epoch, "x", None): 1 for epoch in range(1, commits + 1) if epoch % 2 or epoch == commits})
    agree(lake, table, expected)
    agree(lake, lake.table(KEYED), expected)
    held = lake.catalog.load_table(("shop", "orders"))
    manifests = held.current_snapshot().manifests(held.io)
    assert len(manifests) < 2 * FANOUT
    assert len(held.metadata.snapshots) <= 11
    keep(lake.table(KEYED), AT_ONCE, ["orphans"])
    metadata = list((lake.warehouse / "shop" / "orders" / "metadata").iterdir())
    assert sum(path.name.endswith(".metadata.json") for path in metadata) <= 21
    assert sum(path.name.startswith("snap-") for path in metadata) <= 11


def test_files_are_durable_before_the_catalog_names_them(lake: IcebergLake, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    before = {path for path in lake.warehouse.rglob("*") if path.is_file()}
    synced: list[Path] = []
    unsynced: list[Path] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    def at_the_catalog(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith("UPDATE"):
            new = {path for path in lake.warehouse.rglob("*") if path.is_file()} - before
            assert len([path for path in new if path.suffix != ".db-journal"]) == 6
            unsynced.extend(
                path for path in new if path not in synced or path.parent not in synced[synced.index(path) :]
            )

    monkeypatch.setattr(os, "fsync", recording)
    event.listen(lake.catalog.engine, "before_cursor_execute", at_the_catalog)
    table.commit(2, delta([(A, -1), (B, 1)]), {})
    assert synced and unsynced == []


def test_many_rows_per_commit_and_column_bounds(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    ids = pa.array(range(20_000), pa.int64())
    rows = pa.table([ids, ids.cast(pa.string()), ids.cast(pa.float64())], schema=COLUMNS)
    table.commit(1, rows.append_column("_weight", pa.array([1] * len(ids))), {})
    table.commit(2, rows.slice(5000, 5000).append_column("_weight", pa.array([-1] * 5000)), {})
    assert set(lake.table(KEYED).read().column("id").to_pylist()) == {*range(5000), *range(10_000, 20_000)}
    files = lake.catalog.load_table(("shop", "orders")).inspect.files().to_pylist()
    (bounds,) = [file["readable_metrics"]["id"] for file in files if file["content"] == 0]
    assert (bounds["lower_bound"], bounds["upper_bound"]) == (0, 19_999)
