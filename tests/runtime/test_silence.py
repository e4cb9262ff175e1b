"""When a stream counts as idle."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from headwater.engine.normalise import Normaliser
from headwater.project.definition import TableDefinition, Watermark
from headwater.runtime.nodes import StreamNode
from headwater.runtime.silence import Silence
from headwater.runtime.state_store import EpochPlan
from headwater.schema import StreamSchema

STREAM = StreamSchema(
    "t", pa.schema([pa.field("id", pa.int32(), nullable=False), ("at", pa.timestamp("us"))]), ("id",), "upsert"
)


def node(idle_after: timedelta | None) -> StreamNode:
    return StreamNode(
        "shop", Normaliser(STREAM), (TableDefinition(STREAM.name),), Watermark(column="at", idle_after=idle_after)
    )


def test_a_stream_is_idle_after_its_time_and_until_its_next_row() -> None:
    streams, silence = {"t": node(timedelta(seconds=10)), "u": node(None)}, Silence()
    assert silence.of(streams, 100.0) == ()
    assert silence.of(streams, 109.0) == ()
    assert silence.of(streams, 110.0) == ("t",)
    silence.observe((), EpochPlan(1, {}, idle=("t",)), 111.0)
    assert silence.told == ("t",)
    assert silence.of(streams, 112.0) == ("t",)
    silence.observe({"t"}, EpochPlan(2, {}, idle=("t",)), 113.0)
    assert silence.told == ()
    assert silence.of(streams, 122.0) == ()
    assert silence.of(streams, 123.0) == ("t",)


def test_the_plan_of_an_epoch_remembers_who_was_idle() -> None:
    plan = EpochPlan(3, {"shop": (0, 1)}, idle=("t",))
    assert EpochPlan.from_json(3, plan.to_json()) == plan
