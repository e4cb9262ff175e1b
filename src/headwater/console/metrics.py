"""`GET /metrics`: the running project for Prometheus, put together when it is asked for.

What there is stands in `METRICS`; each takes its figures from the status and the meters that are there anyway, so that
between two scrapes nothing is spent. Names have the prefix `headwater_` and base units, and labels are names that a
project gives (sources, streams, models, tables, syncs), never ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anyio import to_thread
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headwater.api.server import Service
from headwater.console import metric_figures as figures
from headwater.console.metric_figures import Figures, Sample
from headwater.durations import Durations
from headwater.runtime.running import Running

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: without `headwater_` and, for a counter, without `_total`.
        kind: of which kind.
        help: what it says, for `# HELP` and the reference.
        labels: names of its labels.
        figures: gives its samples: label values, and a number or a histogram.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    figures: Figures

    @property
    def exposed(self) -> str:
        """The name as Prometheus sees it; of a histogram without `_bucket`, `_sum` and `_count`."""
        return f"headwater_{self.name}" + {"counter": "_total", "info": "_info"}.get(self.kind, "")


METRICS: tuple[Metric, ...] = (
    Metric("build", "info", "Versions.", ("version", "python"), figures.build),
    Metric("start_time_seconds", "gauge", "When the project was started, seconds since 1970.", (), figures.started),
    Metric("job_state", "gauge", "1 for the state that a job is in.", ("job", "state"), figures.job_states),
    Metric("job_turn_age_seconds", "gauge", "Seconds since the loop of a source or of the epochs last went round;"
           " missing while it waits on purpose.", ("job",), figures.turn_ages),
    Metric("epoch_number", "gauge", "The last epoch committed.", (), figures.epoch),
    Metric("epoch_duration_seconds", "histogram", "Time that epochs took.", (), figures.epoch_durations),
    Metric("checkpoint_duration_seconds", "histogram", "Time that checkpoints took.", (), figures.checkpoint_durations),
    Metric("checkpoint_age_seconds", "gauge", "Seconds since the last checkpoint.", (), figures.checkpoint_age),
    Metric("checkpoint_bytes", "gauge", "Size of the kept checkpoints.", (), figures.checkpoint_bytes),
    Metric("freshness_seconds", "gauge", "Time from a commit in a source to its rows in the lake, of the last records.",
           ("quantile",), figures.freshness),
    Metric("source_connected", "gauge", "1 if a source is connected.", ("source",), figures.sources_connected),
    Metric("source_lag_bytes", "gauge", "How far a source's log is ahead of what was read.", ("source",),
           figures.lags("bytes")),
    Metric("source_lag_messages", "gauge", "Messages of a broker that were not read yet.", ("source",),
           figures.lags("messages")),
    Metric("source_retained_bytes", "gauge", "Log that the server keeps for a source (PostgreSQL: the slot).",
           ("source",), figures.retained),
    Metric("source_gaps", "gauge", "Accepted gaps in a source that no later snapshot has closed.", ("source",),
           figures.of_sources("gaps")),
    Metric("source_alarms", "gauge", "Alarms of a source.", ("source",), figures.alarms),
    Metric("snapshot_rows", "gauge", "Rows read of a table by the snapshot under way.", ("source", "table"),
           figures.snapshots),
    Metric("stream_records", "counter", "Records of a stream by what became of them; read is the sum of the others and"
           " of those in flight.", ("stream", "outcome"), figures.outcomes("streams")),
    Metric("stream_in_flight_records", "gauge", "Records in the log that are in no committed epoch.", ("stream",),
           figures.in_flight),
    Metric("model_records", "counter", "Records that a model took by what became of them.", ("model", "outcome"),
           figures.outcomes("models")),
    Metric("model_rows", "gauge", "Rows of a model.", ("model",), figures.of_models("rows")),
    Metric("model_state_bytes", "gauge", "Memory that a model's state takes.", ("model",),
           figures.of_models("state_bytes")),
    Metric("model_busy_ratio", "gauge", "Share of time that a model's steps took.", ("model",),
           figures.of_models("busy")),
    Metric("model_waiting", "gauge", "1 if a model waits for columns that nobody knows yet.", ("model",),
           figures.waiting),
    Metric("watermark_lag_seconds", "gauge", "How far a watermark is behind the clock.", ("node",), figures.watermarks),
    Metric("log_append_seconds", "histogram", "Time of an append to the log, with its fsync.", ("source",),
           figures.appends),
    Metric("log_fsync_seconds", "histogram", "Time of a write and fsync of the log.", ("source",), figures.fsyncs),
    Metric("log_bytes", "gauge", "Size of a source's log.", ("source",), figures.log_bytes),
    Metric("log_records", "gauge", "Records kept in a source's log.", ("source",), figures.log_records),
    Metric("table_rows", "gauge", "Rows of a lake table.", ("table",), figures.of_tables("rows")),
    Metric("table_files", "gauge", "Data files of a lake table.", ("table",), figures.of_files("files")),
    Metric("table_small_files", "gauge", "Data files that wait to be merged.", ("table",),
           figures.of_files("small_files")),
    Metric("table_delete_files", "gauge", "Files that say which rows are deleted.", ("table",),
           figures.of_files("delete_files")),
    Metric("table_bytes", "gauge", "Bytes of a lake table's files.", ("table",), figures.of_files("bytes")),
    Metric("table_snapshots", "gauge", "Table snapshots kept.", ("table",), figures.of_files("snapshots")),
    Metric("sync_connected", "gauge", "1 if a sync's destination takes records, or the sync is paused.", ("sync",),
           figures.syncs_connected),
    Metric("sync_records", "counter", "Records of a sync by what became of them.", ("sync", "outcome"),
           figures.sync_outcomes),
    Metric("sync_waiting_records", "gauge", "Records of a sync that are pending, parked or failed.", ("sync", "state"),
           figures.sync_waiting),
    Metric("sync_oldest_seconds", "gauge", "Age of the oldest record that a sync has not delivered.", ("sync",),
           figures.of_syncs("oldest_s")),
    Metric("rejects_open", "gauge", "Rejects that wait for a decision.", (), figures.rejects_open),
    Metric("rejects", "gauge", "Entries of the ledger of rejects.", ("stream", "stage", "state"), figures.rejects),
    Metric("accounting_holds", "gauge", "1 if every account adds up.", (), figures.accounting),
    Metric("account_difference_records", "gauge", "What an account lacks: 0, or records are lost or counted twice.",
           ("kind", "name"), figures.differences),
    Metric("check_failing", "gauge", "Rows, or 1, that fail a check.", ("model", "check", "severity"),
           figures.checks_failing),
    Metric("check_state", "gauge", "1 for the state that a check is in.", ("model", "check", "state"),
           figures.check_states),
    Metric("maintenance_wait_seconds", "gauge", "How long each epoch waits for maintenance.", (),
           figures.maintenance_wait),
    Metric("maintenance_alarms", "gauge", "Tables that maintenance cannot keep.", (), figures.maintenance_alarms),
    Metric("disk_free_bytes", "gauge", "Free space of the disk that holds a folder.", ("folder",), figures.disk_free),
)  # fmt: skip
"""Everything that is exported besides the process's own memory, CPU and open files (`process_*`)."""


