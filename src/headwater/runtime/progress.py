"""What the epoch job says of itself after every epoch: an immutable picture that other threads may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headwater.capture.gap import gap_stream
from headwater.quality.accounting import Account
from headwater.runtime.freshness import Freshness

if TYPE_CHECKING:  # the picture is read by those who run no pipeline
    from headwater.quality.checks import Result
    from headwater.runtime.pipeline import Pipeline


@dataclass(frozen=True)
class Progress:
    """Where the dataflow stands after `epoch`.

    Attributes:
        epoch: the last epoch committed.
        checkpoint_epoch: the epoch of the last checkpoint; None before the first.
        positions: by source, the commit position up to which every table is complete.
        streams, models: accounts.
        stream_sources: by stream, its source.
        watermarks: by stream and model, event time in microseconds since 1970 UTC.
        rows: by table, its number of rows.
        waiting: models that do not fit what they read, and why.
        rejects_open: rejects that wait for a decision.
        gaps: by source, accepted gaps that no later snapshot has closed.
        freshness_ms: percentiles of the delay from source commit to visible in the lake.
        checks: how the checks stand.
        busy_s, given: by model, seconds of work and rows given since the start.
        gates: by stream and model of which checks set rows aside, what became of the rows that it offered.
    """

    epoch: int = 0
    checkpoint_epoch: int | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[str, Account] = field(default_factory=dict)
    models: Mapping[str, Account] = field(default_factory=dict)
    stream_sources: Mapping[str, str] = field(default_factory=dict)
    watermarks: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    rejects_open: int = 0
    gaps: Mapping[str, int] = field(default_factory=dict)
    freshness_ms: Mapping[str, float | None] = field(default_factory=dict)
    busy_s: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    checks: Sequence[Result] = ()
    gates: Mapping[str, Mapping[str, int | bool]] = field(default_factory=dict)


def read_progress(pipeline: Pipeline, freshness: Freshness, now_us: int) -> Progress:
    """Takes the picture; called by the epoch thread."""
    flow = pipeline.flow
    watermarks = {name: node.watermark_us for name, node in flow.streams.items() if node.watermark_us is not None}
    for name, node in flow.nodes.items():
        if node.view.watermark is not None:
            watermarks[name] = int(node.view.watermark.timestamp() * 1_000_000)
    return Progress(
        epoch=pipeline.epoch,
        checkpoint_epoch=pipeline.checkpointed,
        positions=_positions(pipeline),
        streams=pipeline.stream_accounts(),
        models=pipeline.model_accounts(),
        stream_sources={name: node.source for name, node in flow.streams.items()},
        watermarks=watermarks,
        rows=dict(pipeline.sinks.rows),
        waiting={name: str(mistake) for name, mistake in flow.waiting.items()},
        rejects_open=pipeline.store.ledger.open_count(),
        gaps={
            source: pipeline.store.ledger.open_gaps(gap_stream(source)) for source in pipeline.partitions.as_mapping()
        },
        freshness_ms=freshness.percentiles(),
        busy_s=dict(flow.meter.busy_s),
        given=dict(flow.meter.given),
        checks=tuple(pipeline.inspector.look(pipeline.epoch, now_us)),
        gates={name: node.account.as_dict() for name, node in flow.checks.nodes.items() if node.gated},
    )


def _positions(pipeline: Pipeline) -> dict[str, int]:
    from headwater.runtime.intake import boundary_after  # with the engine, which a look at a run does without

    reached = {
        source: boundary_after(partition, pipeline.offsets_of(source))
        for source, partition in pipeline.partitions.items()
    }
    return {source: boundary.position.commit for source, boundary in reached.items() if boundary is not None}
