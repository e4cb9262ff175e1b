"""Random interleavings of all that can be done to a table; `make lake-property SIZE=night` takes its time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from table_machine import MultisetMachine, TableMachine

EXAMPLES, STEPS = {"pr": (8, 16), "night": (600, 60), "release": (5000, 100)}[os.environ.get("HEADWATER_SIZE", "pr")]

TestKeyedTable, TestMultiset = TableMachine.TestCase, MultisetMachine.TestCase
for each in (TestKeyedTable, TestMultiset):
    each.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
del each
