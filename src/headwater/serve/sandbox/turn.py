"""One question, in a process that lives for it alone: reads it, answers it, and is gone."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import duckdb

from headwater.clock import SystemClock
from headwater.errors import HeadwaterError, ProjectError, SqlError
from headwater.index.kernels import load_kernels
from headwater.serve.query import open_lake
from headwater.serve.sandbox import explaining, filtering, names, preview, selecting
from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.wire import Header, frame, receive, receive_bytes

Question = Callable[[Given, Header, bytes], str]
"""Takes what is asked and what comes with it; gives JSON."""

QUESTIONS: Mapping[str, Question] = {
    "query": selecting.answer,
    "explain": explaining.answer,
    "names": names.answer,
    "filter": filtering.answer,
    "preview": preview.answer,
    "check": preview.verdict,
}


def turn(given: Given, connection: socket.socket) -> None:
    """Answers one question."""
    asked = receive(connection)
    payload = receive_bytes(connection, int(asked.get("payload", 0)))
    status, text = _answered(given, asked, payload)
    body = text.encode()
    connection.sendall(frame({"status": status, "size": len(body)}) + body)


def rehearse(given: Given) -> None:
    """Does in the keeper what every turn would have to do first: loads modules and kernels, looks up the tables."""
    for name in _USED:
        import_module(name)
    for module in [loaded for name, loaded in sys.modules.items() if name.startswith("headwater.")]:
        load_kernels(module)
    with suppress(HeadwaterError):
        lake = open_lake(given.project)
        try:
            for name in lake.names()[:1]:
                lake.open_table(name).committed()
        finally:
            lake.close()


_USED = (
    "headwater.lake.moment", "headwater.serve.deliveries", "headwater.serve.models", "headwater.serve.moment_text",
    "headwater.serve.tail_of_log", "headwater.serve.union_read",
)  # fmt: skip
"""Imported where they are used, which would be in every turn anew."""


def _answered(given: Given, asked: Header, payload: bytes) -> tuple[int, str]:
    clock = SystemClock()
    began = clock.monotonic_s()
    try:
        text = QUESTIONS[asked["do"]](given, asked, payload)
        return 200, f'{text[:-1]}, "elapsed_ms": {(clock.monotonic_s() - began) * 1000:.1f}}}'
    except (MemoryError, duckdb.OutOfMemoryException):
        return 422, problem(
            "the query needs more memory than it may take", "LIMIT it, or filter before it groups or joins"
        )
    except HeadwaterError as error:
        return 400 if error.domain == "user" else 503, told(error)
    except duckdb.Error as error:
        return 400, problem(str(error).replace("\n\n", "\n"))
    except RecursionError:
        return 400, problem("this query is nested too deep")


def told(error: HeadwaterError) -> str:
    """The members of a problem for an error of ours."""
    more: dict[str, Any] = {}
    if isinstance(error, SqlError) and error.place is not None and error.place.line:
        more = {"line": error.place.line, "column": error.place.column}
    if isinstance(error, ProjectError):
        more = {"problems": preview.problems(error)}
    return problem(error.message, error.hint, **more)


def problem(detail: str, hint: str = "", **more: object) -> str:
    """The members of a problem that are the turn's to say."""
    return json.dumps({"detail": detail[:10_000], **({"hint": hint[:2000]} if hint else {}), **more})
