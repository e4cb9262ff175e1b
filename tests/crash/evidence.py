"""What a case leaves behind, judged: tables, models, accounts, every record of the log, every table snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pyiceberg.catalog.sql import SqlCatalog

from headwater.change import Op
from headwater.demo.demonstration import Status, verify_project
from headwater.demo.verify import accounting_mismatches
from headwater.log.verification import verify as verify_log
from headwater.log.view import open_for_reading
from headwater.project import Project

LOST, DOUBLED, BROKEN = "lost", "doubled", "broken"
SOURCE = "shop"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it must be.

    Attributes:
        kind: LOST, DOUBLED (or invented), or BROKEN (anything else).
        sentence: what it is.
    """

    kind: str
    sentence: str


def judge(project: Project, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
    """All faults of a project that has caught up with its source, both at rest.

    Args:
        project: the project.
        url: the shop's URL.
        status: what the project said last.
        written: rows that the shop committed, by commit LSN.
    """
    found = verify_project(project, url, status)
    faults = [Fault(_kind(sentence), sentence) for sentence in found.mismatches]
    if not found.checked:
        faults.append(Fault(BROKEN, "nothing was compared"))
    faults += [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
    rejects = status.get("rejects")
    none_open = isinstance(rejects, dict) and rejects.get("open") == 0
    if status.get("accounting") is not True or not none_open or status.get("error"):
        told = {name: status.get(name) for name in ("accounting", "rejects", "error")}
        faults.append(Fault(BROKEN, f"the status says {told}"))
    faults += whole_log(project.state)
    faults += log_faults(project.state, written)
    faults += list(snapshot_faults(project))
    return faults


def _kind(sentence: str) -> str:
    if "missing from the lake" in sentence:
        return LOST
    return DOUBLED if "in the lake and not in" in sentence else BROKEN


def whole_log(state: Path) -> list[Fault]:
    """Damage in the log's bytes that is not the tail of an unfinished append."""
    folder = state / "log" / SOURCE
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    report = verify_log(folder)
    return [Fault(BROKEN, f"log: {found}") for found in report.findings if not report.ok]


@dataclass(frozen=True)
class Records:
    """Columns over all changes in the log, in its order."""

    ops: np.ndarray
    commits: np.ndarray
    ordinals: np.ndarray
    weights: np.ndarray
    streams: np.ndarray
    whole: bool
    rejects: int


def read_log(state: Path) -> Records:
    """All changes of the source's log."""
    log = open_for_reading(state / "log" / SOURCE)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("_op", "_commit", "_ordinal", "_weight")}
    streams: list[np.ndarray] = []
    names: dict[str, int] = {}
    rejects = 0
    for record in log.read(log.base, log.head):
        if record.stream is None:
            rejects += record.rows.num_rows
            continue
        for name, columns in parts.items():
            columns.append(record.rows.column(name).to_numpy())
        number = names.setdefault(record.stream.name, len(names))
        streams.append(np.full(record.rows.num_rows, number))
    ops, commits, ordinals, weights = (np.concatenate([*columns, []]).astype(np.int64) for columns in parts.values())
    return Records(ops, commits, ordinals, weights, np.concatenate([*streams, []]), log.base == 0, rejects)


def log_faults(state: Path, written: Mapping[int, int]) -> list[Fault]:
    """Gaps, duplicates and disorder in the log, held against what PostgreSQL says was committed.

    A change is identified by (commit, ordinal); the two halves of an update or key change share it and differ in
    weight. The stream begins after the initial snapshot, or with the first segment that retention has left; what is
    read of tables beside it is in no transaction.
    """
    log = read_log(state)
    faults = list(faults_in_itself(log))
    reads = log.ops == Op.READ
    if log.whole and not reads.any():
        return [*faults, Fault(LOST, "log: no snapshot")]
    start = log.commits[reads].min() if log.whole else log.commits.min(initial=np.iinfo(np.int64).max) - 1
    beside = reads | (log.ops == Op.SNAPSHOT_BEGIN) | (log.ops == Op.SNAPSHOT_END)
    streamed = ~beside & (log.commits > start)
    if (~beside & ~streamed & (log.ops != Op.TRUNCATE)).any():
        faults.append(Fault(DOUBLED, "log: changes from before the snapshot"))
    due = {commit: rows for commit, rows in written.items() if commit > start}
    return [*faults, *_against(due, log.commits[streamed], log.ordinals[streamed])]


def faults_in_itself(log: Records) -> Iterator[Fault]:
    """Rejects, changes that are there twice, and disorder."""
    if log.rejects:
        yield Fault(BROKEN, f"log: {log.rejects} rejects")
    places = np.stack([log.commits, log.ordinals, log.weights])
    doubled = places.shape[1] - np.unique(places, axis=1).shape[1]
    if doubled:
        yield Fault(DOUBLED, f"log: {doubled} changes are there twice")
    yield from _disorder(log)


def _disorder(log: Records) -> Iterator[Fault]:
    for stream in np.unique(log.streams):
        mine = log.streams == stream
        commits, ordinals = np.diff(log.commits[mine]), np.diff(log.ordinals[mine])
        back = int(((commits < 0) | ((commits == 0) & (ordinals < 0))).sum())
        if back:
            yield Fault(BROKEN, f"log: stream {int(stream)} goes back {back} times")


def _against(due: Mapping[int, int], commits: np.ndarray, ordinals: np.ndarray) -> Iterator[Fault]:
    """Compares rows by commit: `due` by PostgreSQL's account, the rest as in the log."""
    places = np.unique(np.stack([commits, ordinals]), axis=1)
    there = dict(zip(*(column.tolist() for column in np.unique(places[0], return_counts=True)), strict=True))
    missing = sum(max(0, rows - there.get(commit, 0)) for commit, rows in due.items())
    extra = sum(max(0, rows - due.get(commit, 0)) for commit, rows in there.items())
    if missing:
        yield Fault(LOST, f"log: {missing:,} of {sum(due.values()):,} changes are missing")
    if extra:
        yield Fault(DOUBLED, f"log: {extra:,} changes that were never committed, or are in the snapshot")
    if places.shape[1] and not missing and not extra:
        firsts = np.unique(places[0], return_index=True)[1]
        if (places[1][firsts] != 0).any():
            yield Fault(BROKEN, "log: ordinals do not begin at 0")


def snapshot_faults(project: Project) -> Iterator[Fault]:
    """Tables in which an epoch was committed twice, out of order, or not at all under a number."""
    database = (project.folder / project.lake.warehouse / "catalog.db").absolute()
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{database}", init_catalog_tables="false")
    try:
        for identifier in catalog.list_tables(project.lake.namespace or project.name):
            table = catalog.load_table(identifier)
            summaries = [s.summary.additional_properties if s.summary else {} for s in table.snapshots()]
            commits = [summary for summary in summaries if "headwater.maintenance" not in summary]
            epochs = [int(summary.get("headwater.epoch", -1)) for summary in commits]
            if any(after <= before for before, after in pairwise(epochs)) or -1 in epochs:
                yield Fault(DOUBLED, f"{identifier[-1]}: its snapshots hold epochs {epochs}")
    finally:
        catalog.close()
