"""Runs tests of models offline: the dataflow of a running project, fed with a test's rows; nothing is kept or asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from headwater.change import ChangeBatch, Op, log_schema
from headwater.clock import SystemClock
from headwater.engine.delta import expanded, settled
from headwater.errors import HeadwaterError, Place, UserError
from headwater.project.definition import Model, Project, SourceDefinition
from headwater.project.mistakes import did_you_mean
from headwater.project.model_tests import GivenStep, ModelTest, Texts
from headwater.project.settings import StreamSettings
from headwater.runtime.dataflow import Dataflow, Step
from headwater.runtime.intake import Intake
from headwater.runtime.model_tests.comparison import Difference, compare
from headwater.runtime.model_tests.values import Typed
from headwater.runtime.nodes import StreamNode
from headwater.runtime.state_store import EpochPlan
from headwater.schema import StreamSchema

_OPS = {"insert": Op.INSERT, "update": Op.UPDATE, "delete": Op.DELETE, "truncate": Op.TRUNCATE}
_SOURCE = "test"


@dataclass
class Outcome:
    """How a test ended.

    Attributes:
        test: which.
        differences: between what was expected and what came; none if it passed.
        mistake: why it could not be run.
        elapsed_ms: how long it took.
    """

    test: ModelTest
    differences: list[Difference] = field(default_factory=list)
    mistake: HeadwaterError | None = None
    elapsed_ms: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all came as expected."""
        return not self.differences and self.mistake is None


class Runner:
    """Runs the tests of a project. One thread.

    Args:
        project: whose models and checks.
        recorded: streams as a run has left them told; what a test declares goes before.
    """

    def __init__(self, project: Project, recorded: Sequence[StreamSchema] = ()) -> None:
        self._project = project
        self._recorded = {stream.name: stream for stream in recorded}
        self._typed = Typed()

    def run(self, test: ModelTest) -> Outcome:
        """Runs a test."""
        began, outcome = SystemClock().monotonic_s(), Outcome(test)
        try:
            outcome.differences = self._run(test)
        except HeadwaterError as error:
            outcome.mistake = error if error.place else _placed(error, test.place)
        outcome.elapsed_ms = round((SystemClock().monotonic_s() - began) * 1000, 1)
        return outcome

    def close(self) -> None:
        """Gives up the connection."""
        self._typed.close()

    def _run(self, test: ModelTest) -> list[Difference]:
        bench = self.bench(test)
        found: list[Difference] = []
        try:
            for number, step in enumerate(test.steps, 1):
                bench.take(step)
                found += self._compared(bench, step, f"after step {number}" if len(test.steps) > 1 else "")
        finally:
            bench.close()
        return found

    def bench(self, test: ModelTest) -> Bench:
        """A dataflow of the models that a test asks for, and what they read."""
        models = self._models(test)
        streams = {name: self._stream(name, test) for name in self._streams(test, models)}
        return Bench(self._project, models, streams, test, self._typed)

    def _models(self, test: ModelTest) -> list[Model]:
        by_name = {model.name: model for model in self._project.models}
        wanted: set[str] = set()
        names = [name for name in test.models if name not in wanted]
        while names:
            name = names.pop()
            if name in by_name and name not in wanted:
                wanted.add(name)
                names += by_name[name].inputs
        return [model for model in self._project.models if model.name in wanted]

    def _streams(self, test: ModelTest, models: Sequence[Model]) -> list[str]:
        """What is read, given or expected and is no model."""
        known = {model.name for model in self._project.models}
        read = [name for model in models for name in model.inputs]
        given = [name for step in test.steps for name in step.given]
        for step in test.steps:
            for name, texts in step.given.items():
                if name in known:
                    place = texts.places[0] if texts.places else step.place
                    raise UserError(f"{name!r} is a model: rows are given to streams", place=place)
        return [name for name in dict.fromkeys((*read, *given, *test.models)) if name not in known]

    def _stream(self, name: str, test: ModelTest) -> StreamSchema:
        """A stream's types: as the test declares them, else as a run has recorded them."""
        declared = test.streams.get(name)
        if declared is not None:
            columns = self._typed.schema(declared.columns, test.place)
            return StreamSchema(name, columns, declared.key, "upsert" if declared.key else "full")
        stream = self._recorded.get(name)
        if stream is None:
            near = did_you_mean(name, [*self._recorded, *(model.name for model in self._project.models)])
            hint = near if near.startswith("did") else f"declare it: streams: {{{name}: {{columns: {{id: BIGINT}}}}}}"
            raise UserError(f"the columns of {name!r} are not known", place=test.place, hint=hint)
        return replace(stream, changelog="upsert" if stream.key else "full")

    def _compared(self, bench: Bench, step: GivenStep, when: str) -> list[Difference]:
        found: list[Difference] = []
        for name, texts in step.expect.items():
            what = f"{name} {when}".strip()
            found += compare(what, texts, bench.rows(name, step.place), bench.key(name), self._typed)
        for name, texts in step.expect_changes.items():
            what = f"changes of {name} {when}".strip()
            found += compare(what, texts, bench.changes(name, step.place), (), self._typed, weighted=True)
        found += bench.other_differences(step, when)
        return found


