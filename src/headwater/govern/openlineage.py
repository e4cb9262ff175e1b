"""What a running project tells a lineage service, in OpenLineage's events. Off unless `lineage:` is configured.

One job for each source, one for each model, and one for the quality checks. Each tells START when the project starts,
then RUNNING every `lineage.interval`, whole each time, as OpenLineage has it for streaming jobs, and COMPLETE or FAIL
at the end. The thread that tells them has nothing to do with those that capture and maintain: a service that is slow,
away or wrong costs a warning in the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa

import headwater
from headwater.errors import UserError
from headwater.govern.datasets import datasets_of
from headwater.govern.lineage import DIRECT, Origin, ProjectLineage, lineage_of
from headwater.project.definition import Project, SourceDefinition
from headwater.project.settings import LineageSettings
from headwater.runtime.running import Running, entries

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, RunEvent
    from openlineage.client.generated.column_lineage_dataset import InputField

PRODUCER = f"urn:headwater:{headwater.__version__}"
FINISH_S = 5.0
"""So long the end of a project waits for its last events to be told."""

Kind = Literal["START", "RUNNING", "COMPLETE", "FAIL"]
_SUBTYPES = {
    "identity": "IDENTITY", "transformation": "TRANSFORMATION", "aggregation": "AGGREGATION", "filter": "FILTER",
    "join": "JOIN", "group": "GROUP_BY", "sort": "SORT", "window": "WINDOW",
}  # fmt: skip


class Teller(threading.Thread):
    """Tells the lineage service of a running project.

    Args:
        running: the project.
        settings: where to tell it.

    Raises:
        UserError: openlineage-python is not installed.
    """

    def __init__(self, running: Running, settings: LineageSettings) -> None:
        super().__init__(name="lineage", daemon=True)
        self._running, self._settings = running, settings
        self._client = _client(settings)
        self._ended = threading.Event()
        self._known: ProjectLineage | None = None
        self._runs: dict[str, str] = {}

    def run(self) -> None:
        """Tells until the project ends."""
        kind: Kind = "START"
        while True:
            self._tell(kind)
            kind = "RUNNING"
            if self._running.clock.wait(self._ended, self._settings.interval.total_seconds()):
                break
        failed = any(job.state == "stopped" and job.error is not None for job in self._running.jobs())
        self._tell("FAIL" if failed else "COMPLETE")

    def stop(self) -> None:
        """Has the last events told, if that takes no more than `FINISH_S`."""
        self._ended.set()
        if self.is_alive():
            self.join(FINISH_S)

    def _tell(self, kind: Kind) -> None:
        try:
            told = list(self._events(kind))
            for event in told:
                self._client.emit(event)
        except Exception as error:  # noqa: BLE001 the edge: whatever is wrong over there must not end the project here
            shown = self._running.mask(f"{type(error).__name__}: {error}")
            self._running.journal.write(
                "lineage.untold", "warning", error=shown, hint="is `lineage: url` right, and the service up?"
            )

    def _events(self, kind: Kind) -> Iterator[RunEvent]:
        from openlineage.client.event_v2 import Run, RunEvent, RunState
        from openlineage.client.uuid import generate_new_uuid

        view = _View(self._running, self._settings, self._lineage())
        at = datetime.fromtimestamp(self._running.clock.now_us() / 1e6, UTC).isoformat()
        for job, inputs, outputs in view.jobs():
            run = Run(self._runs.setdefault(job.name, str(generate_new_uuid())), facets=view.run_facets(kind))
            yield RunEvent(
                eventTime=at, producer=PRODUCER, run=run, job=job, eventType=RunState[kind],
                inputs=list(inputs), outputs=list(outputs),
            )  # fmt: skip

    def _lineage(self) -> ProjectLineage:
        """Computed once all streams' columns are known; a model that still waits is asked about again."""
        if self._known is None or self._known.unknown:
            self._known = lineage_of(self._running.project)
        return self._known


_Told = tuple["Job", Sequence["InputDataset"], Sequence["OutputDataset"]]


