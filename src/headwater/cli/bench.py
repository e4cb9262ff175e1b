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
    if json:
        output.print_data(dumps({"v": 1, **figures}))
    else:
        output.print_table(["figure", "value"], [[name, f"{value:,.1f}"] for name, value in figures.items()])
    return output.OK
