"""How much history a plan reads to build its models, where that lies, and which state is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headwater.project.definition import Project
from headwater.project.plan import Plan
from headwater.sqlite_file import open_to_read

Where = Literal["state", "lake and log", "source"]


@dataclass(frozen=True)
class Input:
    """A stream or model that a model is built from.

    Attributes:
        name: its name.
        rows: how many it has, by the last checkpoint; None if nobody knows yet.
        bytes: what they take there.
        where: they are taken from the engine's state, from the lake's table snapshot and what the log has since (no
            checkpoint can be read), or from the source, which was not read yet.
    """

    name: str
    rows: int | None
    bytes: int | None
    where: Where


@dataclass(frozen=True)
class Need:
    """What building one model takes.

    Attributes:
        model: its name.
        inputs: what it is built from, models that are built too left out.
    """

    model: str
    inputs: tuple[Input, ...]

    def to_json(self) -> dict[str, object]:
        """As `plan --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Kept:
    """A model whose state goes on.

    Attributes:
        model: its name.
        bytes: what its state takes in the last checkpoint; None if it is in none.
    """

    model: str
    bytes: int | None


def needs(project: Project, plan: Plan) -> tuple[list[Need], list[Kept]]:
    """What the models of a plan are built from, and which are kept.

    Args:
        project: as it is to be.
        plan: what is to happen.
    """
    built = {item.name for item in plan.items if item.kind == "model" and item.consequence in ("build", "rebuild")}
    checkpoint = _Checkpoint(project.state)
    wanted, kept = [], []
    for model in project.models:
        if model.name in built:
            inputs = [name for name in model.inputs if name not in built]
            wanted.append(Need(model.name, tuple(checkpoint.input(name) for name in inputs)))
        else:
            kept.append(Kept(model.name, checkpoint.size("models", model.name)))
    return wanted, kept


class _Checkpoint:
    """The newest checkpoint's figures."""

    def __init__(self, state: Path) -> None:
        self._folder, self._record, self._ran = Path(), dict[str, Mapping[str, int]](), (state / "state.db").exists()
        if not self._ran:
            return
        with closing(open_to_read(state / "state.db")) as connection:
            query = "SELECT epoch, contents FROM checkpoints ORDER BY epoch DESC LIMIT 1"
            found = connection.execute(query).fetchone()
        if found is not None:
            self._folder, self._record = state / "checkpoints" / str(found[0]), json.loads(found[1])

    def input(self, name: str) -> Input:
        """The figures of a stream or model."""
        rows = self._record.get("rows", {}).get(name)
        if rows is None:
            rows = self._record.get("landed", {}).get(name)
        size = self.size("streams", name)
        size = self.size("models", name) if size is None else size
        where: Where = "state" if size is not None else "lake and log" if self._ran else "source"
        return Input(name, rows, size, where)

    def size(self, kind: str, name: str) -> int | None:
        """Bytes of a part of the checkpoint; None if it is not there."""
        part = self._folder / kind / name
        if not self._record or not part.is_dir():
            return None
        return sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
