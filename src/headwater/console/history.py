"""`GET /v1/history`: figures of the last quarter of an hour."""

from __future__ import annotations

from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes.events import AskHistory, History


def history(call: Call) -> History:
    """The samples after a time."""
    at_us, series = call.running.history.since(call.of(AskHistory).since_us)
    return History(at_us=at_us, series=series)


ENDPOINTS = (
    Endpoint("GET", "/v1/history", "Figures over the last quarter of an hour, one sample a second.", History, history,
             AskHistory),
)  # fmt: skip
