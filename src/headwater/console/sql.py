"""`/v1/sql`: users' SQL, answered in processes of their own. See `headwater.serve.sandbox`."""

from __future__ import annotations

import json

from headwater.api.problem import Problem, busy
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import sql as shapes
from headwater.serve.sandbox.room import Answer


async def run(call: Call) -> bytes:
    """The rows of a SELECT."""
    said = call.of(shapes.Statement)
    return passed(call, await call.room.ask("query", **said.model_dump()))


async def explain(call: Call) -> bytes:
    """Its plan."""
    return passed(call, await call.room.ask("explain", sql=call.of(shapes.Explained).sql))


async def names(call: Call) -> bytes:
    """What can be written."""
    return passed(call, await call.room.ask("names"))


def passed(call: Call, answer: Answer) -> bytes:
    """The body of an answer.

    Raises:
        Problem: it is one.
    """
    if answer.status < 400:
        return answer.body
    members = json.loads(answer.body)
    detail = call.running.mask(members.pop("detail"))
    if answer.status == 503:
        raise busy(detail)
    raise Problem(answer.status, detail, **members)


ENDPOINTS = (
    Endpoint("POST", "/v1/sql", "Answers a SELECT over tables and models.", shapes.SqlAnswer, asks=shapes.Statement,
             wait=run),
    Endpoint("POST", "/v1/sql/explain", "How a SELECT would be answered.", shapes.SqlPlan, asks=shapes.Explained,
             wait=explain),
    Endpoint("GET", "/v1/sql/names", "Tables, columns and functions, for completion.", shapes.Names, wait=names),
)  # fmt: skip
