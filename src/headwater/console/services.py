"""What the console adds to the web server: the API, its OpenAPI document, and the page."""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headwater.api.server import Service
from headwater.console import (
    accounting,
    capture,
    checkpoints,
    checks,
    events,
    graph,
    history,
    lineage,
    models,
    node,
    overview,
    plans,
    rejects,
    sql,
    streams,
    tables,
)
from headwater.console.endpoint import Desk, Endpoint
from headwater.console.health import health
from headwater.console.metrics import metrics
from headwater.console.openapi import PATH, document
from headwater.console.page import Page
from headwater.runtime.running import Running

ENDPOINTS: tuple[Endpoint, ...] = (
    *overview.ENDPOINTS,
    *events.ENDPOINTS,
    *history.ENDPOINTS,
    *graph.ENDPOINTS,
    *node.ENDPOINTS,
    *lineage.ENDPOINTS,
    *plans.ENDPOINTS,
    *rejects.ENDPOINTS,
    *streams.ENDPOINTS,
    *sql.ENDPOINTS,
    *models.ENDPOINTS,
    *tables.ENDPOINTS,
    *capture.ENDPOINTS,
    *accounting.ENDPOINTS,
    *checkpoints.ENDPOINTS,
    *checks.ENDPOINTS,
)
"""The API: one line for each room of it."""


def services(running: Running) -> Sequence[Service]:
    """The console of a running project, and what is there for machines also without it: health and metrics.

    Args:
        running: the project.
    """
    outside = [health(running), metrics(running), *_told(running)]
    if running.project.api is not None and not running.project.api.console:
        return outside
    desk = Desk(running)
    text = json.dumps(document(ENDPOINTS)).encode()

    async def openapi(request: Request) -> Response:
        return Response(text, media_type="application/json")

    routes = [Route(PATH, openapi, methods=["GET"]), *(desk.route(endpoint) for endpoint in ENDPOINTS)]
    return [*outside, Service(routes, stop=desk.room.close), Page().service()]


def _told(running: Running) -> Sequence[Service]:
    """What tells the lineage service, if there is one: it lives as long as the server, and has no path."""
    if running.project.lineage is None:
        return ()
    from headwater.govern.openlineage import Teller

    teller = Teller(running, running.project.lineage)
    teller.start()
    return [Service((), stop=teller.stop)]
