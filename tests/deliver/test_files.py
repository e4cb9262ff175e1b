"""Files as a destination: the contract suite over Parquet, kills between any two steps, and the other formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.deliver import files
from headwater.deliver.destination import Batch, Op, Sync
from headwater.deliver.files import FilesDestination
from headwater.deliver.files_settings import FilesSettings
from headwater.testing.destination_contract import COLUMNS, DestinationContract, Row


class FilesPeer:
    """A folder."""

    appends, poisons, stoppable = True, False, True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._away = folder.with_name("away")

    def destination(self) -> FilesDestination:
        return FilesDestination(FilesSettings(folder=str(self.folder), format="parquet"))

    def _records(self) -> list[Row]:
        found = [row for path in self.folder.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        return sorted(found, key=lambda row: row["_seq"])

    def rows(self) -> Mapping[int, Row]:
        now: dict[int, Row] = {}
        for row in self._records():
            now.pop(row["id"], None)
            if row["_op"] != "delete":
                now[row["id"]] = {name: row[name] for name in COLUMNS.names}
        return now

    def names(self, number: int) -> Sequence[str | None]:
        return [None if r["_op"] == "delete" else r["name"] for r in self._records() if r["id"] == number]

    def heal(self) -> None:
        """Nothing is ever refused."""

    def stop(self) -> None:
        self.folder.rename(self._away)
        self.folder.write_bytes(b"")

    def start(self) -> None:
        self.folder.unlink()
        self._away.rename(self.folder)


class TestFiles(DestinationContract):
    @pytest.fixture
    def peer(self, tmp_path: Path) -> FilesPeer:
        (tmp_path / "out").mkdir()
        return FilesPeer(tmp_path / "out")


SYNC = Sync("shop", "scores", "box-1", "scores", pa.schema([("id", pa.int64()), ("name", pa.string())]), ("id",))


def batch(call: int, first: int, *rows: tuple[int, str | None]) -> Batch:
    table = pa.table([[row[0] for row in rows], [row[1] for row in rows]], schema=SYNC.columns)
    op = np.array([Op.DELETE if row[1] is None else Op.UPSERT for row in rows], np.uint8)
    return Batch(call, table, op, np.arange(first, first + len(rows)), np.full(len(rows), 7))


@pytest.mark.parametrize("point", ["deliver.files.written", "deliver.files.held"])
def test_dead_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    destination = FilesDestination(FilesSettings(folder=str(tmp_path)))
    session = destination.open(SYNC)
    session.deliver(batch(1, 0, (1, "a")))

    def dies(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "reach", dies)
    with pytest.raises(KeyboardInterrupt):
        session.deliver(batch(2, 1, (2, "b")))
    monkeypatch.undo()
    again = destination.open(SYNC)
    held = json.loads(again.held() or "{}")["call"]
    assert held == (1 if point == "deliver.files.written" else 2)
    if held == 1:
        again.deliver(batch(2, 1, (2, "b")))
    lines = [line for path in sorted(tmp_path.glob("*.ndjson")) for line in path.read_text().splitlines()]
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    assert not list(tmp_path.glob(".*.tmp"))


def test_ndjson_and_csv(tmp_path: Path) -> None:
    for form in ("ndjson", "csv"):
        settings = FilesSettings(folder=str(tmp_path / form), format=form, delimiter=";")
        FilesDestination(settings).open(SYNC).deliver(batch(1, 5, (1, 'x;"y"\nz'), (2, None)))
    (path,) = (tmp_path / "csv").glob("*.csv")
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, delimiter=";")) == [
            ["id", "name", "_op", "_seq", "_epoch"],
            ["1", 'x;"y"\nz', "upsert", "5", "7"],
            ["2", "", "delete", "6", "7"],
        ]
    (path,) = (tmp_path / "ndjson").glob("*.ndjson")
    assert [json.loads(line)["_op"] for line in path.read_text().splitlines()] == ["upsert", "delete"]
    assert path.name.startswith("scores-") and path.name.endswith("-000000000005-000000000006.ndjson")


def test_what_doctor_finds(tmp_path: Path) -> None:
    def levels(folder: Path) -> dict[str, str]:
        return {one.check: one.level for one in FilesDestination(FilesSettings(folder=str(folder))).diagnose(SYNC)}

    assert levels(tmp_path / "not" / "there") == {"files": "ok", "rights": "ok"}
    (tmp_path / "file").write_text("in the way")
    assert levels(tmp_path / "file" / "below")["rights"] == "fail"
