"""Writes that fail and processes that die: nothing acknowledged is lost, and no append goes on after a failure."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from log_samples import expected, flat, group

from headwater import failpoint
from headwater.errors import StorageFailed
from headwater.log.mark import Mark, read_mark
from headwater.log.partition import Partition, verify

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
WRITER = """
import os, sys
from pathlib import Path
from log_samples import group, part
from headwater.errors import StorageFailed
from headwater.log.partition import Partition

partition = Partition.open(Path(sys.argv[1]), segment_bytes=3000)
commit = partition.boundary.position.commit if partition.boundary else 0
for turn in range(12):
    new = [group(commit + 1, order_rows=2), group(commit + 2, click_rows=1, filtered={"audit": 1})]
    try:
        if turn % 3 == 0:
            partition.append([*new, part(commit + 3, order_rows=2)])
            partition.append([part(commit + 3, click_rows=2, filtered={"audit": 9})])
            partition.forget_parts()
            head = partition.head
        elif turn % 3 == 1:
            partition.append([part(commit + 1, filtered={"seen": 1})])
            head = partition.append(new)
        else:
            head = partition.append(new)
    except StorageFailed as error:
        print("failed", error.message)
        head = partition.head
        try:
            partition.append(new)
        except StorageFailed as again:
            print("refused", again.message)
        break
    commit += 2
    print("acknowledged", head, flush=True)
    partition.retain(before=head - 12)
partition.close()
"""


def run_writer(folder: Path, armed: str = "", prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Runs WRITER in a process of its own."""
    environment = {**os.environ, "HEADWATER_FAILPOINT": armed, "PYTHONPATH": PATHS}
    command = [sys.executable, "-c", prelude + WRITER, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def acknowledged(output: str) -> int:
    """The last head that was acknowledged."""
    return max((int(line.split()[1]) for line in output.splitlines() if line.startswith("acknowledged")), default=0)


def check(folder: Path, least: int) -> int:
    """Opens the log after a crash: at least the acknowledged records are there, whole, right, and all accounted for."""
    partition = Partition.open(folder)
    commit = partition.boundary.position.commit if partition.boundary else 0
    groups = [group(n, order_rows=2) if n % 2 else group(n, click_rows=1) for n in range(1, commit + 1)]
    assert partition.head >= least
    assert flat(list(partition.read(partition.base, partition.head))) == expected(groups)[partition.base :]
    assert sum(counts.changes for counts in partition.counts.values()) == partition.head
    assert partition.counts["audit"].filtered == commit // 2 if commit > 1 else True
    head = partition.head
    partition.close()
    assert verify(folder).findings == []
    return head


@pytest.mark.parametrize("name", [name for name in failpoint.NAMES if name.startswith("log.")])
def test_killed_at_a_failpoint(tmp_path: Path, name: str) -> None:
    for passing in (1, 2, 3):
        folder = tmp_path / str(passing)
        done = run_writer(folder, f"{name}:{passing}")
        assert done.returncode == -signal.SIGKILL, done.stderr
        head = check(folder, acknowledged(done.stdout))
        again = run_writer(folder)
        assert again.returncode == 0 and check(folder, acknowledged(again.stdout)) == head + 36


@pytest.mark.parametrize("action", ["enospc", "eio"])
@pytest.mark.parametrize("name", [name for name in failpoint.NAMES if name.startswith(("log.append", "log.roll"))])
def test_a_failed_write_stops_the_partition(tmp_path: Path, name: str, action: str) -> None:
    done = run_writer(tmp_path, f"{name}:3:{action}")
    assert done.returncode == 0, done.stderr
    assert "failed writing the log in" in done.stdout
    assert "refused the log in" in done.stdout and "an append before did not finish" in done.stdout
    least = acknowledged(done.stdout)
    head = check(tmp_path, least)
    assert head == least if name in ("log.append.before", "log.append.after_write") else head >= least
    again = run_writer(tmp_path)
    assert check(tmp_path, acknowledged(again.stdout)) == head + 36


@pytest.mark.parametrize("limit", range(1200, 3000, 150))
def test_a_file_that_may_not_grow(tmp_path: Path, limit: int) -> None:
    """RLIMIT_FSIZE: the kernel writes a part and then refuses, as a full disk does."""
    prelude = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    folder = tmp_path / "log"
    done = run_writer(folder, prelude=prelude)
    assert done.returncode == 0, done.stderr
    assert "failed writing the log" in done.stdout and acknowledged(done.stdout) < 36
    size = sum(path.stat().st_size for path in folder.glob("*.segment"))
    head = check(folder, acknowledged(done.stdout))
    assert head == acknowledged(done.stdout)
    assert sum(path.stat().st_size for path in folder.glob("*.segment")) == size


WRITER_AHEAD = """
import resource, sys
from pathlib import Path
import headwater.log.writer
from log_samples import group, part
from headwater.errors import StorageFailed
from headwater.log.partition import Partition

headwater.log.writer.PENDING_BYTES = 1000
partition = Partition.open(Path(sys.argv[1]))
partition.append([group(1, order_rows=2), group(2, click_rows=1, filtered={"audit": 1})])
size = partition.segments()[0].bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9000, size + 9000))
try:
    partition.append([group(3 + n, order_rows=2) for n in range(20)])
except StorageFailed:
    assert partition.segments()[0].path.stat().st_size == size
    print("cut")
"""


def test_what_was_written_ahead_of_the_fsync_is_cut_when_the_rest_fails(tmp_path: Path) -> None:
    """Much data reaches the file in pieces before the one fsync; none of it stays when a later piece fails."""
    environment = {**os.environ, "PYTHONPATH": PATHS}
    command = [sys.executable, "-c", WRITER_AHEAD, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "cut\n", done.stderr
    assert check(tmp_path, 3) == 3


def test_one_fsync_for_all_groups_before_the_mark_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill cannot show: that the bytes were asked onto the disk before anything said that they are durable."""
    partition = Partition.open(tmp_path)
    synced: list[tuple[int, Mark | None]] = []
    whole = os.fdatasync

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, read_mark(tmp_path)[0]))
        whole(descriptor)

    monkeypatch.setattr(os, "fdatasync", watched)
    before = read_mark(tmp_path)[0]
    partition.append([group(1, order_rows=2), group(2), group(3, click_rows=1)])
    assert synced == [(partition.segments()[0].bytes, before)]
    after = read_mark(tmp_path)[0]
    assert after is not None and (after.length, after.head) == (partition.segments()[0].bytes, 3)


def test_a_failed_fsync_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = Partition.open(tmp_path)
    partition.append([group(1, order_rows=2)])
    size, tried = partition.segments()[0].bytes, []

    def failing(descriptor: int) -> None:
        tried.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", failing)
    for _ in range(2):
        with pytest.raises(StorageFailed):
            partition.append([group(2, click_rows=1)])
    assert len(tried) == 1 and partition.head == 2
    assert partition.segments()[0].path.stat().st_size == size
    partition.close()
