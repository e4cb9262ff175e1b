"""What a change of the models will do, and how one stands."""

from __future__ import annotations

from pydantic import Field

from headwater.console.shapes.shape import Asked, Shape


class Mistake(Shape):
    """A mistake in the project's files."""

    message: str
    hint: str
    file: str
    line: int
    column: int


class PlanItem(Shape):
    """One thing of the project, and what becomes of it; the words are those of `headwater plan --json`."""

    kind: str
    name: str
    state: str
    consequence: str
    reason: str


class Input(Shape):
    """A stream or model that a model is built from; null where nobody knows yet."""

    name: str
    rows: int | None
    bytes: int | None
    where: str


class Need(Shape):
    """What building one model takes."""

    model: str
    inputs: list[Input]


class Kept(Shape):
    """A model whose state goes on."""

    model: str
    bytes: int | None


class Plan(Shape):
    """What applying the project's files would do. With mistakes nothing is known and nothing can be applied.

    Attributes:
        digest: of the models' files; give it to `POST /v1/apply` to apply just these.
        restart: sources whose settings changed, which takes a restart of `headwater run`.
        versions: by model, how many versions have run, so that one can be rolled back to.
    """

    digest: str
    items: list[PlanItem]
    needs: list[Need]
    kept: list[Kept]
    can_apply: bool
    restart: list[str]
    mistakes: list[Mistake]
    versions: dict[str, int]


class AskPlan(Asked):
    """Asks for the plan of the project's files as they are."""


class AskApply(Asked):
    """Asks for the project's files to be applied."""

    canary_s: float | None = Field(default=None, ge=0, description="How long both versions run beside each other.")
    tolerance: float | None = Field(default=None, ge=0, le=1, description="Share of rows that may differ.")
    digest: str | None = Field(default=None, description="Refuse if the files are others than this plan's.")
    confirm: bool = Field(default=False, description="Must be true.")


class AskDecision(Asked):
    """Decides about the change under way."""

    id: str | None = Field(default=None, description="Of the change; the one under way if not given.")


class AskRollback(Asked):
    """Asks for the version of a model that ran before."""

    model: str
    force: bool = Field(default=False, description="Overwrite changes of the file that never ran.")
    confirm: bool = Field(default=False, description="Must be true.")


class Begun(Shape):
    """A change that was asked for."""

    id: str


class Step(Shape):
    """A step of a change."""

    name: str
    state: str = Field(description="done, now, waits or failed")


class Progress(Shape):
    """How far the new versions are."""

    rows: int
    rows_total: int
    bytes_total: int
    behind_rows: int


class Difference(Shape):
    """What differs between two versions of a model, as of the same epoch."""

    model: str
    before: int
    after: int
    gone: int
    came: int
    changed: int
    share: float
    columns_gone: list[str]
    columns_came: list[str]
    sample: list[dict[str, object]]


class Apply(Shape):
    """How the change under way, or the last one, stands.

    Attributes:
        state: none, asked, building, following, canary, differs, swapping, done, failed, cancelled or refused.
        models: what is built, with why.
        pause_ms: how long epochs waited for it at most.
    """

    id: str | None
    state: str
    over: bool
    models: dict[str, str]
    leave: list[str]
    steps: list[Step]
    progress: Progress
    epoch: int | None
    compared: list[Difference]
    pause_ms: float
    error: str
    hint: str
