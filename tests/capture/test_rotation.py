"""Logs that are rotated in every way, at every instant, read by a process that dies at every instant: nothing is lost,
and nothing is read twice but what an unfinished copytruncate left in two files."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from following import Following
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.capture.files.rotation import may_succeed, originals, stem
from headwater.capture.files.tail import Tail
from headwater.capture.request import Request
from headwater.errors import PositionLost

LOG = {"log": {"paths": "app.log*"}}


class Writer:
    """Writes numbered lines to app.log, and rotates it.

    Attributes:
        written: every whole line, in order.
        twice: those that a copytruncate which was given up left in a copy as well as in the log. When the log itself
            then goes elsewhere, a reader that sees both cannot tell the copy from another log that begins alike, which
            to pass over would be a loss: it may take these lines again.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder, width
        self.written: list[str] = []
        self.path = folder / "app.log"
        self.twice: set[str] = set()
        self._copied: set[str] = set()
        self.part = ""
        self.stamp = 1_700_000_000

    def _append(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
        self.stamp += 1  # file systems tell times apart more coarsely than this test writes
        os.utime(self.path, (self.stamp, self.stamp))

    def lines(self, count: int) -> None:
        """Appends whole lines, the first of which ends a partial one."""
        for _ in range(count):
            line = self.part or f"{len(self.written)} {'x' * (len(self.written) % self.width)}"
            self._append(line[len(self.part) :] + "\n" if not self.part else "\n")
            self.written.append(line)
            self.part = ""

    def partial(self) -> None:
        """Appends a line without its end."""
        if not self.part:
            self.part = f"{len(self.written)} partial"
            self._append(self.part)

    def _shift(self) -> None:
        for number in range(8, 0, -1):
            for suffix in ("", ".gz"):
                old = self.folder / f"app.log.{number}{suffix}"
                if old.exists():
                    old.rename(self.folder / f"app.log.{number + 1}{suffix}")

    def rename(self) -> None:
        """Rotation by renaming: only between lines, as the next line begins in a new file."""
        if self.path.exists() and not self.part:
            self.twice, self._copied = self.twice | self._copied, set()
            self._shift()
            self.path.rename(self.folder / "app.log.1")

    def copy(self) -> None:
        """The first half of copytruncate."""
        if self.path.exists() and not self.part:
            self._shift()
            shutil.copyfile(self.path, self.folder / "app.log.1")
            self.twice |= self._copied
            self._copied = set(self.path.read_text(encoding="utf-8").splitlines())

    def truncate(self) -> None:
        """The second half."""
        copy = self.folder / "app.log.1"
        if self.path.exists() and copy.exists() and copy.read_bytes() == self.path.read_bytes() and not self.part:
            os.truncate(self.path, 0)
            self._copied = set()
            self.stamp += 1
            os.utime(self.path, (self.stamp, self.stamp))

    def compress(self) -> None:
        """gzip of the newest rotated file: written beside it, which is then removed."""
        old = self.folder / "app.log.1"
        if old.exists() and (not self.path.exists() or old.read_bytes() != self.path.read_bytes()):
            self.twice |= self._copied
            (self.folder / "app.log.1.gz").write_bytes(gzip.compress(old.read_bytes()))
            old.unlink()


ACTIONS = ("lines", "lines", "partial", "rename", "copy", "truncate", "compress", "read", "read", "die", "forget")


EXAMPLES = {"pr": 50, "night": 5_000, "release": 50_000}[os.environ.get("HEADWATER_SIZE", "pr")]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ACTIONS), max_size=40), st.sampled_from([3, 400]), st.randoms(use_true_random=False))
@example(["lines", "copy", "rename"], 3, random.Random(1))
@example(["lines", "copy", "copy", "truncate"], 3, random.Random(1))
@example(["lines", "copy", "read", "lines", "compress"], 3, random.Random(1))
@example(["partial", "read", "lines", "rename", "die", "compress"], 3, random.Random(1))
@example(["lines", "rename", "read", "lines", "compress", "rename"], 3, random.Random(1))
@example(["partial", "read", "lines", "copy", "truncate", "lines", "copy"], 3, random.Random(1))
def test_every_line_once_whatever_happens_between(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], width: int, rng: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    follow, writer = run(folder, actions, width, rng)
    follow.drain(12)
    seen = Counter(follow.values())
    assert set(seen) == set(writer.written), actions
    assert {line for line, count in seen.items() if count > 1} <= writer.twice, actions
    shutil.rmtree(folder)


