"""`GET /v1/completions/TOKEN`: waits until what a request brought is visible in a table or model.

Records are visible when an epoch that reaches beyond them in the log is committed: every table then holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.api.problem import Problem
from headwater.api.server import Service
from headwater.capture.http.completion import Completion
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.runtime.progress import Progress

PATH = "/v1/completions/{token}"
LONGEST_S = 60.0
DEFAULT_S = 10.0
LOOK_S = 0.02
"""Seconds between two looks; epochs are further apart."""


class Completions:
    """See above.

    Args:
        progress: how far the epochs are.
        identity: of the state folder.
        sources: the sources that give tokens.
        tables: the project's tables, beside those that there are already.
        clock: time.
    """

    def __init__(
        self, progress: Callable[[], Progress], identity: str, sources: Collection[str], tables: Collection[str],
        clock: Clock,
    ) -> None:  # fmt: skip
        self._progress = progress
        self._identity = identity
        self._sources = frozenset(sources)
        self._tables = frozenset(tables)
        self._clock = clock

    def service(self) -> Service:
        """What it adds to the server."""
        return Service([Route(PATH, self._answer, methods=["GET"])])

    async def _answer(self, request: Request) -> Response:
        wanted = self._wanted(request.path_params["token"])
        table = request.query_params.get("table")
        end_s = self._clock.monotonic_s() + _timeout(request.query_params.get("timeout"))
        self._require_table(table)
        while not self._is_visible(wanted, table):
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return JSONResponse({"visible": False}, 202, {"Retry-After": "1"})
            await asyncio.sleep(min(LOOK_S, left_s))
        return JSONResponse({"visible": True, "epoch": self._progress().epoch})

    def _wanted(self, token: str) -> Completion:
        try:
            wanted = Completion.parse(token)
        except UserError as error:
            raise Problem(400, error.message) from error
        if wanted.source not in self._sources or wanted != Completion.of(wanted.source, wanted.commit, self._identity):
            raise Problem(404, "this token is of another project or state folder")
        return wanted

    def _require_table(self, table: str | None) -> None:
        """Refuses what will never be visible."""
        progress = self._progress()
        if table is None:
            return
        if table in progress.waiting:
            raise Problem(409, f"the model {table!r} waits: {progress.waiting[table]}")
        if table not in self._tables and table not in progress.rows:
            raise Problem(404, f"there is no table or model {table!r}")

    def _is_visible(self, wanted: Completion, table: str | None) -> bool:
        progress = self._progress()
        if table is not None and table in progress.waiting:
            raise Problem(409, f"the model {table!r} waits: {progress.waiting[table]}")
        return progress.positions.get(wanted.source, -1) >= wanted.commit


def _timeout(given: str | None) -> float:
    try:
        seconds = DEFAULT_S if given is None else float(given)
    except ValueError as error:
        raise Problem(400, "timeout is a number of seconds") from error
    if not 0 <= seconds <= LONGEST_S:
        raise Problem(400, f"timeout is between 0 and {LONGEST_S:.0f} seconds")
    return seconds
