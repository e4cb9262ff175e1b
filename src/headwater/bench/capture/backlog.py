"""What a prepared backlog of changes is, whatever server holds it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from headwater.bench.capture.server_cpu import ServerCpu
from headwater.bench.child import Figures
from headwater.errors import UserError

TABLE = "items"
TRANSACTION_ROWS = 1_000
MIXED_ROWS = 100
WIDE_COLUMNS = 60
SHAPES = ("insert", "update", "mixed", "wide", "tiny-tx")
"""insert, update: transactions of a thousand rows. mixed: half inserts, four in ten updates, one in ten deletes, in
transactions of a hundred. wide: inserts of rows with 60 more columns. tiny-tx: a transaction for each row."""


@dataclass(frozen=True)
class Backlog:
    """What waits to be read.

    Attributes:
        kind: type of the source.
        url: of the database.
        table: the changed table, with its schema or database.
        slots: names of the slots, one for each reader but Headwater, whose source makes its own.
        rows: row changes.
        programs: folder of the server's programs.
        end: position after the last, as the server writes it.
    """

    kind: str
    url: str
    table: str
    slots: tuple[str, ...]
    rows: int
    programs: Path
    end: str = ""


Ready = Callable[[Backlog], object]


@dataclass(frozen=True)
class Server:
    """A kind of server to measure with.

    Attributes:
        backlog: a server with so many row changes of a shape, until the context ends; makes the slots named before any
            change, and calls `ready` when only the changes are still missing.
        cpu: what the server works for its readers while a context lasts.
        floor: name of the server's own reader; empty if there is none to compare with.
        receive: reads a backlog with it: from a slot, into a file, in so many seconds at most.
    """

    backlog: Callable[[str, int, tuple[str, ...], Ready], AbstractContextManager[Backlog]]
    cpu: Callable[[Backlog], AbstractContextManager[ServerCpu]]
    floor: str = ""
    receive: Callable[[Backlog, str, Path, float], Figures] | None = None


def chosen(shapes: str) -> tuple[str, ...]:
    """The shapes of a list with commas, or all.

    Raises:
        UserError: one is none.
    """
    names = SHAPES if shapes == "all" else tuple(shapes.split(","))
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise UserError(f"there is no shape {unknown[0]!r}", hint=f"they are {', '.join(SHAPES)}")
    return names
