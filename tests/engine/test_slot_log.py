"""The log of slots against a dict; checkpoints by what is on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.engine.state.slot_log import SlotLog
from headwater.errors import CorruptCheckpoint
from headwater.index.kernels import Longs
from headwater.index.key_index import KeyIndex

COLUMNS = pa.schema([pa.field("k", pa.string(), metadata={b"a": b"b"}), pa.field("sum", pa.int64(), nullable=False)])


class Sums:
    """A grouped sum, as an operator would keep it."""

    def __init__(self) -> None:
        self.index = KeyIndex(pa.schema([COLUMNS.field("k")]))
        self.keys: dict[int, str | None] = {}
        self.sums: dict[int, int] = {}
        self.log = SlotLog()

    def put(self, values: dict[str | None, int]) -> Longs:
        slots, _ = self.index.find_or_insert(pa.table({"k": pa.array(list(values), pa.string())}))
        for slot, (key, value) in zip(slots.tolist(), values.items(), strict=True):
            self.keys[slot], self.sums[slot] = key, value
        return slots

    def add(self, values: dict[str | None, int]) -> None:
        self.log.note(self.put(values))

    def remove(self, keys: list[str | None]) -> None:
        slots = self.index.find(pa.table({"k": pa.array(keys, pa.string())}))
        slots = slots[slots >= 0]
        self.index.remove(slots)
        self.log.forget(slots)

    def rows_of(self, slots: Longs) -> pa.Table:
        found = [{"k": self.keys[slot], "sum": self.sums[slot]} for slot in slots.tolist()]
        return pa.Table.from_pylist(found, schema=COLUMNS)

    def save(self, folder: Path, previous: Path | None) -> None:
        self.log.save(folder, previous, self.rows_of)

    def restored(self, folder: Path) -> "Sums":
        other = Sums()
        for ids, rows in other.log.load(folder):
            other.log.adopt(ids, other.put(dict(zip(*(rows.column(i).to_pylist() for i in (0, 1)), strict=True))))
        return other

    def content(self) -> dict[str | None, int]:
        rows = self.rows_of(self.log.living())
        return dict(zip(rows.column("k").to_pylist(), rows.column("sum").to_pylist(), strict=True))


def read(folder: Path) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for _, rows in SlotLog().load(folder):
        assert rows.schema.equals(COLUMNS, check_metadata=True)
        for row in rows.to_pylist():
            assert row["k"] not in found
            found[row["k"]] = row["sum"]
    return found


KEYS = st.none() | st.integers(0, 30).map(str)
STEPS = st.lists(
    st.one_of(
        st.dictionaries(KEYS, st.integers(0, 9), max_size=12),
        st.lists(KEYS, max_size=6, unique=True),
        st.sampled_from(["save", "save", "save without link", "abandon", "restore"]),
    ),
    max_size=25,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([{None: 0}, "save", [None], "save", {None: 0}, "save"])
@given(STEPS)
def test_the_last_state_of_every_key_comes_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str | None, int] | list[str | None] | str]
) -> None:
    sums, model, previous = Sums(), dict[str | None, int](), None
    for step in steps:
        if isinstance(step, dict):
            sums.add(step)
            model |= step
        elif isinstance(step, list):
            sums.remove(step)
            model = {key: value for key, value in model.items() if key not in step}
        else:
            folder = tmp_path_factory.mktemp("log")
            sums.save(folder, None if step == "save without link" else previous)
            assert read(folder) == model
            previous = previous if step == "abandon" else folder
            if step == "restore":
                sums = sums.restored(folder)
        assert sums.content() == model


def written(folder: Path, previous: Path) -> int:
    """Bytes in `folder` that are not hard links into `previous`."""
    known = {path.stat().st_ino for path in previous.iterdir()}
    return sum(path.stat().st_size for path in folder.iterdir() if path.stat().st_ino not in known)


@pytest.mark.parametrize("restoring", [False, True])
def test_what_is_written_is_what_changed(tmp_path: Path, restoring: bool) -> None:
    sums = Sums()
    sums.add({str(i): i for i in range(20_000)})
    sums.save(tmp_path / "0", None)
    whole, total = sum(path.stat().st_size for path in (tmp_path / "0").iterdir()), 0
    for turn in range(1, 31):
        if restoring and turn % 7 == 0:
            sums = sums.restored(tmp_path / str(turn - 1))
        sums.add({str(i): turn for i in range(turn * 50, turn * 50 + 40)} | {f"new {turn}": 0})
        sums.remove([str(turn * 50 + 45)])
        sums.save(tmp_path / str(turn), tmp_path / str(turn - 1))
        total += written(tmp_path / str(turn), tmp_path / str(turn - 1))
        assert len(list((tmp_path / str(turn)).iterdir())) < 12
    assert total < whole
    assert read(tmp_path / "30") == sums.content()
    sums.save(tmp_path / "same", tmp_path / "30")
    assert written(tmp_path / "same", tmp_path / "30") < 5_000


def test_large_patches_are_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.engine.state.slot_log._MOST_ROWS", 100)
    sums = Sums()
    sums.add({str(i): i for i in range(1000)})
    sums.save(tmp_path / "0", None)
    assert len(list((tmp_path / "0").iterdir())) == 11
    sums.add({str(i): -i for i in range(0, 1000, 2)})
    sums.remove([str(i) for i in range(0, 1000, 5)])
    sums.save(tmp_path / "1", tmp_path / "0")
    assert read(tmp_path / "1") == sums.content()


def test_every_damaged_file_is_noticed(tmp_path: Path) -> None:
    sums = Sums()
    sums.add({str(i): i for i in range(100)})
    sums.save(tmp_path / "0", None)
    sums.add({"1": 7})
    sums.save(tmp_path / "1", tmp_path / "0")
    paths = list((tmp_path / "1").iterdir())
    assert len(paths) == 3
    for path in paths:
        content = path.read_bytes()
        for damaged in (content[:-1], content[:40] + bytes([content[40] ^ 1]) + content[41:], None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(CorruptCheckpoint, match=path.name):
                read(tmp_path / "1")
            path.write_bytes(content)


def test_an_empty_log_is_saved_and_loaded(tmp_path: Path) -> None:
    rows_of: Callable[[Longs], pa.Table] = Sums().rows_of
    SlotLog().save(tmp_path / "0", None, rows_of)
    assert read(tmp_path / "0") == {}
    assert np.array_equal(SlotLog().living(), [])
