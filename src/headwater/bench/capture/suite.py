"""Every reader drains the same backlog, one after the other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headwater.bench.capture import mariadb, postgres
from headwater.bench.capture.backlog import Backlog, Server
from headwater.bench.child import Figures, measure
from headwater.errors import InvariantBroken, UserError

HEADER = ("shape", "reader", "rows/s", "rows/cpu s", "seconds", "reader cpu s", "server cpu s", "peak MB", "of floor")

Read = Callable[[Backlog, str, Path], Figures]
"""Another reader: drains a backlog from a slot of its own, with a folder to write to; figures as `drain.drain` gives
them."""

SERVERS = {"postgres": postgres.SERVER, "mysql": mariadb.SERVER}
"""By type of source."""


def suite(
    source: str,
    shapes: Sequence[str],
    rows: int,
    timeout_s: float,
    told: Callable[[Figures], object],
    others: Mapping[str, Read] | None = None,
) -> Figures:
    """Measures each shape with Headwater, the server's own reader and others.

    Args:
        source: one of `SERVERS`.
        shapes: some of `backlog.SHAPES`.
        rows: row changes.
        timeout_s: that one reader may take.
        told: called with the figures of each shape.
        others: further readers, by name.

    Returns:
        `shapes`: per shape and reader rows, seconds, cpu_s, server_cpu_s, peak_bytes, rows_per_s, rows_per_cpu_s,
        of_floor (rate as a part of the server's own reader's), or `error`.

    Raises:
        UserError: there is no such source.
    """
    if source not in SERVERS:
        raise UserError(f"there is no backlog for a source {source!r}", hint=f"they are {', '.join(SERVERS)}")
    found = []
    for shape in shapes:
        readers = _measured(SERVERS[source], shape, rows, timeout_s, others or {})
        found.append({"shape": shape, "readers": readers})
        told(found[-1])
    return {"source": source, "rows": rows, "shapes": found}


def _measured(server: Server, shape: str, rows: int, timeout_s: float, others: Mapping[str, Read]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
        folder, read = Path(name), dict(others)
        if server.receive is not None:
            read = {server.floor: partial(_received, server.receive, timeout_s), **read}
        slots = {reader: f"bench_{reader}" for reader in read}
        ours = partial(_headwater, log=folder / "log", timeout_s=timeout_s)
        with server.backlog(shape, rows, tuple(slots.values()), ours) as waiting:
            figures = {"headwater": _watched(server, waiting, lambda: ours(waiting))}
            for reader, one in read.items():
                figures[reader] = _watched(server, waiting, partial(one, waiting, slots[reader], folder))
    rate = figures.get(server.floor, {}).get("rows_per_s")
    for of_reader in figures.values():
        of_reader["of_floor"] = of_reader["rows_per_s"] / rate if rate and "rows_per_s" in of_reader else None
    return figures


def _received(
    receive: Callable[[Backlog, str, Path, float], Figures], timeout_s: float, waiting: Backlog, slot: str, folder: Path
) -> Figures:
    return receive(waiting, slot, folder / "floor", timeout_s)


def _headwater(waiting: Backlog, log: Path, timeout_s: float) -> Figures:
    arguments = {"kind": waiting.kind, "url": waiting.url, "table": waiting.table, "folder": str(log)}
    figures = measure("headwater.bench.capture.drain:drain", arguments, timeout_s)
    if "error" in figures:
        raise InvariantBroken(f"Headwater did not read the backlog: {figures['error']}")
    return figures


def _watched(server: Server, waiting: Backlog, read: Callable[[], Figures]) -> Figures:
    before = _children_cpu_s()
    with server.cpu(waiting) as watched:
        figures = read()
    figures = {"cpu_s": _children_cpu_s() - before, "server_cpu_s": watched.seconds, **figures}
    if "error" in figures:
        return figures
    if figures["rows"] != waiting.rows:
        return {"error": f"saw {figures['rows']:,} of {waiting.rows:,} changes"}
    figures["rows_per_s"] = figures["rows"] / figures["seconds"]
    figures["rows_per_cpu_s"] = figures["rows"] / max(figures["cpu_s"], 1e-9)
    return figures


def _children_cpu_s() -> float:
    """CPU seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def lines(shapes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table under `HEADER`."""
    return [_line(found["shape"], reader, one) for found in shapes for reader, one in found["readers"].items()]


def _line(shape: str, reader: str, one: Figures) -> list[str]:
    if "error" in one:
        return [shape, reader, *["-"] * 6, str(one["error"])]
    peak = one.get("peak_bytes")
    server = one.get("server_cpu_s")
    return [
        shape, reader, f"{one['rows_per_s']:,.0f}", f"{one['rows_per_cpu_s']:,.0f}", f"{one['seconds']:.2f}",
        f"{one['cpu_s']:.2f}", f"{server:.2f}" if server is not None else "-",
        f"{peak / 1e6:,.0f}" if peak is not None else "-", f"{one['of_floor']:.2f}" if one["of_floor"] else "-",
    ]  # fmt: skip