@pytest.mark.parametrize("bug", ["_continues", "_original"])
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bug: str) -> None:
    """Without one part of the watch over rotation, a rotation that needs it loses lines or reads them twice."""
    monkeypatch.setattr(Tail, bug, lambda *_: None)
    script = {
        "_continues": ["lines", "read", "lines", "copy", "truncate", "read"],
        "_original": ["lines", "read", "copy", "read"],
    }[bug]
    follow, writer = run(tmp_path, script, 400, random.Random(1))
    try:
        follow.drain(12)
    except PositionLost:
        return
    assert sorted(follow.values()) != sorted(writer.written)


def run(folder: Path, actions: list[str], width: int, rng: random.Random) -> tuple[Following, Writer]:
    """Does what is said; at the end the last line is whole and all has been looked at."""
    writer, follow = (
        Writer(folder, width),
        Following(folder, {"log": {"paths": "app.log*", "unfinished_after_s": None}}),
    )
    for action in actions:
        if action == "lines":
            writer.lines(rng.randrange(1, 60))
        elif action == "read":
            follow.step()
        elif action == "die":
            follow.crash()
        elif action == "forget":
            follow.step(durable=False)
            follow.crash()
        else:
            getattr(writer, action)()
    if writer.part:
        writer.lines(1)
    return follow, writer


def test_a_rotated_file_is_found_where_no_pattern_looks(tmp_path: Path) -> None:
    only = {"log": {"paths": "app.log"}}
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, only)
    writer.lines(50)
    follow.step()
    writer.lines(10)
    follow.crash()
    writer.rename()
    writer.lines(5)
    assert sorted(follow.drain(10).values()) == sorted(writer.written)
    writer.lines(7)
    follow.crash()
    (tmp_path / "app.log.1").unlink()
    writer.rename()
    writer.compress()
    writer.lines(3)
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_a_log_that_was_cut_is_read_on_after_a_kill_before_its_copy_was_found(tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG, find_every_s=1000)
    writer.lines(50)
    follow.step()
    writer.lines(4)
    writer.copy()
    writer.truncate()
    writer.lines(3)
    assert follow.step() is not None, "what the log holds now is read; nobody has looked for the copy"
    follow.crash()
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_a_log_that_is_cut_between_a_look_and_the_reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG)
    writer.lines(20)
    follow.step()
    look, rotations = Tail.look, [1, 3]

    def rotated_after(tail: Tail) -> bool:
        found = look(tail)
        if rotations:
            writer.copy()
            writer.truncate()
            writer.lines(rotations.pop())
        return found

    monkeypatch.setattr(Tail, "look", rotated_after)
    writer.lines(2)
    follow.step(after_s=0.2)
    follow.step(after_s=0.2)
    assert not rotations
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_a_file_that_goes_between_a_look_and_the_comparison_with_its_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG, find_every_s=1000)
    writer.lines(20)
    writer.rename()
    writer.lines(3)
    follow.drain(3)
    follow.crash()
    rotated, listed = tmp_path / "app.log.1", Tail._listed
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))

    def removed_after(tail: Tail) -> list[tuple[str, str, os.stat_result]]:
        found = listed(tail)
        rotated.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Tail, "_listed", removed_after)
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_a_name_that_leads_to_another_file_meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG)
    writer.lines(20)
    follow.drain(3)
    follow.crash()
    writer.lines(2)
    listed, rotations = Tail._listed, [2]

    def rotated_after(tail: Tail) -> list[tuple[str, str, os.stat_result]]:
        found = listed(tail)
        if rotations:
            writer.rename()
            writer.lines(rotations.pop())
        return found

    monkeypatch.setattr(Tail, "_listed", rotated_after)
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_a_removed_file_that_is_open_is_read_to_its_end(tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG)
    writer.lines(50)
    follow.step()
    writer.lines(10)
    writer.path.unlink()
    writer.lines(5)
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


