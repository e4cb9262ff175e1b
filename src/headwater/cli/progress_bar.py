"""A bar for work that takes a while: on a terminal only, on stderr, gone when the work is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headwater.cli import output

Advance = Callable[[int, int | None], None]
"""Told how much is done, and of how much if that is known by now."""


@contextmanager
def progress(what: str, total: int | None = None, *, shown: bool = True) -> Iterator[Advance]:
    """A bar while this is open. Where stderr is no terminal (a pipe, a log), or a command's words are gathered for
    JSON, there is none, and nothing is written. NO_COLOR takes its colours away.

    Args:
        what: is done, as in "verifying".
        total: how much there is to do; None where that is not known: the bar moves and says nothing.
        shown: False for none at all.

    Yields:
        What is to be called as the work goes on, as often as one likes.
    """
    if not shown or output.is_listened_to() or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        bar = bars.add_task(what, total=total)
        yield lambda done, of: bars.update(bar, completed=done, total=of if of is not None else total)
