"""`GET /v1/events`: what happens, as it happens, by server-sent events; `GET /v1/journal`: what has happened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

from headwater.api.problem import Problem
from headwater.console import overview
from headwater.console.endpoint import HEARTBEAT, Call, Endpoint, event_of
from headwater.console.shapes import events as shapes
from headwater.console.shapes.overview import Overview
from headwater.runtime.journal import Entry

TICK_S = 0.25
OVERVIEW_TICKS = 2
HEARTBEAT_TICKS = 40
FIRST_ENTRIES = 50
TOPICS = frozenset({"overview", "journal", "history"})


def journal(call: Call) -> shapes.Journal:
    """The last changes of state."""
    asked = call.of(shapes.AskJournal)
    return shapes.Journal(entries=[_entry(each) for each in call.running.events_since(asked.after)[-asked.limit :]])


async def follow(call: Call) -> AsyncIterator[bytes]:
    """Everything of the topics asked for, until the client goes or the project stops."""
    asked = call.of(shapes.AskEvents)
    topics = {topic.strip() for topic in asked.topics.split(",") if topic.strip()}
    if not topics <= TOPICS:
        raise Problem(422, f"there is no topic {min(topics - TOPICS)!r}: {', '.join(sorted(TOPICS))}")
    running = call.running
    past = running.events_since(0 if asked.after is None else asked.after)
    number = past[-FIRST_ENTRIES - 1].number if asked.after is None and len(past) > FIRST_ENTRIES else asked.after or 0
    sampled_us, told, tick = running.clock.now_us(), b"", 0
    yield HEARTBEAT
    while not running.ending.is_set():
        if "overview" in topics and tick % OVERVIEW_TICKS == 0:
            current = await call.aside(overview.latest, call)
            told_now = _lasting(current)
            if told_now != told:
                told = told_now
                yield event_of("overview", current.model_dump_json().encode())
        if "journal" in topics:
            for entry in running.events_since(number):
                number = entry.number
                yield event_of("journal", _entry(entry).model_dump_json().encode(), number)
        if "history" in topics:
            times, series = running.history.since(sampled_us)
            for at, time in enumerate(times):
                sampled_us = time
                values = {name: values[at] for name, values in series.items() if values[at] is not None}
                yield event_of("history", shapes.Sample(at_us=time, values=values).model_dump_json().encode())
        if tick % HEARTBEAT_TICKS == HEARTBEAT_TICKS - 1:
            yield HEARTBEAT
        tick += 1
        await anyio.sleep(TICK_S)
    yield event_of("end", {})


def _lasting(current: Overview) -> bytes:
    """What of an overview is worth telling: that time has gone is not."""
    checkpoint = current.checkpoint.model_copy(update={"age_s": None})
    return current.model_copy(update={"now_us": 0, "checkpoint": checkpoint}).model_dump_json().encode()


def _entry(entry: Entry) -> shapes.JournalEntry:
    return shapes.JournalEntry(
        number=entry.number, at_us=entry.at_us, level=entry.level, event=entry.event, fields=dict(entry.fields)
    )


ENDPOINTS = (
    Endpoint(
        "GET", "/v1/events",
        "Server-sent events: `overview` (at most two a second, when changed), `journal` (one entry), `history` (one "
        "sample a second), `end` (the project stops).",
        None, asks=shapes.AskEvents, follow=follow,
    ),
    Endpoint("GET", "/v1/journal", "The last changes of state.", shapes.Journal, journal, shapes.AskJournal),
)  # fmt: skip
