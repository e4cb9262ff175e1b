"""Mutated binlogs, a small number of them; `make fuzz-binlog N=100000` runs more."""

from __future__ import annotations

import os

import pytest
from tests.fuzz import binlog

FIRST = int(os.environ.get("HEADWATER_SEED", "1"))
COUNT = int(os.environ.get("HEADWATER_FUZZ_BINLOG", "4000"))
AT_ONCE = 1000


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, AT_ONCE))
def test_mutated_binlogs_raise_declared_errors_only(first: int) -> None:
    assert binlog.check(range(first, min(first + AT_ONCE, FIRST + COUNT))) == []


def test_what_is_mutated_is_decoded_when_it_is_not() -> None:
    """Else the mutations would only find closed doors."""
    pairs, layouts = binlog.corpus()
    decoded = [binlog.decode([part for part in pair if part], layouts.get(pair[0][19:-4]), 0) for pair in pairs]
    assert len(pairs) > 190 and all(decoded)


def test_mutations_get_far() -> None:
    """At least a fifth of them is decoded all the same, and many kinds of errors are met."""
    told: dict[str, int] = {}
    for seed in range(600):
        try:
            binlog.decode(*binlog.mutated(seed), 0)
            told["decoded"] = told.get("decoded", 0) + 1
        except binlog.SourceStopped as error:
            told[str(error)[:60]] = told.get(str(error)[:60], 0) + 1
    assert told["decoded"] > 120 and len(told) > 15