class RunningCollector(Collector):
    """Puts the metrics together from what a running project shows."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def describe(self) -> Iterable[Family]:
        """Nothing: metrics are made at each scrape, and registering must not make them."""
        return ()

    def collect(self) -> Iterator[Family]:
        """The metrics as of now; those without a sample are left out."""
        for metric in METRICS:
            samples = list(metric.figures(self._running))
            if samples:
                yield _family(metric, samples)


def _family(metric: Metric, samples: Sequence[Sample]) -> Family:
    name = f"headwater_{metric.name}"
    if metric.kind == "info":
        info = InfoMetricFamily(name, metric.help)
        for labels, _ in samples:
            info.add_metric([], dict(zip(metric.labels, labels, strict=True)))
        return info
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
        for labels, value in samples:
            assert isinstance(value, Durations)
            buckets, total = value.read()
            histogram.add_metric(labels, buckets, total)
        return histogram
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = made(name, metric.help, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, Durations)
        family.add_metric(labels, value)
    return family


def metrics(running: Running) -> Service:
    """The path."""
    registry = CollectorRegistry()
    registry.register(RunningCollector(running))
    ProcessCollector(registry=registry)

    async def scrape(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        text = await to_thread.run_sync(encode, registry)
        return Response(text, headers={"content-type": kind})

    return Service([Route("/metrics", scrape, methods=["GET"])])


def reference() -> Mapping[str, Metric]:
    """Every metric by the name that Prometheus sees."""
    return {metric.exposed: metric for metric in METRICS}
