"""`/v1/streams`: what was captured, as it lies in the log: sought by offset or time, filtered, followed live."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

from headwater.api.problem import Problem
from headwater.console import overview
from headwater.console.endpoint import HEARTBEAT, Call, Endpoint, event_of, missing, problem_of
from headwater.console.fixture import fixture_of
from headwater.console.log_scan import RowFilter, Scan
from headwater.console.shapes import streams as shapes
from headwater.console.shapes.overview import StreamGlance
from headwater.console.values import columns_of
from headwater.errors import HeadwaterError
from headwater.log.partition import Partition
from headwater.project.discovery import load_streams
from headwater.runtime.running import Running
from headwater.schema import StreamSchema

KNOWN_S = 1.0
TICK_S = 0.25
HEARTBEAT_TICKS = 40
TAIL_RECORDS = 200
"""Records told in one tick."""
TAIL_OFFSETS = 5000
"""A tail that is further behind skips what it missed."""


def listed(call: Call) -> shapes.Streams:
    """All streams."""
    glances = {stream.name: stream for source in overview.latest(call).sources for stream in source.streams}
    found = [_stream(call, schema, glances.get(schema.name)) for schema in _schemas(call).values()]
    return shapes.Streams(streams=[one for one in found if one is not None])


def records(call: Call) -> shapes.Records:
    """Records of a stream from a place on, or before it."""
    asked = call.of(shapes.AskRecords)
    name = call.path["name"]
    partition = _partition(call, name)
    given = [asked.offset is not None, asked.at_us is not None, asked.origin is not None]
    if sum(given) > 1:
        raise Problem(422, "say one place: offset, at_us or from")
    base, head = partition.base, partition.head
    place = _place(partition, asked, base, head)
    with RowFilter(asked.filter) as rows:
        scan = Scan(partition, name, rows, call.running.clock, asked.limit)
        back = asked.reverse or asked.origin == "latest"
        done = scan.backward(place, base) if back else scan.forward(place, head)
    columns = scan.columns() if scan.found else _schemas(call)[name].columns
    return shapes.Records(
        stream=name, columns=columns_of(columns), records=scan.records(columns), base=base, head=head,
        next_offset=scan.reached, done=done, scanned=scan.scanned,
    )  # fmt: skip


def fixture(call: Call) -> str:
    """A part of a stream as the rows that a model test is given."""
    asked = call.of(shapes.AskFixture)
    name = call.path["name"]
    partition = _partition(call, name)
    with RowFilter("") as rows:
        if asked.start is None:
            scan = Scan(partition, name, rows, call.running.clock, min(asked.limit, 20))
            scan.backward(min(asked.end or partition.head, partition.head), partition.base)
        else:
            scan = Scan(partition, name, rows, call.running.clock, asked.limit)
            end = partition.head if asked.end is None else min(asked.end, partition.head)
            scan.forward(min(asked.start, end), end)
    readers = [model.name for model in call.running.project.models if name in model.inputs]
    return fixture_of(name, scan.found, readers, _schemas(call)[name])


async def tail(call: Call) -> AsyncIterator[bytes]:
    """Records as they come, until the client goes or the project stops."""
    asked, name = call.of(shapes.AskTail), call.path["name"]
    try:
        at = await call.aside(_beginning, call, name, asked)
        tick = 0
        while not call.running.ending.is_set():
            at, told = await call.aside(_next, call, name, asked, at)
            if told is not None:
                yield event_of("records", told.model_dump_json().encode())
            if tick % HEARTBEAT_TICKS == 0:
                yield HEARTBEAT
            tick += 1
            await anyio.sleep(TICK_S)
        yield event_of("end", {})
    except HeadwaterError as error:
        raise problem_of(error, call.running.mask) from error


def _beginning(call: Call, name: str, asked: shapes.AskTail) -> int:
    """Where a tail begins: so many records before the end."""
    partition = _partition(call, name)
    with RowFilter(asked.filter) as rows:
        scan = Scan(partition, name, rows, call.running.clock, asked.last)
        head = partition.head
        if asked.last:
            scan.backward(head, max(partition.base, head - TAIL_OFFSETS))
    return min((offset for offsets, _ in scan.found for offset in offsets), default=head)


def _next(call: Call, name: str, asked: shapes.AskTail, at: int) -> tuple[int, shapes.Tailed | None]:
    """What has come since `at`; where to go on, and what to tell."""
    partition = _partition(call, name)
    head = partition.head
    start = max(at, head - TAIL_OFFSETS, partition.base)
    if start >= head:
        return start, None
    with RowFilter(asked.filter) as rows:
        scan = Scan(partition, name, rows, call.running.clock, TAIL_RECORDS)
        scan.forward(start, head)
    skipped = start - at + (head - scan.reached if scan.count == TAIL_RECORDS else 0)
    if not scan.count and not skipped:
        return head, None
    columns = scan.columns() if scan.found else _schemas(call)[name].columns
    told = shapes.Tailed(columns=columns_of(columns), records=scan.records(columns), skipped=skipped, head=head)
    return head, told


def _place(partition: Partition, asked: shapes.AskRecords, base: int, head: int) -> int:
    if asked.at_us is not None:
        return partition.offset_at(asked.at_us)
    if asked.offset is not None:
        return min(max(asked.offset, base), head)
    return base if asked.origin == "earliest" or (asked.origin is None and not asked.reverse) else head


def _stream(call: Call, schema: StreamSchema, glance: StreamGlance | None) -> shapes.Stream | None:
    running = call.running
    source = running.progress().stream_sources.get(schema.name)
    partition = running.partitions.as_mapping().get(source) if source is not None else None
    if source is None or partition is None:
        return None
    counts = partition.counts.get(schema.name)
    boundary = partition.boundary
    definition = next((one for one in running.project.sources if one.name == source), None)
    return shapes.Stream(
        name=schema.name, source=source, type=definition.type if definition else "", key=list(schema.key),
        changelog=schema.changelog, columns=columns_of(schema.columns), base=partition.base, head=partition.head,
        changes=counts.changes if counts else 0, rejects=counts.rejects if counts else 0,
        rows_per_s=glance.rows_per_s if glance else 0.0, timed=bool(boundary and boundary.commit_time_us),
    )  # fmt: skip


def _schemas(call: Call) -> dict[str, StreamSchema]:
    """The streams that are known, by name."""
    state = call.running.project.state
    return call.kept.get("streams", KNOWN_S, lambda: {one.name: one for one in load_streams(state)})


def _partition(call: Call, name: str) -> Partition:
    source = call.running.progress().stream_sources.get(name)
    partition = call.running.partitions.as_mapping().get(source) if source is not None else None
    if partition is None or name not in _schemas(call):
        raise missing("stream", name)
    return partition


def known(running: Running) -> list[str]:
    """Names of the streams that have records."""
    return sorted(running.progress().stream_sources)


ENDPOINTS = (
    Endpoint("GET", "/v1/streams", "All streams, as the log has them.", shapes.Streams, listed),
    Endpoint("GET", "/v1/streams/{name}/records", "Records of a stream.", shapes.Records, records, shapes.AskRecords),
    Endpoint("GET", "/v1/streams/{name}/tail",
             "Server-sent events: `records` as they come ({columns, records, skipped, head}), `end`.", None,
             asks=shapes.AskTail, follow=tail),
    Endpoint("GET", "/v1/streams/{name}/fixture", "Records as the given rows of a model test, YAML.", None, fixture,
             shapes.AskFixture, media="application/yaml"),
)  # fmt: skip
