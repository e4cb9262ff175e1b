"""The thread that makes the new views: from a picture of the inputs, then from what epochs have brought since."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.engine.state.frozen import FrozenRows
from headwater.errors import HeadwaterError, UserError
from headwater.project.definition import Model
from headwater.runtime.checks.board import CheckBoard
from headwater.runtime.dataflow import Dataflow, Taken
from headwater.runtime.job import as_headwater_error
from headwater.runtime.nodes import ModelNode, weighted_rows
from headwater.runtime.prepared import PreparedTable
from headwater.runtime.sinks import Sinks
from headwater.runtime.swap.choice import Choice
from headwater.runtime.swap.comparison import Comparison, compare_rows
from headwater.runtime.swap.queue import Backlog

SLICE_ROWS, SLICES = 100_000, 16
"""Rows of an input fed at a time, at least; and into how many parts it is cut at most: what must be computed again for
whole keys is computed again for each."""

NEAR_ROWS = 100_000
"""No more rows than these wait when the builder counts as caught up."""

WAIT_S = 0.05

Former = Callable[[], pa.Table | None]
"""The rows of a model as its table has them at the end of an epoch; None if it cannot say."""

Phase = Literal["planning", "ready", "building", "following", "ended"]


@dataclass
class Progress:
    """How far a build is.

    Attributes:
        rows: of the picture, fed.
        rows_total: of the picture.
        bytes_total: about what they take.
        epochs: taken since.
        behind_rows: that wait.
    """

    rows: int = 0
    rows_total: int = 0
    bytes_total: int = 0
    epochs: int = 0
    behind_rows: int = 0


@dataclass
class Build(threading.Thread):
    """Builds the models of a choice beside the running ones. The epochs' thread makes it, starts it, gives it a picture
    once it is `ready`, hands it every epoch from then on (`take`), and takes its views when it has caught up.

    Attributes:
        flow: what runs; only its streams' and models' columns are read in this thread.
        sinks: its tables; only `replacement` is called in this thread.
        choice: what to build.
        folder: for what it writes; removed by `close`.
        inputs: streams and models that are not built and that those built read.
        phase: how far it is.
        error: why it failed.
        upset: inputs that changed in a way that deltas do not say; the build is of no use then.
        nodes: the models, with their views.
    """

    flow: Dataflow
    sinks: Sinks
    choice: Choice
    folder: Path
    inputs: frozenset[str] = frozenset()
    phase: Phase = "planning"
    error: HeadwaterError | None = None
    upset: frozenset[str] = frozenset()
    nodes: dict[str, ModelNode] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    compared: list[Comparison] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name="swap", daemon=True)
        models = [model for model in self.choice.models if model.name in self.choice.build]
        self.models: list[Model] = models
        self.inputs = frozenset(name for model in models for name in model.inputs if name not in self.choice.build)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.backlog = Backlog(self.folder / "queue")
        self._picture: Mapping[str, FrozenRows] = {}
        self._given = threading.Event()
        self._stopped = threading.Event()
        self._put = 0
        self._checks = CheckBoard(self.choice.checks)
        self._asked: tuple[Mapping[str, Former], threading.Event, int] | None = None

    __hash__ = threading.Thread.__hash__

    def give(self, picture: Mapping[str, FrozenRows]) -> None:
        """Gives it the rows of all inputs at one moment; `take` must follow with every epoch after."""
        self._picture = picture
        self.progress.rows_total = sum(rows.num_rows for rows in picture.values())
        self.progress.bytes_total = sum(rows.nbytes for rows in picture.values())
        self._given.set()

    def take(self, taken: Taken) -> None:
        """Sets aside what a slice of an epoch brought."""
        self.upset |= taken.upset
        if not self.upset:
            self.backlog.put(taken)
            self._put += taken.over

    @property
    def is_near(self) -> bool:
        """Whether so little waits that it can be waited for."""
        return self.phase == "following" and self.backlog.epochs <= 2 and self.backlog.rows <= NEAR_ROWS

    def finish(self) -> dict[str, ModelNode]:
        """Waits until it has taken everything, and takes its nodes away: as of the last epoch handed over.

        Raises:
            HeadwaterError: it failed.
        """
        self.backlog.end()
        self.join()
        if self.error is not None:
            raise self.error
        nodes, self.nodes = self.nodes, {}
        self._checks.close()
        return nodes

    def compare_with(self, former: Mapping[str, Former]) -> threading.Event:
        """Has the new views' rows, as of the last epoch handed over, compared with these; the event says that it is
        done."""
        done = threading.Event()
        self._asked = (former, done, self._put)
        return done

    def stop(self) -> None:
        """Gives it up; it ends after the slice that it is at."""
        self._stopped.set()
        self._given.set()
        self.backlog.end()

    def close(self) -> None:
        """Waits for its end, and removes what it has left."""
        self.stop()
        if self.is_alive():
            self.join()
        for node in self.nodes.values():
            node.discard_prepared()
            node.view.close()
        self._checks.close()
        self.backlog.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> None:
        """The thread."""
        try:
            self._make()
            self.phase = "ready"
            self._given.wait()
            failpoint.reach("swap.build.picture")
            self.phase = "building"
            self._feed()
            self._write()
            self._prepare()
            self.phase = "following"
            while not self._stopped.is_set():
                self._follow()
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001 a build that fails leaves the running models as they are
            self.error = as_headwater_error(error)
        self.phase = "ended"

    def _make(self) -> None:
        """Makes the views, without rows."""
        beside = Dataflow(self.flow.streams, self.choice.models, self.flow.threads, self.flow.memory)
        beside.nodes = {name: node for name, node in self.flow.nodes.items() if name not in self.choice.build}
        for model in self.models:
            self.nodes[model.name] = beside.nodes[model.name] = ModelNode(model, beside.view_of(model, keep=True))

    def fits(self) -> bool:
        """Whether the views are bound to the inputs' columns as they are now."""
        for node in self.nodes.values():
            for name, columns in node.view.inputs.items():
                if name in self.inputs and not columns.equals(self.flow.input_schema(name)):
                    return False
        return True

    def _feed(self) -> None:
        """Feeds the picture, an input after the other, in slices."""
        self._step({}, initial=True)
        for name, rows in self._picture.items():
            most = max(SLICE_ROWS, -(-rows.num_rows // SLICES))
            for part in rows.slices(most):
                if self._stopped.is_set():
                    raise EOFError
                self._step({name: self._checks.admitted(name, part, rows.columns)})
                self.progress.rows += part.num_rows
                failpoint.reach("swap.build.slice")
        self._picture = {}

    def _write(self) -> None:
        """Writes what the views know to files now, so that the checkpoint before the swap writes little."""
        for name, node in self.nodes.items():
            if self._stopped.is_set():
                raise EOFError
            node.written = self.folder / "views" / name
            node.view.checkpoint(node.written)
        failpoint.reach("swap.build.written")

    def _prepare(self) -> None:
        """Writes the rows of tables to files beside those that the tables have, so that the swap is left what has come
        since. What a table keeps of the past is not prepared, nor what its format cannot."""
        for name, node in self.nodes.items():
            for table, spec in zip(node.model.tables, node.specs, strict=True):
                replacement = self.sinks.replacement(table, spec)
                if replacement is None:
                    continue
                prepared = node.prepared[table.name] = PreparedTable(replacement, node.view.schema)
                rows = self._checks.admitted(name, weighted_rows(node.view.result()), node.view.schema)
                for _ in prepared.fill(rows):
                    failpoint.reach("swap.build.prepared")
                    if self._stopped.is_set():
                        raise EOFError

    def _follow(self) -> None:
        """Takes the next slice of an epoch that waits; compares if that is asked for as of where it stands."""
        if self._asked is not None and self._asked[2] == self.progress.epochs:
            former, done, _ = self._asked
            self._asked = None
            found = ((name, rows()) for name, rows in former.items())
            self.compared = [self._compared(name, rows) for name, rows in found if rows is not None]
            done.set()
        taken = self.backlog.next(WAIT_S)
        if taken is not None:
            self._step(taken.deltas)
            if taken.over:
                self._advance(taken)
                self.progress.epochs += 1
            self.backlog.done()
            failpoint.reach("swap.build.followed")
        self.progress.behind_rows = self.backlog.rows

    def _compared(self, name: str, former: pa.Table) -> Comparison:
        view = self.nodes[name].view
        return compare_rows(name, former, self._checks.admitted(name, view.result(), view.schema), view.key)

    def _step(self, deltas: Mapping[str, pa.Table], *, initial: bool = False) -> None:
        """Takes changes of inputs through all views."""
        changed = dict(deltas)
        for model in self.models:
            view = self.nodes[model.name].view
            given = {name: _only(changed[name], view.inputs[name]) for name in model.inputs if name in changed}
            given = {name: delta for name, delta in given.items() if delta.num_rows}
            parts = [view.initial] if initial else []
            parts += [view.apply(given)] if given else []
            if parts:
                changed[model.name] = self._computed(model.name, parts)

    def _advance(self, taken: Taken) -> None:
        """Moves event time on, in all views."""
        marks, changed = dict(taken.marks), dict[str, pa.Table]()
        for model in self.models:
            view = self.nodes[model.name].view
            given = {name: changed[name] for name in model.inputs if name in changed and changed[name].num_rows}
            parts = [view.apply(given)] if given else []
            known = {name: marks[name] for name in model.inputs if name in marks}
            parts.append(view.advance(known, taken.idle.intersection(model.inputs)))
            changed[model.name] = self._computed(model.name, parts)
            if view.watermark is not None:
                marks[model.name] = view.watermark

    def _computed(self, name: str, parts: list[pa.Table]) -> pa.Table:
        """What a model has computed, as all that reads it gets it; its tables that are prepared take it in."""
        node = self.nodes[name]
        delta = self._checks.admitted(name, pa.concat_tables(parts), node.view.schema)
        for prepared in node.prepared.values():
            prepared.add(delta)
        return delta


def _only(delta: pa.Table, columns: pa.Schema) -> pa.Table:
    missing = [name for name in columns.names if name not in delta.column_names]
    if missing:
        raise UserError(f"column {missing[0]!r} went while the model was built", hint="headwater apply")
    return delta.select([*columns.names, WEIGHT])
