"""`GET /v1/checks`: how the quality checks stand, and have stood."""

from __future__ import annotations

from typing import Any, cast

from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import checks as shapes
from headwater.quality.check_results import PAST, read_results

KEPT_S = 1.0
"""The state store is asked at most so often."""


def checks(call: Call) -> shapes.Checks:
    """The checks as the last epoch left them, or as time has since."""
    asked = call.of(shapes.AskChecks)
    state = call.running.project.state
    stored = call.kept.get(f"checks:{asked.history}", KEPT_S, lambda: read_results(state, history=asked.history))
    past = {f"{one['model']}.{one['name']}": cast("list[dict[str, Any]]", one.get("history") or []) for one in stored}
    lines = [
        _line(call, result.as_dict(), past.get(result.check.id, []))
        for result in call.running.progress().checks
        if asked.model in (None, result.check.node)
    ]
    return shapes.Checks(checks=lines)


def _line(call: Call, told: dict[str, Any], past: list[dict[str, Any]]) -> shapes.CheckLine:
    texts = {name: call.running.mask(str(told[name])) for name in ("message", "example")}
    history = [shapes.Outcome(**{name: one[name] for name in PAST}) for one in past]
    return shapes.CheckLine(**{**told, **texts}, history=history)


ENDPOINTS = (
    Endpoint("GET", "/v1/checks", "How the quality checks stand", shapes.Checks, checks, asks=shapes.AskChecks),
)
