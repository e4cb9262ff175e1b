"""The loop from a source to the log, and what the others see of the log while it fails."""

import errno
import io

import pytest
from scripted_project import ORDERS, inserts, order, wait_until

from headwater.change import Op
from headwater.clock import SystemClock
from headwater.errors import SourceUnavailable, StorageFailed
from headwater.log.partition import Partition
from headwater.runtime.capture_job import Partitions
from headwater.runtime.journal import Journal
from headwater.testing.scripted_source import scripted_group


def full(*arguments, **options):
    raise StorageFailed("the disk is full")


def test_a_log_that_cannot_be_opened_anew_can_still_be_read(tmp_path, monkeypatch):
    partitions = Partitions(tmp_path, Journal(io.StringIO()), SystemClock(), 1 << 20)
    partitions.open("shop").append([inserts(1, 1)])
    with monkeypatch.context() as broken:
        broken.setattr(Partition, "open", full)
        for _ in range(2):
            with pytest.raises(StorageFailed):
                partitions.open("shop")
    assert [name for name, _ in partitions.items()] == ["shop"]
    assert [record.rows.num_rows for record in partitions["shop"].read(0, 1)] == [1]
    assert partitions.open("shop").append([inserts(2, 2)]) == 2
    partitions.close()


def test_a_disk_that_stays_full_while_the_log_is_opened_anew_is_waited_out(shop, monkeypatch):
    shop.source.add(inserts(1, 1))
    opened, appended = Partition.open, Partition.append

    def no_room(self, groups):
        with self._storing():
            raise OSError(errno.ENOSPC, "no space left on device")

    with shop.running() as supervisor:
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        monkeypatch.setattr(Partition, "append", no_room)
        monkeypatch.setattr(Partition, "open", full)
        shop.source.add(inserts(2, 2))
        said = supervisor._journal.since  # the same warning is written once a minute, and kept each time
        wait_until(lambda: sum(e.event == "source.waiting" for e in said(0)) >= 3, "the log is opened in vain")
        monkeypatch.setattr(Partition, "open", opened)
        monkeypatch.setattr(Partition, "append", appended)
        wait_until(lambda: shop.account("orders")["landed"] == 2)
    assert supervisor.error is None
    assert not shop.events("epochs.stopped")


def part(commit, *numbers, more=True):
    """A part of a transaction that inserts orders."""
    rows = [(ORDERS, Op.INSERT, order(number)) for number in numbers]
    return scripted_group(commit, rows, time_us=commit, more=more)


def test_a_transaction_in_parts_is_confirmed_at_its_end(shop):
    shop.source.add(inserts(1, 1), part(2, 2, 3), part(2, 4))
    with shop.running() as supervisor:
        wait_until(lambda: shop.source.confirmed == 1)
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        shop.source.add(part(2, 5, more=False), inserts(3, 6))
        wait_until(lambda: shop.account("orders")["landed"] == 6)
    assert supervisor.error is None
    assert shop.source.confirmed == 3
    assert [row["id"] for row in shop.rows("orders")] == [1, 2, 3, 4, 5, 6]


def test_a_reading_that_ends_between_parts_is_begun_again_at_the_first(shop):
    """Whatever ends it: the disk is full, the source goes away, we are stopped."""
    gone, full_disk = SourceUnavailable("gone"), StorageFailed("the disk is full")
    shop.source.add(inserts(1, 1), part(2, 2), full_disk, part(2, 3), gone, part(2, 4), part(2, more=False), part(3, 5))
    with shop.running() as supervisor:
        wait_until(lambda: shop.account("orders")["landed"] == 4)
    assert supervisor.error is None
    assert shop.source.opened == [None, *[{"commit": 1}] * 2]
    shop.source.add(part(3, 6, more=False))
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 2, 3, 4, 5, 6]
    assert shop.account("orders")["read"] == shop.account("orders")["landed"] == 6
    assert shop.source.confirmed == 3
    assert not shop.events("log.recovered"), "closing left nothing to cut"
