"""Holds every normaliser that these tests use to the law of traces."""

import pyarrow as pa
import pytest

from headwater.engine.delta import consolidate, negated
from headwater.engine.normalise import Normaliser


@pytest.fixture(autouse=True)
def traces_add_up(monkeypatch):
    """Wherever a normaliser is used in these tests, its trace must add up to its delta."""
    apply = Normaliser.apply

    def traced(self, batches):
        self.tracing = True
        delta = apply(self, batches)
        if not self.refilled:
            trace = self.trace.select(delta.column_names)
            left = consolidate(pa.concat_tables([trace, negated(delta)]))
            assert left.num_rows == 0, f"the trace lacks or has too much: {left.to_pylist()[:5]}"
        return delta

    monkeypatch.setattr(Normaliser, "apply", traced)
