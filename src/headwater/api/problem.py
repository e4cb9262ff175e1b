"""What is answered when a request cannot be served: `application/problem+json` (RFC 9457), never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused. Raised by whoever serves it; the server makes the answer of it.

    Args:
        status: the HTTP status.
        detail: what is wrong, in a sentence; no secrets.
        headers: of the answer.
        more: further members of the answer, for instance the record that is wrong.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """The answer."""
        body = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail, **self.more}
        return Response(json.dumps(body), self.status, self.headers, CONTENT_TYPE)


def busy(detail: str, after_s: float = 1.0, status: int = 503) -> Problem:
    """A request that may be sent again after some seconds."""
    return Problem(status, detail, headers={"Retry-After": str(max(1, math.ceil(after_s)))})


async def on_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler of `Problem`."""
    if not isinstance(error, Problem):
        raise error
    return error.response()
