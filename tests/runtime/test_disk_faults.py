"""T-FS-01, T-FS-02, T-DF-01: a disk that fails or is full, once or for a while, at any place where something is made
durable; and that nothing is renamed into its place before it is durable itself."""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripted_project import PROJECT, Shop, ids, inserts, run_with, wait_until

from headwater.errors import HeadwaterError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.log.view import open_for_reading

CALLS = ("fsync", "fdatasync", "replace", "rename", "link")
WHOLE = os.environ.get("HEADWATER_SIZE", "pr") != "pr"
NOT_DURABLE = ("status.json",)
"""Told so in docs/guarantees.md."""


class Disk:
    """Passes on what makes files durable, and notes it; from the `fails`-th call on, the first `times` fail.

    Attributes:
        calls: what was called, with the path: of the file made durable, or the new name.
        confirmed: at the first failure, what the source had been told.
    """

    def __init__(self, shop: Shop, fails: int = 0, code: int = errno.EIO, times: int = 1) -> None:
        self._shop, self._fails, self._code, self._times = shop, fails, code, times
        self._lock = threading.Lock()
        self._durable = {path.stat().st_ino for path in shop.folder.rglob("*")}
        self.calls: list[tuple[str, Path, int, bool]] = []
        self.failed, self.confirmed, self.well, self.from_now = 0, 0, False, 0

    def around(self, name: str) -> Callable[..., object]:
        """The call of that name, watched."""
        real = getattr(os, name)

        def call(first, *rest, **named):
            synced = isinstance(first, int)
            path = Path(f"/proc/self/fd/{first}").readlink() if synced else Path(rest[0])
            if not path.is_relative_to(self._shop.folder):
                return real(first, *rest, **named)
            found = os.fstat(first) if synced else Path(first).stat()
            with self._lock:
                before = stat.S_ISDIR(found.st_mode) or found.st_ino in self._durable
                self.calls.append((name, path, threading.get_ident(), before))
                self._may_fail(name)
                if synced:
                    self._durable.add(found.st_ino)
            return real(first, *rest, **named)

        return call

    def _may_fail(self, name: str) -> None:
        if not self._fails or len(self.calls) < self.from_now + self._fails or self.well or self.failed >= self._times:
            return
        if not self.failed:
            self.confirmed = self._shop.source.confirmed
        self.failed += 1
        raise OSError(self._code, os.strerror(self._code), name)


@contextmanager
def under(disk: Disk) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, disk.around(name))
        yield


def shop_of(folder: Path, kind: str = "iceberg") -> Shop:
    shop = Shop(folder / "project")
    (shop.folder / "headwater.yml").write_text(f"{PROJECT}lake: {{type: {kind}}}\n")
    shop.model("by_status", "/*\nkey: [status]\n*/\nSELECT status, count(*) AS n FROM orders GROUP BY status")
    run_with(shop, inserts(1, 1, 2))
    return shop


def work(shop: Shop) -> None:
    """Two runs, with a checkpoint each."""
    for commit in (2, 3):
        run_with(shop, inserts(commit, commit + 1))


def is_whole(shop: Shop) -> None:
    shop.run_once()
    assert ids(shop) == [1, 2, 3, 4]
    assert shop.rows("by_status") == [{"status": "new", "n": 4}]
    lake = IcebergLake(shop.folder / "lake", namespace="shop", read_only=True)
    for table in ("orders", "by_status"):
        epochs = [one.epoch for one in lake.open_table(table).snapshots() if not one.maintenance]
        assert epochs == sorted(set(epochs), reverse=True)
    lake.close()
    assert shop.account("orders")["holds"]


def places() -> list[int]:
    """How many calls there are to fail at is only known once all runs; later ones than there are fail nothing."""
    return list(range(1, 110)) if WHOLE else sorted(random.Random(5).sample(range(1, 60), 7))


@pytest.mark.parametrize("fails", places())
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC] if WHOLE else [errno.EIO])
def test_a_call_that_fails_once(tmp_path: Path, fails: int, code: int) -> None:
    shop = shop_of(tmp_path)
    disk = Disk(shop, fails, code)
    with under(disk):
        try:
            work(shop)
        except HeadwaterError as error:
            assert "bug" not in error.hint, error
        log = open_for_reading(shop.state / "log" / "shop")
        assert log.boundary_at(log.head).position.commit >= shop.source.confirmed
    assert disk.failed == 1 or fails > 40
    shop.source.add(inserts(2, 3)) if shop.source.next_after(1) is None else None
    shop.source.add(inserts(3, 4)) if shop.source.next_after(2) is None else None
    is_whole(shop)


@pytest.mark.parametrize("fails", [1, 5, 12, 30] if WHOLE else [1, 12])
def test_a_disk_that_is_full_for_a_while_holds_the_source_back(tmp_path: Path, fails: int) -> None:
    shop = shop_of(tmp_path)
    disk = Disk(shop, fails, errno.ENOSPC, times=1_000_000)
    disk.well = True
    with under(disk), shop.running() as supervisor:
        wait_until(lambda: shop.events("epochs.running"))
        disk.from_now, disk.well = len(disk.calls), False
        shop.source.add(inserts(2, 3), inserts(3, 4))
        wait_until(lambda: disk.failed >= 3)
        assert shop.source.confirmed == disk.confirmed
        disk.well = True
        wait_until(lambda: ids(shop) == [1, 2, 3, 4])
    assert supervisor.error is None
    is_whole(shop)


@pytest.mark.parametrize("kind", ["iceberg", "delta", "parquet"])
def test_what_takes_a_name_is_durable_and_so_is_the_name(tmp_path: Path, kind: str) -> None:
    shop = shop_of(tmp_path, kind)
    disk = Disk(shop)
    with under(disk):
        work(shop)
    named = [call for call in enumerate(disk.calls) if call[1][0] in ("replace", "rename", "link")]
    kept = [(number, call) for number, call in named if call[1].name not in NOT_DURABLE]
    assert len(kept) > 5
    for number, (name, path, thread, before) in kept:
        assert before, f"{name} of {path}: its content is not durable"
        later = (call for call in disk.calls[number + 1 :] if call[2] == thread)
        assert any(call[:2] == ("fsync", path.parent) for call in later), f"{name} of {path}: the name is not durable"
