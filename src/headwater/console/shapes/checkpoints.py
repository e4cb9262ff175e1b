"""Checkpoints: the engine's state after an epoch."""

from __future__ import annotations

from headwater.console.shapes.shape import Shape


class Checkpoint(Shape):
    """One checkpoint. `new_bytes` were written for it, the rest is shared with the one before; `kind` is full or
    incremental; `parts` are bytes by "stream:NAME" and "model:NAME". `kept`: it is there, and can be gone back to."""

    epoch: int
    at_us: int
    duration_ms: float
    bytes: int
    new_bytes: int
    files: int
    kind: str
    parts: dict[str, int]
    kept: bool


class Checkpoints(Shape):
    """The newest checkpoints, newest first, and the current one, null before the first, with its age. `restore` says
    how to go back to one that is kept, and what that means."""

    current: Checkpoint | None
    age_s: float | None
    interval_s: float
    epochs_since: int
    history: list[Checkpoint]
    restore: str
