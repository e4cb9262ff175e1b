"""What quality checks cost per batch: `headwater bench checks`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.clock import Clock, SystemClock
from headwater.quality.checks import Check, none_of
from headwater.runtime.checks.node_checks import NodeChecks
from headwater.runtime.checks.set_check import SetCheck

_CHECKS = (
    Check("t", "not_null", "not_null", "reject", ("status",), '"status" IS NULL'),
    Check("t", "range", "range", "reject", ("amount",), '"amount" < 0 OR "amount" > 1000000'),
    Check("t", "accepted", "accepted", "warn", ("status",), none_of("status", ["new", "paid", "sent"])),
    Check("t", "expression", "expression", "warn", (), "NOT coalesce((\namount >= 0 OR status = 'new'\n), true)"),
    Check("t", "unique", "unique", "warn", ("id",)),
    Check("t", "referential", "referential", "warn", ("customer",), to="u", to_columns=("customer",)),
)


def checks(*, rows: int = 100_000, batches: int = 10, clock: Clock | None = None) -> dict[str, float]:
    """Times each check over batches of rows that pass; state grows with the batches where a check has some.

    Returns:
        By check, NAME_ms: the time of the fastest batch, in milliseconds; others are slowed by other programs.
    """
    clock = clock or SystemClock()
    given = [_batch(rows, number) for number in range(batches)]
    others = pa.table({"customer": np.arange(10_000), WEIGHT: np.ones(10_000, np.int64)})
    return {f"{check.name}_ms": round(_one(check, given, others, clock), 2) for check in _CHECKS}


def _one(check: Check, given: list[pa.Table], others: pa.Table, clock: Clock) -> float:
    taken: list[float] = []
    columns = given[0].drop_columns([WEIGHT]).schema
    node = NodeChecks("t", [check])
    whole = SetCheck(check) if not check.of_rows else None
    if whole is not None:
        empty = {"t": given[0].slice(0, 0), "u": others}
        whole.build({"t": columns, "u": others.drop_columns([WEIGHT]).schema}, {n: empty[n] for n in check.reads})
    for rows in given:
        began = clock.monotonic_s()
        if whole is None:
            node.admit(rows, columns, ("id",))
        else:
            whole.follow({"t": rows, "u": others.slice(0, 0)})
        taken.append((clock.monotonic_s() - began) * 1000)
    return min(taken)


def _batch(rows: int, number: int) -> pa.Table:
    random = np.random.default_rng(number)
    statuses = pa.DictionaryArray.from_arrays(random.integers(0, 3, rows, np.int32), ["new", "paid", "sent"])
    return pa.table({
        "id": np.arange(rows) + number * rows, "customer": random.integers(0, 10_000, rows),
        "status": statuses.cast(pa.string()), "amount": random.integers(0, 100_000, rows),
        WEIGHT: np.ones(rows, np.int64),
    })  # fmt: skip
