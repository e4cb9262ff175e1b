"""What is answered when a request cannot be served."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ProblemAnswer(BaseModel):
    """RFC 9457. `hint` is the command or edit that mends it; `file`, `line` and `column` say where a mistake stands."""

    model_config = ConfigDict(extra="allow")

    title: str
    status: int
    detail: str
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
