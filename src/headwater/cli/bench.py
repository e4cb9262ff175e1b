"""`headwater bench`: figures of this machine, measured side by side."""

from __future__ import annotations

from json import dumps
from pathlib import Path

from cyclopts import App

from headwater.cli import output

app = App(name="bench", help="Measure parts of Headwater on this machine.")


@app.command
def log(*, json: bool = False) -> int:
    """Append to and read from a log in a temporary folder.

    Args:
        json: Print one JSON object.
    """
    import tempfile

    from headwater.log.benchmark import benchmark

    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        figures = benchmark(Path(folder))
    return _print(figures, json)


@app.command
def spine(*, rows: int = 500_000, updates: int = 200_000, json: bool = False) -> int:
    """Mirror a table from a PostgreSQL of its own, with a model over it: first its rows, then updates of them.

    Args:
        rows: How many rows the table has.
        updates: How many updates follow.
        json: Print one JSON object.
    """
    from headwater.demo.benchmark import spine as measure

    return _print(measure(rows=rows, updates=updates), json)


def _print(figures: dict[str, float], json: bool) -> int:
    if json:
        output.print_data(dumps({"v": 1, **figures}))
    else:
        output.print_table(["figure", "value"], [[name, f"{value:,.1f}"] for name, value in figures.items()])
    return output.OK