class Bench:
    """A dataflow in memory that takes a test's steps, each as an epoch."""

    def __init__(
        self, project: Project, models: Sequence[Model], streams: Mapping[str, StreamSchema], test: ModelTest,
        typed: Typed,
    ) -> None:  # fmt: skip
        nodes = {name: StreamNode.of(stream, _source_of(project, name, test)) for name, stream in streams.items()}
        names = {*streams, *(model.name for model in models)}
        checks = [check for check in project.checks if names.issuperset(check.reads)]
        self._flow = Dataflow(nodes, models, checks=checks)
        self._streams, self._typed, self._epoch = streams, typed, 0
        self._models = {model.name: model.fingerprint for model in models}
        self._held: dict[str, dict[tuple[str | None, ...], Mapping[str, str | None]]] = {}
        self._content: dict[str, pa.Table] = {}
        self.step = Step()
        self._withheld: list[pa.RecordBatch] = []
        self._flow.checks.unreconciled.clear()
        self._step(Intake(), rebuild=tuple(self._models))
        for name, error in self._flow.waiting.items():
            raise _placed(error, Place(self._flow.models[name].file))

    def take(self, step: GivenStep) -> None:
        """Takes a step in."""
        intake = Intake()
        for name, texts in step.given.items():
            if texts.rows:
                intake.batches[name] = [self._batch(name, texts)]
                intake.sources[name] = _SOURCE
                intake.seen.add(name)
        for name, text in step.settings.watermarks.items():
            if name not in self._flow.streams:
                hint = did_you_mean(name, self._flow.streams)
                raise UserError(f"there is no stream {name!r} here", place=step.place, hint=hint)
            self._flow.streams[name].watermark_us = self._typed.microseconds(text, step.place)
        self._step(intake)

    def rows(self, name: str, place: Place) -> pa.Table:
        """All rows of a stream or model, those that checks set aside left out."""
        if name in self._streams:
            columns = self._streams[name].columns
            return expanded(self._flow.checks.admitted(name, self._flow.computed(name), columns))
        self._require(name, place)
        return expanded(self._content[name])

    def changes(self, name: str, place: Place) -> pa.Table:
        """What the last step changed in a model, with weights."""
        self._require(name, place)
        change = self.step.handed[name].delta
        net = settled(change)
        return change.slice(0, 0) if net is None else net

    def key(self, name: str) -> Sequence[str]:
        """The key of a stream or model."""
        return self._flow.key_of(name) if self._flow.columns_of(name) is not None else ()

    def other_differences(self, step: GivenStep, when: str) -> list[Difference]:
        """What was expected besides rows, and came otherwise."""
        found: list[Difference] = []
        for name, count in step.settings.expect_late.items():
            self._require(name, step.place)
            late = self._flow.nodes[name].view.counts.late
            if late != count:
                found.append(Difference(f"late rows of {name} {when}".strip(), "count", str(count), str(late)))
        results = {
            one.check.id: one
            for one in self._flow.checks.judged(self._flow, self._epoch, SystemClock().now_us(), _no_past)
        }
        for name, state in step.settings.expect_checks.items():
            if name not in results:
                raise UserError(f"there is no check {name!r}", place=step.place, hint=did_you_mean(name, results))
            if results[name].state != state:
                told = f"{results[name].state} ({results[name].message})"
                found.append(Difference(f"check {name} {when}".strip(), "state", state, told))
        return found + self._reject_differences(step, when)

    def close(self) -> None:
        """Gives up views and connections."""
        for node in self._flow.nodes.values():
            node.view.close()
        self._flow.checks.close()

    def _reject_differences(self, step: GivenStep, when: str) -> list[Difference]:
        batches = [*self.step.rejects, *self._withheld]
        came = [
            row
            for batch in batches
            for row in batch.select(["stream", "stage", "reason", "key", "message"]).to_pylist()
        ]
        if step.settings.expect_rejects is None:
            return []
        found: list[Difference] = []
        what = f"rejects {when}".strip()
        for wanted in step.settings.expect_rejects:
            named = {name: value for name, value in wanted.model_dump().items() if value is not None}
            match = next((row for row in came if named.items() <= row.items()), None)
            if match is None:
                found.append(Difference(what, "missing", str(named), ""))
            else:
                came.remove(match)
        return found + [Difference(what, "unexpected", "", str(row)) for row in came]

    def _step(self, intake: Intake, rebuild: tuple[str, ...] = ()) -> None:
        self._epoch += 1
        plan = EpochPlan(self._epoch, {}, models=self._models, rebuild=rebuild)
        self.step = self._flow.step(plan, intake)
        self._withheld = [batch for told in self._flow.checks.settle(self._flow) for batch in told.entries]
        for name, output in self.step.handed.items():
            if output.replace or name not in self._content:
                self._content[name] = output.delta
            else:
                held = self._content[name]
                both = pa.concat_tables([held, output.delta.cast(held.schema)])
                net = settled(both)
                self._content[name] = both.slice(0, 0) if net is None else net

    def _batch(self, name: str, texts: Texts) -> ChangeBatch:
        """The rows as changes of the stream. Of a stream with a key, an update has the columns that it names, and the
        others as they were."""
        stream = self._streams[name]
        rows = self._whole(name, texts) if stream.key else list(texts.rows)
        columns = self._typed.table(replace(texts, rows=rows), stream.columns, whole=True)
        count, ops = len(rows), [_OPS[op] for op in texts.ops]
        weights = [-1 if op in (Op.DELETE, Op.TRUNCATE) else 1 for op in ops]
        fixed = {
            "_op": pa.array([int(op) for op in ops], pa.uint8()), "_weight": pa.array(weights, pa.int8()),
            "_commit": pa.array([self._epoch] * count, pa.uint64()), "_ordinal": pa.array(range(count), pa.int64()),
            "_time": pa.nulls(count, pa.timestamp("us", "UTC")), "_unchanged": pa.nulls(count, pa.binary()),
        }  # fmt: skip
        arrays = [*fixed.values(), *(column.combine_chunks() for column in columns.columns)]
        schema = log_schema(stream)
        cast = [array.cast(one.type) for array, one in zip(arrays, schema, strict=True)]
        return ChangeBatch(stream, pa.RecordBatch.from_arrays(cast, schema=schema))

    def _whole(self, name: str, texts: Texts) -> list[Mapping[str, str | None]]:
        key, held = self._streams[name].key, self._held.setdefault(name, {})
        found: list[Mapping[str, str | None]] = []
        for row, op, place in zip(texts.rows, texts.ops, texts.places, strict=True):
            if op == "truncate":
                held.clear()
                found.append({})
                continue
            if any(row.get(column) is None for column in key):
                raise UserError(f"a row of {name!r} has no value of its key ({', '.join(key)})", place=place)
            at = tuple(row[column] for column in key)
            if op in ("update", "delete") and at not in held:
                raise UserError(f"{name!r} has no row {', '.join(map(str, at))} to {op}", place=place)
            whole = {**held.get(at, {}), **row} if op in ("update", "delete") else row
            found.append(whole)
            if op == "delete":
                held.pop(at)
            else:
                held[at] = whole
        return found

    def _require(self, name: str, place: Place) -> None:
        if name not in self._content:
            hint = did_you_mean(name, [*self._content, *self._streams])
            raise UserError(f"there is no model {name!r}", place=place, hint=hint)


def _source_of(project: Project, stream: str, test: ModelTest) -> SourceDefinition:
    """Settings of a stream: as headwater.yml has them, with the watermark that the test declares."""
    found = next((source for source in project.sources if stream in source.streams), None)
    settings = found.streams[stream] if found is not None else StreamSettings()
    declared = test.streams.get(stream)
    if declared is not None and declared.watermark is not None:
        settings = settings.model_copy(update={"watermark": declared.watermark})
    plain = settings.model_copy(update={"table": None, "tables": {}})
    return SourceDefinition(_SOURCE, _SOURCE, plain, mirror=False, streams={stream: plain})


def _no_past(check: str) -> Mapping[int, int]:
    return {}


def _placed(error: HeadwaterError, place: Place) -> HeadwaterError:
    return UserError(error.message, hint=error.hint, place=error.place or place)
