"""`/livez` and `/readyz`: whether to restart the process, and whether everything that it needs is connected.

`/livez` is answered by the web server's event loop, and is red if the main thread or the epochs' loop has not gone
round for `STUCK_S` seconds although it does not wait on purpose. It says nothing of sources, destinations and disks
that are away: a new process would have them no more than this one. `/readyz` does.

Both are open without a token, for who asks them seldom has one; names and reasons are told to who shows it.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.api.server import Service
from headwater.runtime.job import Job
from headwater.runtime.running import Running

STUCK_S = 300.0
"""Longer than any epoch takes that makes headway; a restart costs a recovery."""

_CONNECTED = ("running", "snapshotting", "done", "paused")


def health(running: Running, stuck_s: float = STUCK_S) -> Service:
    """The two paths.

    Args:
        running: the project.
        stuck_s: seconds without a turn of its loop after which a thread counts as stuck.
    """

    async def livez(request: Request) -> Response:
        stuck = list(_stuck(running, stuck_s))
        return _answer(request, not stuck, "stuck", stuck)

    async def readyz(request: Request) -> Response:
        away = list(_away(running))
        return _answer(request, not away, "not_connected", away)

    routes = [Route("/livez", livez, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
    return Service(routes, open_paths=("/livez", "/readyz"))


def _answer(request: Request, well: bool, name: str, found: list[dict[str, object]]) -> Response:
    told: object = found if request.state.trusted else len(found)
    body = {"status": "ok" if well else "failed", name: told}
    return JSONResponse(body, status_code=200 if well else 503)


def _stuck(running: Running, stuck_s: float) -> Iterator[dict[str, object]]:
    now = running.clock.monotonic_s()
    loops = [("main", running.beat_s), *((job.name, job.beat_s) for job in running.jobs() if job.name == "epochs")]
    for name, beat_s in loops:
        if beat_s is not None and now - beat_s > stuck_s:
            yield {"job": name, "since_s": round(now - beat_s, 1)}


def _away(running: Running) -> Iterator[dict[str, object]]:
    """The sources, syncs and the epochs' loop that are not at work."""
    for job in running.jobs():
        if job.name == "maintenance" or is_connected(job):
            continue
        error = "" if job.error is None else running.mask(str(job.error))
        yield {"job": job.name, "state": job.state, "error": error}


def is_connected(job: Job) -> bool:
    """Whether a job of a source or sync has what it talks to."""
    return job.state in _CONNECTED