@pytest.mark.parametrize("how", ["truncate", "unlink"])
def test_what_is_gone_unread_stops_the_source_until_it_is_accepted(tmp_path: Path, how: str) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"a\nb\n" + b"c" * 5_000_000 + b"\n" + b"d" * 5_000_000)
    follow = Following(tmp_path, LOG)
    follow.step()
    follow.crash()
    os.truncate(path, 0) if how == "truncate" else path.unlink()
    with pytest.raises(PositionLost) as raised:
        follow.drain(10)
    assert raised.value.lost_bytes and raised.value.lost_bytes >= 5_000_000
    assert raised.value.cause == ("file_truncated" if how == "truncate" else "file_vanished")
    assert follow.resume is not None
    examined = follow.source.examine(follow.resume)
    assert examined is not None and examined.cause == raised.value.cause
    follow.open(Request("1", "accept_gap", cause=raised.value.cause, reason="it was a test"))
    path.write_bytes(b"e\n")
    follow.drain(10)
    (gap,) = [row for row in follow.rejects if row["stage"] == "gap"]
    assert (gap["stream"], gap["reason"]) == ("source:logs", raised.value.cause)
    assert follow.values()[-1] == "e"
    follow.open()
    follow.drain(10)
    assert len([row for row in follow.rejects if row["stage"] == "gap"]) == 1


def test_a_loss_is_entered_without_a_stop_where_the_settings_say_so(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"a\n" + b"c" * 9_000_000)
    follow = Following(tmp_path, LOG, lost="record")
    follow.step()
    os.truncate(path, 0)
    follow.drain(10)
    assert [row["stage"] for row in follow.rejects if row["stage"] == "gap"] == ["gap"]


def test_what_was_read_and_then_removed_is_no_loss(tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG)
    writer.lines(50)
    follow.drain(3)
    follow.crash()
    writer.path.unlink()
    follow.drain(12)
    assert follow.resume is not None and follow.source.examine(follow.resume) is None


def test_files_that_begin_alike_are_not_taken_for_copies(tmp_path: Path) -> None:
    for name in ("part-1.csv", "part-2.csv", "x.csv"):
        (tmp_path / name).write_bytes(b"id\n1\n")
    (tmp_path / "x-1.csv").write_bytes(b"id\n1\n2\n")
    follow = Following(tmp_path, {"log": {"paths": "*.csv", "format": "csv"}}).drain(8)
    assert len(follow.rows["log"]) == 1 + 1 + 1 + 2


def test_an_inode_that_is_used_again_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"first file\n")
    follow = Following(tmp_path, LOG).drain(3)
    follow.crash()
    with path.open("r+b") as file:  # the same inode, as long, and other content
        file.write(b"other file\n")
    assert follow.drain(10).values() == ["first file", "other file"]


def test_a_copy_with_the_inode_of_a_removed_file_is_held(tmp_path: Path) -> None:
    writer, follow = Writer(tmp_path, 400), Following(tmp_path, LOG)
    writer.lines(20)
    follow.drain(3)
    writer.rename()
    (tmp_path / "app.log.1").rename(tmp_path / "reused")
    shutil.copyfile(tmp_path / "reused", tmp_path / "app.log.2")
    follow.crash()
    writer.lines(3)
    (tmp_path / "reused").write_bytes(writer.path.read_bytes())
    (tmp_path / "reused").rename(tmp_path / "app.log.1")
    assert sorted(follow.drain(10).values()) == sorted(writer.written)


def test_names_of_a_series() -> None:
    series = ["app.log", "app.log.1", "app.log.12.gz", "app.log-20261122", "app.log-20261122.zst", "app-2026-11-22.log"]
    assert {stem(name) for name in series} == {"app.log"}
    assert may_succeed("app.log.3.gz", "app.log") and not may_succeed("other.log.1", "app.log")
    assert originals("app.log.1") == {"app.log"} and originals("app.log.1.gz") == {"app.log.1", "app.log"}
    assert originals("app.log") == set() and originals("part-2.csv") == {"part.csv"}
