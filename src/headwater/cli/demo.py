"""`headwater demo`: the whole way of the data on this machine, killed in the middle, and proven at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.demo.demonstration import Outcome

_QUERY = "SELECT * FROM revenue_by_minute ORDER BY window_start DESC LIMIT 5"


def demo(
    *,
    seconds: float = 20.0,
    rate: float = 200.0,
    dir: Path | None = None,
    json: bool = False,
    picture: Path | None = None,
) -> int:
    """Watch a shop's PostgreSQL become live SQL models and Iceberg tables, be killed, go on, and be proven right.

    Starts a PostgreSQL of its own in a temporary folder, lets a shop do business in it, follows it with an ordinary
    project (examples/shop), kills that with kill -9 halfway, starts it again, and at the end compares every
    table and model, row by row. The exit code is 5 if anything differs.

    Args:
        seconds: How long the shop does business.
        rate: Its transactions per second.
        dir: Folder to keep the project and its lake in; it must not exist yet. Without it they are removed.
        json: Print one JSON object and nothing else.
        picture: File to write the live view to, as an SVG of the moment before the kill.
    """
    from tempfile import TemporaryDirectory

    if dir is not None:
        return _play(dir, seconds, rate, json, picture, kept=True)
    with TemporaryDirectory(prefix="headwater-demo-") as temporary:
        return _play(Path(temporary) / "shop", seconds, rate, json, picture, kept=False)


def _play(folder: Path, seconds: float, rate: float, json: bool, picture: Path | None, *, kept: bool) -> int:
    from rich.console import Console

    from headwater.clock import SystemClock
    from headwater.demo.demonstration import Demonstration
    from headwater.demo.live import LiveView

    with LiveView(Console(quiet=json), "headwater demo") as view:
        outcome = Demonstration(folder, rate=rate, seconds=seconds, audience=view, clock=SystemClock()).run()
    if picture is not None:
        picture.write_text(view.photograph(), encoding="utf-8")
    if json:
        output.print_json({**outcome.as_json(), "folder": str(folder) if kept else None})
    else:
        _tell(outcome)
        _suggest(folder, kept)
    return output.OK if outcome.verification.verified else output.WRONG_DATA


def _tell(outcome: Outcome) -> None:
    found, fresh, waited = outcome.verification, outcome.freshness_ms, outcome.with_restart_ms
    output.print_data("")
    output.print_data(f"  changes committed by the shop   {outcome.rows_written:>12,}")
    output.print_data(f"  changes captured                {outcome.rows_captured:>12,}")
    output.print_data(f"  epochs committed to the lake    {outcome.epochs:>12,}")
    output.print_data(f"  freshness p50 / p99             {_ms(fresh['p50']):>12} / {_ms(fresh['p99'])}")
    output.print_data(f"  the same across the kill        {_ms(waited['p50']):>12} / {_ms(waited['p99'])}")
    if outcome.restart_s is not None:
        output.print_data(f"  back after kill -9 in           {outcome.restart_s:>10,.1f} s")
    output.print_data(
        f"  tables and models compared      {len(found.checked):>12,}, {sum(found.checked.values()):,} rows in all"
    )
    output.print_data("")
    for mismatch in found.mismatches:
        output.print_data(f"  differs: {mismatch}")
    verdict = "verified: nothing lost, nothing doubled" if found.verified else "NOT verified"
    output.print_data(f"  {verdict}")
    output.print_data("")


def _suggest(folder: Path, kept: bool) -> None:
    if not kept:
        output.note("  To keep the project and its lake, and look around in them:")
        output.note("    headwater demo --dir shop")
        output.note("  On a database of your own, with no project at all:")
        output.note("    headwater mirror postgresql://...")
        return
    output.note("  The project and its lake stay. Try:")
    output.note(f"    cd {folder}")
    output.note(f'    headwater query "{_QUERY}"')
    output.note("    headwater tables")
    output.note("    headwater status")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
