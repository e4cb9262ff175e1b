"""Which files of a table should be rewritten: small ones, ones with many deleted rows, and files of deletes.

Small files are merged like the levels of a log-structured tree: when `fanout` files of about one size (within a factor
of `fanout`) lie in one partition they become one. A row is so rewritten once per level, log(target / first size) times
in all, and a partition has at most `fanout - 1` small files per level. The same goes for files of deletes, by the
number of rows that they delete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from headwater.lake.iceberg.inventory import DataState, DeleteState, Home, home_of
from headwater.lake.maintenance import Policy

FULL = 0.75
"""From this share of the target size on a file is no longer small."""

MOSTLY_DEAD = 0.5
"""A file of deletes is rewritten when a larger share of it names files that are gone."""


def is_small(state: DataState, policy: Policy) -> bool:
    """Whether a data file waits to be merged with others."""
    return state.live_bytes < FULL * policy.target_file_bytes


def data_groups(states: Iterable[DataState], policy: Policy) -> list[list[DataState]]:
    """Groups of data files, each to be written anew as one (or as few of the target size); the smallest rows first, as
    they cost least for what they bring."""
    levels: dict[tuple[Home, int], list[DataState]] = defaultdict(list)
    worn: dict[Home, list[DataState]] = defaultdict(list)
    for state in states:
        home = home_of(state.file)
        if state.deleted > policy.most_deleted * state.file.record_count:
            worn[home].append(state)
        elif is_small(state, policy):
            levels[home, _level(state.live_bytes, policy)].append(state)
    groups = [group for level in levels.values() for group in _packed(level, policy) if len(group) >= policy.fanout]
    groups += [group for some in worn.values() for group in _packed(some, policy)]
    return sorted(groups, key=lambda group: sum(state.live_bytes for state in group) / len(group))


def delete_groups(states: Sequence[DeleteState], policy: Policy) -> list[list[DeleteState]]:
    """Groups of delete files: those that name only files that are gone, and groups to be written anew as one."""
    gone = [state for state in states if state.dead and state.dead == sum(state.names.values())]
    levels: dict[tuple[Home, int], list[DeleteState]] = defaultdict(list)
    worn: dict[Home, list[DeleteState]] = defaultdict(list)
    for state in states:
        if not state.mergeable or state in gone:
            continue
        home = home_of(state.file)
        if state.dead > MOSTLY_DEAD * sum(state.names.values()):
            worn[home].append(state)
        else:
            levels[home, _log(state.file.record_count, policy.fanout)].append(state)
    full = [level for level in levels.values() if len(level) >= policy.fanout]
    return [group for group in (gone, *worn.values(), *full) if group]


def _packed(states: Sequence[DataState], policy: Policy) -> list[list[DataState]]:
    """Groups of about the target size at most, oldest files first."""
    groups: list[list[DataState]] = []
    size = 0
    for state in sorted(states, key=lambda state: state.entry.sequence_number or 0):
        if not groups or size + state.live_bytes > policy.target_file_bytes:
            groups.append([])
            size = 0
        groups[-1].append(state)
        size += state.live_bytes
    return groups


def _level(size: int, policy: Policy) -> int:
    return _log(policy.target_file_bytes // max(size, 1), policy.fanout)


def _log(amount: int, base: int) -> int:
    level = 0
    while amount >= base:
        amount //= base
        level += 1
    return level
