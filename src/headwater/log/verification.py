"""Checking a whole log: every frame of every segment, every damaged range named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headwater.errors import CorruptLog, UserError
from headwater.log.mark import Mark, read_mark
from headwater.log.recovery import BAD_HEADER, MISSING, is_unfinished, judge
from headwater.log.scan import Scan, scan
from headwater.log.segment import SegmentHeader, decode_header, map_file, segment_path, segment_paths

Kind = Literal["corrupt", "tail"]


@dataclass(frozen=True)
class Finding:
    """One damaged range.

    Attributes:
        kind: `corrupt` is loss; `tail` is an append that did not finish (or is going on), which opening cuts.
        segment: name of the file.
        begin, end: the bytes [begin, end).
        first_offset: the first offset that stood there.
        next_offset: the offset at which whole records go on; None if unknown.
        reason: what is wrong, in words.
    """

    kind: Kind
    segment: str
    begin: int
    end: int
    first_offset: int
    next_offset: int | None
    reason: str


@dataclass
class VerifyReport:
    """What `verify` found.

    Attributes:
        segments: segment files looked at.
        frames: whole frames.
        records: records in whole, committed groups before any damage of their segment.
        bytes: bytes looked at.
        findings: damaged ranges, in order.
        notes: what is not damage but worth saying.
    """

    segments: int = 0
    frames: int = 0
    records: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """No durable byte is damaged or missing."""
        return all(finding.kind == "tail" for finding in self.findings)


@dataclass(frozen=True)
class _Before:
    """The segment before the one at hand."""

    path: Path
    found: Scan


def verify(folder: Path) -> VerifyReport:
    """Checks every frame of every segment in `folder`; changes nothing and needs no lock.

    Raises:
        UserError: there is no log.
    """
    paths = segment_paths(folder)
    mark, damaged = read_mark(folder)
    if not paths and mark is None:
        raise UserError(f"there is no log in {folder}", hint="headwater run makes it; or give another --state folder")
    report = VerifyReport()
    if damaged or mark is None:
        report.notes.append("a slot of the durable mark is damaged" if damaged else "the durable mark is missing")
    before: _Before | None = None
    for path in paths:
        before = _check_segment(report, path, before, mark, last=path == paths[-1])
    if mark is not None and mark.length and (not paths or int(paths[-1].stem) < mark.base):
        name = segment_path(folder, mark.base).name
        report.findings.append(Finding("corrupt", name, 0, mark.length, mark.base, mark.head, MISSING))
    return report


def _check_segment(
    report: VerifyReport, path: Path, before: _Before | None, mark: Mark | None, *, last: bool
) -> _Before | None:
    # A live writer may cut its last segment, and a mapped page that is cut away kills the process: that one is copied.
    view = memoryview(path.read_bytes()) if last else map_file(path)
    report.segments += 1
    report.bytes += len(view)
    header, base = decode_header(view), int(path.stem)
    if header is None or header.base != base:
        kind: Kind = "tail" if last and is_unfinished(base, mark) else "corrupt"
        report.findings.append(Finding(kind, path.name, 0, len(view), base, None, BAD_HEADER))
        return None
    if before is not None:
        _check_link(report, before, header)
    found = scan(view, header)
    report.frames += len(found.frames)
    report.records += found.head - header.base
    _check_frames(report, path, found, mark, last=last)
    return _Before(path, found)


def _check_link(report: VerifyReport, before: _Before, header: SegmentHeader) -> None:
    """Checks that the segment before is the one that `header` says was there, in its full length."""
    last, path = before.found, before.path
    if header.previous_base != last.header.base:
        name = segment_path(path.parent, header.previous_base).name
        report.findings.append(
            Finding("corrupt", name, 0, header.previous_length, header.previous_base, header.base, MISSING)
        )
    elif last.size != header.previous_length:
        begin, end = sorted((last.size, header.previous_length))
        reason = f"the segment has {last.size} bytes where it had {header.previous_length}"
        report.findings.append(Finding("corrupt", path.name, begin, end, last.head, header.base, reason))
    elif not last.damages and last.frames and last.frames[-1].crc != header.previous_crc:
        reason = "the segment is not the one that the next one follows"
        report.findings.append(Finding("corrupt", path.name, 0, last.size, last.header.base, header.base, reason))


def _check_frames(report: VerifyReport, path: Path, found: Scan, mark: Mark | None, *, last: bool) -> None:
    refusal = _refusal(path, found, mark) if last else None
    kind: Kind = "corrupt" if not last or refusal else "tail"
    for damage in found.damages:
        place = (damage.begin, damage.end, damage.first_offset, damage.next_offset)
        report.findings.append(Finding(kind, path.name, *place, damage.reason))
    if not found.damages and (refusal or found.keep < found.size):
        reason = refusal or "a group without its commit"
        report.findings.append(Finding(kind, path.name, found.keep, found.size, found.head, None, reason))


def _refusal(path: Path, found: Scan, mark: Mark | None) -> str:
    """What opening the log would say, "" if it would open."""
    try:
        judge(path, found, mark)
    except CorruptLog as error:
        return error.message
    return ""
