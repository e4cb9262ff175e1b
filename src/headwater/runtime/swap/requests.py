"""What is asked of a running project about its models, and how that stands: files in the state folder.

    apply/request.json   what is to be applied; there as long as it is not done
    apply/answer.json    what the user decided: to cancel it, or to go on in spite of what differs
    apply/status.json    how the last one stands

One request at a time. All are durable and replaced whole, so a process that is started later finds them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from headwater.errors import UserError
from headwater.project.state_file import write_atomically

FOLDER = "apply"

State = Literal["asked", "building", "following", "canary", "differs", "swapping", "done", "failed", "cancelled",
                "refused"]  # fmt: skip
"""How an apply stands.

- `asked`: nothing has been done yet.
- `building`: the new versions are made from a picture of their inputs.
- `following`: they take what has come since.
- `canary`: both versions are kept up to date for the time asked for.
- `differs`: they differ by more than allowed, and a decision is waited for.
- `swapping`: the new versions take the place of the old ones.
- `done`, `failed`, `cancelled`, `refused`: it is over. After `failed`, `cancelled` and `refused` the old versions run.
"""

OVER: frozenset[str] = frozenset({"done", "failed", "cancelled", "refused"})


@dataclass(frozen=True)
class ApplyRequest:
    """A wish to apply a project's files as they are.

    Attributes:
        id: unique; ids in order are requests in order.
        digest: of the models wanted (`models_digest`): files that have changed since are not applied.
        canary_s: how long both versions are to be kept up to date before they are compared; None: no comparison.
        tolerance: share of rows that may differ; None: any difference needs a decision.
        show: compare once before the swap, and go on whatever differs.
    """

    id: str
    digest: str
    canary_s: float | None = None
    tolerance: float | None = None
    show: bool = False


@dataclass
class ApplyStatus:
    """How an apply stands.

    Attributes:
        id: the request's.
        state: see `State`.
        models: what is built, with why.
        rows, rows_total, bytes_total: of their inputs, fed and to be fed.
        behind_rows: what has come since and was not taken yet.
        epoch: the epoch of the swap.
        compared: what differs, by model (`Comparison.as_dict`).
        again: how often it was begun again.
        pause_ms: how long the epochs waited for it at most.
        error, hint: why it failed or was refused.
    """

    id: str
    state: State = "asked"
    models: dict[str, str] = field(default_factory=dict)
    leave: list[str] = field(default_factory=list)
    rows: int = 0
    rows_total: int = 0
    bytes_total: int = 0
    behind_rows: int = 0
    epoch: int | None = None
    compared: list[dict[str, object]] = field(default_factory=list)
    again: int = 0
    pause_ms: float = 0.0
    error: str = ""
    hint: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in OVER


class Applies:
    """The request that waits, and its status.

    Args:
        state: the state folder.
    """

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER

    def submit(self, request: ApplyRequest) -> None:
        """Makes a request, durable when this returns.

        Raises:
            UserError: another one is not done.
            StorageFailed: it could not be written.
        """
        waiting = self.pending()
        if waiting is not None:
            raise UserError(
                "the project is being changed already", hint="headwater apply --status; headwater apply --cancel"
            )
        (self.folder / "answer.json").unlink(missing_ok=True)
        self.tell(ApplyStatus(request.id))
        write_atomically(self.folder / "request.json", json.dumps({"v": 1, **asdict(request)}))

    def pending(self) -> ApplyRequest | None:
        """The request that is not done.

        Raises:
            UserError: the file is none of ours.
        """
        fields = _read(self.folder / "request.json")
        return None if fields is None else ApplyRequest(**fields)  # type: ignore[arg-type]

    def answer(self, identifier: str, *, go: bool) -> None:
        """Decides about the request: to cancel it, or to go on although contents differ.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self.folder / "answer.json", json.dumps({"v": 1, "id": identifier, "go": go}))

    def answered(self, identifier: str) -> bool | None:
        """Whether to go on; None if nothing was decided."""
        fields = _read(self.folder / "answer.json")
        return bool(fields["go"]) if fields is not None and fields.get("id") == identifier else None

    def tell(self, status: ApplyStatus) -> None:
        """Writes how it stands; the request is forgotten when it is over.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self.folder / "status.json", json.dumps({"v": 1, **asdict(status)}))
        if status.is_over:
            (self.folder / "request.json").unlink(missing_ok=True)
            (self.folder / "answer.json").unlink(missing_ok=True)

    def status(self) -> ApplyStatus | None:
        """How the last one stands; None if there was none.

        Raises:
            UserError: the file is none of ours.
        """
        fields = _read(self.folder / "status.json")
        return None if fields is None else ApplyStatus(**fields)  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, object] | None:
    try:
        fields: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("v") != 1:
            raise ValueError("of another version")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be understood: {error}", hint="remove the file") from error
    return fields
