"""Many cases on several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator

from tests.fuzz.case import case_of, mistake


def one(seed: int) -> tuple[int, str]:
    """A seed, and what is wrong with the engine on its case."""
    return seed, mistake(case_of(seed))


def run(seeds: Iterable[int], jobs: int) -> Iterator[tuple[int, str]]:
    """Each seed's mistake, "" where there is none, in the order in which they are done."""
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=8)
