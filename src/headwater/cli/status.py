"""`headwater status`: where every source, model and table of a project stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import cast

from headwater.cli import output

MUCH = 64 * 10**6
"""Bytes that a server keeps for a source from which on the status says so."""

_PARTS = ("read", "landed", "rejected", "filtered", "late", "in_flight")


def status(folder: Path = Path(), /, *, json: bool = False) -> int:
    """Show where the project in FOLDER stands, running or stopped, and whether its accounting adds up.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.runtime.status import read_status

    current = read_status(read_project(folder).state)
    if json:
        output.print_data(dumps(current))
    else:
        _print(cast(Mapping[str, object], current))
    return output.OK if current["accounting"] else output.WRONG_DATA


def _print(current: Mapping[str, object]) -> None:
    freshness = cast(Mapping[str, object], current["freshness_ms"])
    checkpoint = cast(Mapping[str, object], current["checkpoint"])
    rejects = cast(Mapping[str, object], current["rejects"])
    output.print_data(
        f"{current['project']}: {current['state']}, epoch {current['epoch']}, checkpoint {checkpoint['epoch']},"
        f" freshness p50 {_ms(freshness.get('p50'))} p99 {_ms(freshness.get('p99'))}, open rejects {rejects['open']}"
    )
    error = cast("Mapping[str, object] | None", current["error"])
    if error:
        output.warn(str(error["message"]), str(error["hint"]))
    sources, models = _entries(current["sources"]), _entries(current["models"])
    lines = [_account("stream", entry) for source in sources for entry in _entries(source["streams"])]
    lines += [_account("model", entry) for entry in models]
    output.print_table(["", "name", *_PARTS, "adds up"], lines)
    _print_maintenance(current)
    _print_syncs(_entries(current.get("syncs") or ()))
    for source in sources:
        for entry in _entries(source.get("snapshots") or ()):
            output.print_data(_snapshot(entry))
        output.print_data(f"source {source['name']}: {source['state']}, lag {_lag(source)}{_kept(source)}")
        for alarm in _entries(source.get("alarms", ())):
            output.warn(f"{source['name']}: {alarm['message']}", str(alarm["hint"]))


def _print_syncs(syncs: Sequence[Mapping[str, object]]) -> None:
    for sync in syncs:
        parts = ", ".join(f"{sync[part]:,} {part}" for part in ("handed", "delivered", "parked", "pending"))
        wrong = "" if sync["holds"] else ": this does not add up"
        output.print_data(f"sync {sync['name']}: {sync['state']}, {parts}{wrong}")
        error = cast("Mapping[str, object] | None", sync["error"])
        if error:
            output.warn(f"{sync['name']}: {error['message']}", str(error["hint"]))


def _print_maintenance(current: Mapping[str, object]) -> None:
    """Tables that maintenance cannot keep, if there are any."""
    for alarm in _entries(cast(Mapping[str, object], current.get("maintenance") or {}).get("alarms", ())):
        output.warn(f"table {alarm['table']}: {alarm['message']}", str(alarm["hint"]))


def _kept(source: Mapping[str, object]) -> str:
    """What the server keeps for a source if it is much, and gaps that were accepted."""
    health = cast(Mapping[str, object], source.get("health") or {})
    told = ""
    if cast(int, health.get("wal_kept_bytes") or 0) >= MUCH:
        told = f", the server keeps {_bytes(health['wal_kept_bytes'])} of its log ({health['wal_status']})"
    if source.get("gaps"):
        told += f", {output.counted(cast(int, source['gaps']), 'accepted gap')}: headwater rejects ls"
    return told


def _snapshot(entry: Mapping[str, object]) -> str:
    of = "" if entry["expected"] is None else f" of about {entry['expected']:,}"
    said = f": {entry['message']}" if entry["message"] else ""
    return f"snapshot of {entry['table']}: {entry['state']}, {entry['rows']:,}{of} rows{said}"


def _account(kind: str, entry: Mapping[str, object]) -> list[str]:
    return [kind, str(entry["name"]), *(f"{entry[part]:,}" for part in _PARTS), "yes" if entry["holds"] else "NO"]


def _entries(value: object) -> Sequence[Mapping[str, object]]:
    return cast(Sequence[Mapping[str, object]], value)


def _lag(source: Mapping[str, object]) -> str:
    unit, lag = str(source.get("lag_unit") or "bytes"), source["lag_bytes"]
    return "unknown" if lag is None else f"{lag:,} {unit}"


def _bytes(value: object) -> str:
    return "unknown" if value is None else f"{value:,} bytes"


def _ms(value: object) -> str:
    return "-" if value is None else f"{value:,} ms"
