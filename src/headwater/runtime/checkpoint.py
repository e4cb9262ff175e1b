"""Writes the dataflow's state to a folder and reads it back.

    checkpoints/<epoch>/streams/<stream>/...   the normaliser's rows
    checkpoints/<epoch>/models/<model>/...     the view's state
    checkpoints/<epoch>/checks/<check>/...     the state of the view of a check that judges rows together

A checkpoint counts once the state store says so; a folder without an entry there is debris. Unchanged files are hard
links to the previous checkpoint's, so that a checkpoint writes what changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from headwater import failpoint
from headwater.durable import fsync_path
from headwater.engine.normalise import Normaliser
from headwater.errors import StorageFailed, UserError
from headwater.project.definition import Model
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.nodes import ModelNode
from headwater.runtime.state_store import CheckpointRecord


class CheckpointFolder:
    """The folder of a project's checkpoints.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, epoch: int, flow: Dataflow, previous: int | None) -> None:
        """Writes the state after `epoch`, durable when this returns.

        Raises:
            StorageFailed: it could not be written; earlier checkpoints are untouched.
        """
        failpoint.reach("checkpoint.before")
        making = self._folder / f"{epoch}.making"
        before = self._folder / str(previous) if previous is not None else None
        try:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()  # also if there is nothing to write: every record so far may have been rejected
            self._write_parts(making, before, flow)
            _sync_folders(making)
            failpoint.reach("checkpoint.after_fsync")
            shutil.rmtree(self._folder / str(epoch), ignore_errors=True)
            making.rename(self._folder / str(epoch))
            fsync_path(self._folder)
        except OSError as error:
            raise StorageFailed(
                f"cannot write checkpoint {epoch}: {error}", hint="free some space on the disk of the state folder"
            ) from error
        failpoint.reach("checkpoint.after_rename")

    def restore(self, record: CheckpointRecord, flow: Dataflow) -> None:
        """Reads the state of `record` into `flow`: its streams and models that are what they were.

        A stream is not when another source feeds it now. A model is not when its SQL or settings, a model or stream it
        reads or the columns of such a stream have changed; it is left to be built anew.

        Raises:
            HeadwaterError: a file is missing or damaged.
        """
        folder = self._folder / str(record.epoch)
        fresh = {name for name, node in flow.streams.items() if record.sources.get(name) != node.source}
        for name, node in flow.streams.items():
            if name not in fresh:
                restored = Normaliser.restore(folder / "streams" / name, flow.kept_in)
                restored.promise(node.stream.columns)
                node.normaliser = restored
                node.landed = record.landed.get(name, 0)
                if record.watermark_settings.get(name) == str(node.watermark):
                    node.watermark_us = record.watermarks.get(name)
                else:
                    node.observe(flow.checks.admitted(name, restored.rows(), restored.stream.columns))
        for name, model in flow.models.items():
            known = all(upstream in flow.nodes for upstream in model.inputs if upstream in flow.models)
            known = known and fresh.isdisjoint(model.inputs)
            if known and record.models.get(name) == model.fingerprint:
                self._restore_model(record, flow, model)
        kept = {*flow.nodes, *(flow.streams.keys() - fresh)}
        flow.checks.restore(folder / "checks", record.checks, record.gates, flow, kept)

    def _restore_model(self, record: CheckpointRecord, flow: Dataflow, model: Model) -> None:
        try:
            folder = self._folder / str(record.epoch) / "models" / model.name
            view = flow.view_of(model, folder, keep=model.name in record.swapping)
        except UserError:
            return
        flow.nodes[model.name] = ModelNode(model, view, record.refed.get(model.name, 0))

    def clean(self, kept: Iterable[int]) -> None:
        """Removes the folders of all other epochs."""
        names = {str(epoch) for epoch in kept}
        for folder in self._folder.iterdir():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)
        failpoint.reach("checkpoint.after_cleanup")

    def _write_parts(self, making: Path, before: Path | None, flow: Dataflow) -> None:
        for name, stream in flow.streams.items():
            stream.normaliser.checkpoint(making / "streams" / name, _part(before, "streams", name))
            failpoint.reach("checkpoint.after_state_file")
        for name, node in flow.nodes.items():
            written, node.written = node.written, None
            node.view.checkpoint(making / "models" / name, written or _part(before, "models", name))
            failpoint.reach("checkpoint.after_state_file")
        flow.checks.checkpoint(making / "checks", before / "checks" if before is not None else None)


def _part(folder: Path | None, kind: str, name: str) -> Path | None:
    part = folder / kind / name if folder is not None else None
    return part if part is not None and part.is_dir() else None


def _sync_folders(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        fsync_path(Path(folder))