@dataclass(frozen=True)
class _View:
    """One telling: the project as it is now, in OpenLineage's words."""

    running: Running
    settings: LineageSettings
    known: ProjectLineage

    @property
    def _project(self) -> Project:
        return self.running.project

    def jobs(self) -> Iterator[_Told]:
        """Every job with what it reads and writes."""
        owners = self.running.progress().stream_sources
        for source in self._project.sources:
            streams = [name for name, owner in owners.items() if owner == source.name]
            inputs = self._inputs_of_source(source, streams)
            outputs = [self._output(name, self._schema(name)) for name in streams]
            yield self._job(source.name, "SOURCE"), inputs, outputs
        for model in self._project.models:
            inputs = [self._input(name) for name in model.inputs]
            yield self._job(model.name, "MODEL", model.sql), inputs, [self._output_of_model(model.name)]
        checked = self._checked()
        if checked:
            yield self._job("checks", "QUALITY"), checked, []

    def run_facets(self, kind: Kind) -> dict[str, Any]:
        """What is said of each run."""
        from openlineage.client.facet_v2 import error_message_run, processing_engine_run

        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                headwater.__version__, "Headwater", producer=PRODUCER
            )
        }
        errors = [job.error for job in self.running.jobs() if job.error is not None and job.state == "stopped"]
        if kind == "FAIL" and errors:
            message = self.running.mask(str(errors[0]))
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "SQL", producer=PRODUCER)
        return facets

    def _job(self, name: str, kind: str, sql: str = "") -> Job:
        from openlineage.client.event_v2 import Job
        from openlineage.client.facet_v2 import job_type_job, sql_job

        pattern = job_type_job.EmissionPattern(
            "PERIODIC", "COMPLETE_SNAPSHOT", int(self.settings.interval.total_seconds()) or 1
        )
        facets: dict[str, Any] = {
            "jobType": job_type_job.JobTypeJobFacet("STREAMING", "HEADWATER", kind, pattern, producer=PRODUCER)
        }
        if sql:
            facets["sql"] = sql_job.SQLJobFacet(sql.strip(), "duckdb", producer=PRODUCER)
        return Job(self.settings.namespace, f"{self._project.name}.{name}", facets=facets)

    def _named(self, name: str) -> tuple[str, str]:
        return self.settings.namespace, f"{self._project.name}.{name}"

    def _schema(self, name: str) -> pa.Schema | None:
        found = self.known.models.get(name)
        return found.types if found is not None else self.known.streams.get(name)

    def _input(self, name: str) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset

        return InputDataset(*self._named(name), facets=_schema_facets(self._schema(name)))

    def _inputs_of_source(self, source: SourceDefinition, streams: Sequence[str]) -> list[InputDataset]:
        from openlineage.client.event_v2 import InputDataset

        return [InputDataset(*dataset) for name in streams for dataset in datasets_of(source, name)]

    def _output(self, name: str, schema: pa.Schema | None, more: Mapping[str, Any] | None = None) -> OutputDataset:
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        rows = next((one["rows"] for one in entries(self.running.status(), "tables") if one["name"] == name), None)
        kept = cast("Mapping[str, object]", self.running.status().get("maintenance") or {})
        files = next((one for one in entries(kept, "tables") if one["name"] == name), {})
        told = statistics.OutputStatisticsOutputDatasetFacet(
            cast("int | None", rows), cast("int | None", files.get("bytes")), cast("int | None", files.get("files")),
            producer=PRODUCER,
        )  # fmt: skip
        facets = {**_schema_facets(schema), **(more or {})}
        return OutputDataset(*self._named(name), {"outputStatistics": told}, facets=facets)

    def _output_of_model(self, name: str) -> OutputDataset:
        from openlineage.client.facet_v2 import column_lineage_dataset as lineage

        found = self.known.models.get(name)
        if found is None:
            return self._output(name, None)
        fields = {
            column: lineage.Fields([self._field(origin) for origin in origins])
            for column, origins in found.columns.items()
        }
        rows = [self._field(origin) for origin in found.rows]
        facet = lineage.ColumnLineageDatasetFacet(fields, rows, producer=PRODUCER)
        return self._output(name, found.types, {"columnLineage": facet})

    def _field(self, origin: Origin) -> InputField:
        from openlineage.client.facet_v2 import column_lineage_dataset as lineage

        kind = "DIRECT" if origin.how in DIRECT else "INDIRECT"
        how = lineage.Transformation(kind, _SUBTYPES[origin.how], "", False)
        return lineage.InputField(*self._named(origin.node.partition(":")[2]), origin.column, [how])

    def _checked(self) -> list[InputDataset]:
        """The streams and models that have checks, with how these fared last."""
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        by_node: dict[str, list[Any]] = {}
        for check in entries(self.running.status(), "checks"):
            if check["state"] == "unknown":
                continue
            severity = "warn" if check["severity"] == "warn" else "error"
            columns = cast("Sequence[str]", check.get("columns") or ())
            said = quality.Assertion(
                str(check["kind"]), check["state"] == "ok", columns[0] if len(columns) == 1 else None, severity,
                str(check["name"]), str(check.get("says") or "") or None,
            )  # fmt: skip
            by_node.setdefault(str(check["model"]), []).append(said)
        return [
            InputDataset(
                *self._named(node),
                {"dataQualityAssertions": quality.DataQualityAssertionsDatasetFacet(said, producer=PRODUCER)},
                facets=_schema_facets(self._schema(node)),
            )
            for node, said in by_node.items()
        ]


def _schema_facets(schema: pa.Schema | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import schema_dataset

    if schema is None:
        return {}
    fields = [
        schema_dataset.SchemaDatasetFacetFields(field.name, str(field.type), ordinal_position=number)
        for number, field in enumerate(schema, 1)
    ]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER)}


def _client(settings: LineageSettings) -> OpenLineageClient:
    try:
        from openlineage.client import OpenLineageClient
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport
    except ImportError as error:
        raise UserError("lineage: needs openlineage-python", hint="pip install 'headwater[openlineage]'") from error
    config = HttpConfig(url=settings.url, endpoint=settings.endpoint, timeout=FINISH_S, retry={"total": 0})
    if settings.token is not None:
        config.auth = ApiKeyTokenProvider({"api_key": settings.token.get_secret_value()})
    return OpenLineageClient(transport=HttpTransport(config))
