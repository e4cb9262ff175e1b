"""Every reader drains the same backlog, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.bench.capture import floor
from headwater.bench.capture.backlog import Backlog, backlog
from headwater.bench.capture.server_cpu import ServerCpu
from headwater.bench.child import Figures, measure
from headwater.errors import InvariantBroken

FLOOR = "pg_recvlogical"
HEADER = ("shape", "reader", "rows/s", "rows/cpu s", "seconds", "reader cpu s", "server cpu s", "peak MB", "of floor")

Read = Callable[[Backlog, str, Path], Figures]
"""Another reader: drains a backlog from a slot of its own, with a folder to write to; figures as `drain.drain` gives
them."""


def suite(
    shapes: Sequence[str],
    rows: int,
    timeout_s: float,
    told: Callable[[Figures], object],
    others: Mapping[str, Read] | None = None,
) -> Figures:
    """Measures each shape with Headwater, `pg_recvlogical` and other readers.

    Returns:
        `shapes`: per shape and reader rows, seconds, cpu_s, server_cpu_s, peak_bytes, rows_per_s, rows_per_cpu_s,
        of_floor (rate as a part of `pg_recvlogical`'s), or `error`.
    """
    found = []
    for shape in shapes:
        readers = _measured(shape, rows, timeout_s, others or {})
        found.append({"shape": shape, "readers": readers})
        told(found[-1])
    return {"source": "postgres", "rows": rows, "shapes": found}


def _measured(shape: str, rows: int, timeout_s: float, others: Mapping[str, Read]) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
        folder = Path(name)
        log = folder / "log"

        def prepare(waiting: Backlog) -> None:
            _headwater(waiting, log, timeout_s)

        slots = tuple(_slot(reader) for reader in (FLOOR, *others))
        with backlog(shape, rows, slots, prepare) as waiting:
            read = {
                FLOOR: lambda: floor.receive(waiting.programs / FLOOR, waiting, slots[0], folder / "floor", timeout_s),
                "headwater": lambda: _headwater(waiting, log, timeout_s),
                **{
                    reader: lambda reader=reader, slot=slot: others[reader](waiting, slot, folder)  # type: ignore[misc]
                    for reader, slot in zip(others, slots[1:], strict=True)
                },
            }
            figures = {reader: _watched(waiting, one) for reader, one in read.items()}
    rate = figures[FLOOR].get("rows_per_s")
    for one in figures.values():
        one["of_floor"] = one["rows_per_s"] / rate if rate and "rows_per_s" in one else None
    return figures


def _slot(reader: str) -> str:
    return f"bench_{reader.lower()}"


def _headwater(waiting: Backlog, log: Path, timeout_s: float) -> Figures:
    figures = measure("headwater.bench.capture.drain:drain", {"url": waiting.url, "folder": str(log)}, timeout_s)
    if "error" in figures:
        raise InvariantBroken(f"Headwater did not read the backlog: {figures['error']}")
    return figures


def _watched(waiting: Backlog, read: Callable[[], Figures]) -> Figures:
    before = floor.children_cpu_s()
    with ServerCpu(waiting.url) as server:
        figures = read()
    figures = {"cpu_s": floor.children_cpu_s() - before, "server_cpu_s": server.seconds, **figures}
    if "error" in figures:
        return figures
    if figures["rows"] != waiting.rows:
        return {"error": f"saw {figures['rows']:,} of {waiting.rows:,} changes"}
    figures["rows_per_s"] = figures["rows"] / figures["seconds"]
    figures["rows_per_cpu_s"] = figures["rows"] / max(figures["cpu_s"], 1e-9)
    return figures


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
