"""What a project's state says of the last whole epoch, read beside the process that runs it, without its lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headwater.runtime.state_store import EpochPlan
from headwater.sqlite_file import open_to_read


@dataclass(frozen=True)
class Done:
    """The last epoch that every table holds.

    Attributes:
        epoch: its number.
        offsets: by source, the log offset that it goes up to.
        tables: by table that was kept up to date, the epoch that it held at the last checkpoint.
    """

    epoch: int
    offsets: Mapping[str, int]
    tables: Mapping[str, int] = field(default_factory=dict)


def read_done(state: Path) -> Done | None:
    """The last whole epoch; None if there was none yet."""
    path = state / "state.db"
    if not path.exists():
        return None
    connection = open_to_read(path)
    try:
        connection.execute("BEGIN")
        plan = connection.execute(
            "SELECT epoch, plan FROM epochs WHERE done_us IS NOT NULL ORDER BY epoch DESC LIMIT 1"
        ).fetchone()
        kept = connection.execute("SELECT epoch, contents FROM checkpoints ORDER BY epoch DESC LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # it is being made just now
            return None
        raise
    finally:
        connection.close()
    number, contents = (kept[0], json.loads(kept[1])) if kept else (0, {})
    offsets, tables = contents.get("offsets", {}), contents.get("tables", {})
    if plan is None or plan[0] <= number:
        return Done(number, offsets, tables) if number else None
    ranges = EpochPlan.from_json(*plan).ranges
    return Done(plan[0], {**offsets, **{source: end for source, (_, end) in ranges.items()}}, tables)
