"""How long each model takes and how many rows it gives: what "busy" is measured from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec

import pyarrow as pa

P = ParamSpec("P")


class Meter:
    """Adds up, by model. Used by the epoch thread.

    Attributes:
        busy_s: seconds of work.
        given: rows of the deltas that it gave.
    """

    def __init__(self) -> None:
        self.busy_s: dict[str, float] = {}
        self.given: dict[str, int] = {}

    def of(self, model: str, work: Callable[P, pa.Table], *arguments: P.args, **named: P.kwargs) -> pa.Table:
        """What `work` gives, noted as the model's."""
        began = time.perf_counter()
        try:
            delta = work(*arguments, **named)
        finally:
            self.busy_s[model] = self.busy_s.get(model, 0.0) + time.perf_counter() - began
        self.given[model] = self.given.get(model, 0) + int(delta.num_rows)
        return delta
