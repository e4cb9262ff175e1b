"""Maintenance in tests: a policy under which everything is due at once, and all of it done."""

from __future__ import annotations

from dataclasses import replace

from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.maintenance import KINDS, Maintenance, Policy

EAGER = Policy(fanout=2, most_deleted=0.1, keep_snapshots=100)
AT_ONCE = replace(EAGER, orphan_age_s=0.0, reader_grace_s=0.0)


def maintain(care: Maintenance, policy: Policy = EAGER, kinds=KINDS) -> list[str]:
    """Does all that there is to do; returns the kinds of the tasks that changed something."""
    done = []
    for _ in range(1000):
        tasks = care.plan(policy, kinds)
        if not tasks:
            return done
        outcome = care.carry_out(tasks[0], policy)
        assert outcome.done, (tasks[0], outcome)
        done.append(tasks[0].kind)
    raise AssertionError(f"no end of {done[-5:]}")


def keep(table: IcebergTable, policy: Policy = EAGER, kinds=KINDS) -> list[str]:
    return maintain(table.maintenance(), policy, kinds)
