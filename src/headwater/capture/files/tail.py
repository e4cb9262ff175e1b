"""Which files there are, which of them are new, and where the content of a rotated one has gone.

Files are looked at by asking for their size. One that was renamed is found by its inode. One whose content is gone from
where it was (copytruncate, compressed rotation) leaves an *orphan*: what is known of it. A file of the same series that
begins with the same bytes, and has the same bytes before the place where reading stood, holds the orphan's content and
is read on from there. While the original is still there such a copy is *held*: it is not read, for it says nothing
new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import iglob
from pathlib import Path

from headwater.capture.files.content import Content, open_content
from headwater.capture.files.followed import File, Loss, Orphan
from headwater.capture.files.known import HEAD, TAIL, Known, fingerprint
from headwater.capture.files.rotation import may_succeed, originals
from headwater.clock import Clock
from headwater.errors import SourceStopped

OPEN_FILES = 256
"""So many files are kept open; others are looked at where they were found."""

_COMPRESSED_BEGIN = 30.0
"""Seconds after which a compressed file that holds nothing is taken for an empty one, not one that is being written."""


@dataclass(frozen=True)
class Series:
    """The files of one stream: patterns of their paths, and whether they are containers."""

    patterns: Sequence[str]
    container: bool = False


class Tail:
    """The files of a source.

    Args:
        series: by stream.
        folder: that paths are counted from.
        known: what is known of files.
        clock: time.
        patience_s: how long an orphan waits for the file that holds its content.
    """

    def __init__(
        self,
        series: Mapping[str, Series],
        folder: Path,
        known: Sequence[Known],
        clock: Clock,
        patience_s: float,
    ) -> None:
        self.files: dict[tuple[str, int, int], File] = {}
        self.orphans: list[Orphan] = []
        self.losses: list[Loss] = []
        self.from_end = False
        self._series = series
        self._folder = folder
        self._clock = clock
        self._now = clock.monotonic_s
        self._patience_s = patience_s
        self._named: dict[tuple[str, str], list[File]] = {}
        self._replaced: list[File] = []
        for one in known:
            container = series[one.stream].container
            if one.id in self.files:  # what was in the file before it was cut, which had not been found elsewhere
                self.orphans.append(Orphan(replace(one), "truncated", clock.monotonic_s()))
                continue
            self.files[one.id] = File(replace(one), changed_s=clock.monotonic_s(), container=container)

    def known(self) -> Iterator[Known]:
        """All that is to be remembered: of files with the same inode the first is what the file holds now."""
        yield from (file.known for file in self.files.values() if file.held_by is None)
        yield from (orphan.known for orphan in self.orphans)

    def find(self) -> None:
        """Looks for files that came, moved, and went.

        Raises:
            SourceStopped: a file may not be read.
        """
        news = self._met(self._listed())
        for file in [file for file in self.files.values() if file.missing]:
            self._seek(file)
        self._named = {}
        for file in self.files.values():
            self._name(file)
        for stream, path, status in news:
            self._new(stream, path, status)
        for file in self._replaced:  # a copy may have the inode of a file that was removed
            if not file.container and not file.known.offset and file.held_by is None:
                file.held_by = self._original(file)
        self._replaced = []
        for file in [file for file in self.files.values() if file.held_by is not None]:
            self._hold(file)
        for orphan in list(self.orphans):
            self._settle(orphan)
        self.from_end = False

    def _name(self, file: File) -> None:
        self._named.setdefault((file.known.stream, os.path.basename(file.known.path)), []).append(file)

    def look(self) -> bool:
        """Asks the files that are open for their size; True if one of them has been replaced, so that `find` is due."""
        replaced = False
        for file in list(self.files.values()):
            if file.content is None:
                continue
            status = file.content.status()
            if self._changed(file, status):
                self._renew(file, status)
            elif not file.unread and not file.missing and self._now() - file.changed_s < 60:
                replaced = replaced or not self._still_there(file)
        return replaced

    def open(self, file: File) -> Content:
        """The content of a file; those that have been quiet for longest are closed in exchange.

        Raises:
            FileNotFoundError: its name leads nowhere any more, or to another file.
            OSError: it cannot be opened.
        """
        if file.content is None:
            content = open_content(self.path(file.known))
            status = content.status()
            if (status.st_dev, status.st_ino) != (file.known.device, file.known.inode):
                content.close()
                raise FileNotFoundError(self.path(file.known))
            file.content = content
            opened = [other for other in self.files.values() if other.content is not None and other is not file]
            for other in sorted(opened, key=lambda one: one.changed_s)[: len(opened) + 1 - OPEN_FILES]:
                if not other.missing:
                    self.shut(other)
        return file.content

    def still_holds(self, file: File) -> bool:
        """Whether a file that was just read begins with what it began with when it was looked at. If not, it has been
        cut and written anew meanwhile, and what was read may be of either content: the next look tells."""
        known, content = file.known, self.open(file)
        if content.compressed or fingerprint(content.read(0, known.head)) == known.head_print:
            return True
        known.modified_ns = 0
        return False

    def shut(self, file: File) -> None:
        """Closes a file, which is followed as before."""
        content, file.content = file.content, None
        if content is not None:
            content.close()

    def close(self) -> None:
        """Closes all files."""
        for file in self.files.values():
            self.shut(file)

    def path(self, known: Known) -> str:
        """Where a file is."""
        return str(self._folder / known.path)

    def _listed(self) -> list[tuple[str, str, os.stat_result]]:
        """Stream, path and status of every file, those that changed first first."""
        found = []
        for stream, series in self._series.items():
            for pattern in series.patterns:
                for path in iglob(str(self._folder / pattern), recursive=True):
                    with suppress(FileNotFoundError):
                        status = os.stat(path)
                        if os.path.isfile(path):
                            found.append((stream, self._shown(path), status))
        return sorted(found, key=lambda one: (one[2].st_mtime_ns, one[1]))

    def _shown(self, path: str) -> str:
        inside = os.path.relpath(path, self._folder)
        return path if inside.startswith("..") else inside

    def _met(self, listed: Sequence[tuple[str, str, os.stat_result]]) -> list[tuple[str, str, os.stat_result]]:
        """Takes note of the files that are known; returns the others."""
        for file in self.files.values():
            file.missing = True
        news, seen = [], set()
        for stream, path, status in listed:
            identity = (stream, status.st_dev, status.st_ino)
            met = self.files.get(identity)
            if met is None and identity not in seen:
                news.append((stream, path, status))
            elif met is not None and met.missing:
                met.known.path, met.missing = path, False
                if self._changed(met, status):
                    self._renew(met, status)
            seen.add(identity)
        return news

    def _changed(self, file: File, status: os.stat_result) -> bool:
        return (status.st_size, status.st_mtime_ns) != (file.known.size, file.known.modified_ns)

    def _still_there(self, file: File) -> bool:
        """Whether a file's name still leads to it."""
        try:
            status = os.stat(self.path(file.known))
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (file.known.device, file.known.inode)

    def _renew(self, file: File, status: os.stat_result) -> None:
        """A file has another size or time: it has grown, or holds something else now."""
        known = file.known
        with suppress(FileNotFoundError):
            if not self._same(file, status.st_size):
                why = "truncated" if status.st_size < known.offset or known.head else "replaced"
                self.orphans.append(Orphan(replace(known), why, self._now()))
                known.head, known.head_print, known.offset, known.tail_print = 0, "", 0, ""
                file.forget()
                self.shut(file)
                self._same(file, status.st_size)
                self._replaced.append(file)
            known.size, known.modified_ns, known.whole = status.st_size, status.st_mtime_ns, False
            file.changed_s = self._now()

    def _same(self, file: File, size: int) -> bool:
        """Whether a file still begins with what it began with, and has the same before where reading stands. Takes note
        of its first bytes, if there are more now."""
        known = file.known
        if file.container:
            head = self._raw_head(file)
            same = not known.head or fingerprint(head[: known.head]) == known.head_print
            known.head, known.head_print, known.whole_only = len(head), fingerprint(head), True
            return same
        content = self.open(file)
        if not content.compressed and size < known.offset:
            return False
        head = content.read(0, HEAD)
        if fingerprint(head[: known.head]) != known.head_print:
            return False
        if not known.head:
            known.whole_only = content.compressed
        known.head, known.head_print = max(known.head, len(head)), fingerprint(head[: max(known.head, len(head))])
        return content.compressed or self._tail_of(content, known.offset) == known.tail_print

    def _raw_head(self, file: File) -> bytes:
        with open(self.path(file.known), "rb") as opened:
            return opened.read(HEAD)

    def _tail_of(self, content: Content, offset: int) -> str:
        """What `Known.tail_print` says if the content has the length; "short" otherwise."""
        start = max(0, offset - TAIL)
        part = content.read(start, offset - start)
        return fingerprint(part) if len(part) == offset - start else "short"

    def _seek(self, file: File) -> None:
        """A file that no pattern finds: renamed to where they do not reach, or gone."""
        known = file.known
        if file.content is None and not self._found_beside(file):
            del self.files[known.id]
            if file.held_by is None:  # a copy that goes takes nothing with it
                self.orphans.append(Orphan(known, "vanished", self._now()))
            return
        content = self.open(file)
        status = content.status()
        if self._changed(file, status):
            self._renew(file, status)
        if not file.unread and file.stuck is None and self._now() - file.changed_s > self._patience_s:
            self.shut(file)
            del self.files[known.id]
            if not status.st_nlink and file.held_by is None:
                self.orphans.append(Orphan(known, "vanished", self._now()))

    def _found_beside(self, file: File) -> bool:
        """Looks for a file by its inode in the folder that it was in."""
        folder = os.path.dirname(self.path(file.known))
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() == file.known.inode and entry.stat().st_dev == file.known.device:
                    before, file.known.path = file.known.path, self._shown(entry.path)
                    with suppress(OSError):
                        if self._same(file, entry.stat().st_size):
                            return True
                    self.shut(file)
                    file.known.path = before
        return False

    def _new(self, stream: str, path: str, status: os.stat_result) -> None:
        """A file that is not known: new content, or what was in another."""
        known = Known(stream, path, status.st_dev, status.st_ino, size=status.st_size, modified_ns=status.st_mtime_ns)
        file = File(known, changed_s=self._now(), container=self._series[stream].container)
        try:
            self._same(file, status.st_size)
        except FileNotFoundError:
            return
        except OSError as error:
            hint = f"let the user that runs Headwater read {path}, or leave it out of `files`"
            raise SourceStopped(f"{path} cannot be read: {error.strerror}", hint=hint) from error
        if known.whole_only and not known.head and self._clock.now_us() / 1e6 - status.st_mtime < _COMPRESSED_BEGIN:
            self.shut(file)
            return
        self.files[known.id] = file
        self._name(file)
        if self.from_end:
            self._skip(file)
        elif not file.container:
            file.held_by = self._original(file)

    def _skip(self, file: File) -> None:
        """Begins behind the last line that is there."""
        known = file.known
        if known.whole_only:
            known.whole = True
            return
        content = self.open(file)
        start = max(0, known.size - (1 << 16))
        part = content.read(start, known.size - start)
        known.offset = start + part.rfind(b"\n") + 1 if b"\n" in part else known.size
        known.tail_print = self._tail_of(content, known.offset)

    def _original(self, file: File) -> File | None:
        """The file, still there, that this one is a copy of, or is becoming one."""
        for name in originals(os.path.basename(file.known.path)):
            for other in self._named.get((file.known.stream, name), ()):
                if other is not file and other.held_by is None and self._is_copy(file, other):
                    return other
        if file.known.whole_only:  # compressed, and moved on, since the plain file was removed, which is open still
            for other in self.files.values():
                removed = other.missing and other.content is not None and not other.content.status().st_nlink
                if removed and other.held_by is None and other.family == file.family and self._is_copy(file, other):
                    return other
        return None

    def _is_copy(self, file: File, other: File) -> bool:
        """Whether a file holds nothing but what the other begins with. It is taken to where the other has just gone:
        the next look finds it elsewhere, or knows it as an orphan, and what its copy is then."""
        with suppress(OSError):
            copy = self.open(file)
            head = copy.read(0, HEAD)
            try:
                original = self.open(other)
            except FileNotFoundError:
                return True
            if original.read(0, len(head)) != head:
                return False
            return copy.compressed or copy.status().st_size <= original.status().st_size
        return False

    def _hold(self, file: File) -> None:
        """Goes on holding a copy, or lets it go."""
        original = file.held_by
        if original is None:
            return
        gone = self.files.get(original.known.id) is not original or any(
            orphan.known.id == original.known.id for orphan in self.orphans
        )
        if not gone and not self._is_copy(file, original):
            file.held_by = None

    def _settle(self, orphan: Orphan) -> None:
        """Looks for the file that holds an orphan's content; without one it is lost, or was all read."""
        known = orphan.known
        if self._successor(orphan):
            self.orphans.remove(orphan)
            return
        if self._now() - orphan.since_s < self._patience_s:
            return
        self.orphans.remove(orphan)
        for file in self.files.values():
            if file.held_by is not None and file.held_by.known.id == known.id:
                file.held_by = None
        missing = (0 if known.whole else 1) if known.whole_only else known.size - known.offset
        if missing > 0:
            what = {"vanished": "vanished", "truncated": "was truncated", "replaced": "was replaced"}[orphan.why]
            message = f"{known.path} {what} before all of it was read"
            self.losses.append(Loss(f"file_{orphan.why}", message, known, missing))

    def _successor(self, orphan: Orphan) -> bool:
        """Whether a file is found that holds an orphan's content, which it then is read on in."""
        known = orphan.known
        if not known.offset and self._released(orphan):
            return True
        for file in [*self.files.values()]:
            fresh = file.known.offset == 0 and file.known.id != known.id and file.known.stream == known.stream
            if fresh and self._continues(file, known):
                return not known.offset or self._hand_over(file, known)
        return self._successor_beside(orphan)

    def _released(self, orphan: Orphan) -> bool:
        """Of an orphan of which nothing was read, a copy that was held is read from its beginning; not a copy of what
        came after it in the same file."""
        ours = (file for file in self.files.values() if file.held_by and file.held_by.known.id == orphan.known.id)
        held = [file for file in ours if self._continues(file, orphan.known)]
        for file in held:
            file.held_by = None
        return bool(held)

    def _continues(self, file: File, known: Known) -> bool:
        """Whether a file has the content that is known, up to where reading stood."""
        if not may_succeed(os.path.basename(file.known.path), os.path.basename(known.path)):
            return False
        with suppress(OSError):
            content = self.open(file)
            head = content.read(0, known.head)
            if fingerprint(head) != known.head_print:
                return False
            return self._tail_of(content, known.offset) == known.tail_print
        return False

    def _hand_over(self, file: File, known: Known) -> bool:
        file.known.offset, file.known.tail_print, file.held_by = known.offset, known.tail_print, None
        file.forget()
        return True

    def _successor_beside(self, orphan: Orphan) -> bool:
        """Looks among the files beside, which no pattern finds."""
        known = orphan.known
        folder = os.path.dirname(self.path(known))
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file() or not may_succeed(entry.name, os.path.basename(known.path)):
                    continue
                status = entry.stat()
                identity = (known.stream, status.st_dev, status.st_ino)
                if identity in self.files:
                    continue
                found = Known(
                    known.stream, self._shown(entry.path), status.st_dev, status.st_ino,
                    size=status.st_size, modified_ns=status.st_mtime_ns,
                )  # fmt: skip
                file = File(found, changed_s=self._now(), missing=True)
                if self._continues(file, known) and self._same(file, status.st_size):
                    self.files[identity] = file
                    return self._hand_over(file, known)
                self.shut(file)
        return False
