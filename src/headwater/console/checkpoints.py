"""`GET /v1/checkpoints`: what the engine's state took, when, and which of it is kept."""

from __future__ import annotations

from headwater.console import overview
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import checkpoints as shapes
from headwater.runtime.checkpoint_history import Made, kept_epochs, noted
from headwater.runtime.running import Running

SHOWN = 200
KEPT_S = 5.0
RESTORE = (
    "Stop the project, then: headwater checkpoint restore EPOCH. The next start begins at that state and runs the "
    "epochs since then again, with the same input; the tables hold them already and are left alone. To put a table "
    "back: headwater tables rollback."
)


def checkpoints(call: Call) -> shapes.Checkpoints:
    """The history, and what is kept."""
    now, running = overview.latest(call), call.running
    kept, history = call.kept.get("checkpoints", KEPT_S, lambda: _look(running), now.checkpoint.epoch)
    history = [one.model_copy(update={"kept": one.epoch in kept}) for one in history]
    return shapes.Checkpoints(
        current=next((one for one in history if one.epoch == now.checkpoint.epoch), None),
        age_s=now.checkpoint.age_s,
        interval_s=running.project.run.checkpoint_interval.total_seconds(),
        epochs_since=now.epoch - (now.checkpoint.epoch or 0),
        history=history,
        restore=RESTORE,
    )


def _look(running: Running) -> tuple[frozenset[int], list[shapes.Checkpoint]]:
    made = [_shown(one) for one in noted(running.project.state, SHOWN)]
    return frozenset(kept_epochs(running.project.state)), made


def _shown(one: Made) -> shapes.Checkpoint:
    kind = "incremental" if one.new_bytes < one.bytes else "full"
    return shapes.Checkpoint(**vars(one), kind=kind, kept=False)


ENDPOINTS = (
    Endpoint("GET", "/v1/checkpoints", "Checkpoints: when, how long, how large, which are kept.", shapes.Checkpoints,
             checkpoints),
)  # fmt: skip
