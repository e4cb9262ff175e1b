"""How the checks stand and have stood, in the state store: survives a kill, and is read without the project running."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from headwater.quality.checks import Result
from headwater.sqlite_file import open_to_read

DDL = """
CREATE TABLE IF NOT EXISTS check_results (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
    state TEXT NOT NULL, failing INTEGER, value REAL, score REAL, message TEXT NOT NULL, example TEXT NOT NULL,
    says TEXT NOT NULL, epoch INTEGER NOT NULL, at_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS check_history (
    id TEXT NOT NULL, at_us INTEGER NOT NULL, epoch INTEGER NOT NULL, state TEXT NOT NULL, failing INTEGER, value REAL,
    score REAL
);
CREATE INDEX IF NOT EXISTS check_history_by_id ON check_history (id, at_us);
CREATE TABLE IF NOT EXISTS check_volumes (
    id TEXT NOT NULL, period INTEGER NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (id, period)
);
"""

COLUMNS = (
    "model", "name", "kind", "severity", "state", "failing", "value", "score", "message", "example", "says", "epoch",
    "at_us",
)  # fmt: skip
PAST = ("at_us", "epoch", "state", "failing", "value", "score")

KEPT = 500
"""Entries of a check's history that are kept."""

APART_US = 10_000_000
"""While a check stays in its state, its history has at most one entry in so long."""

Row = dict[str, str | int | float | None]


class CheckResults:
    """The results over the state store's one connection. Writing methods run inside the caller's transaction.

    Args:
        connection: to the state store.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(DDL)

    def save(self, results: Sequence[Result]) -> None:
        """Enters how the checks stand now, and what has changed into their histories."""
        marks = ", ".join("?" * (len(COLUMNS) + 1))
        for result in results:
            told = result.as_dict()
            self._remember(result)
            self._connection.execute(
                f"INSERT OR REPLACE INTO check_results (id, {', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608 constant
                (result.check.id, *(told[name] for name in COLUMNS)),
            )

    def keep_only(self, ids: Collection[str]) -> None:
        """Forgets the checks that the project has no more."""
        known = [row[0] for row in self._connection.execute("SELECT id FROM check_results").fetchall()]
        for name in known:
            if name not in ids:
                for table in ("check_results", "check_history", "check_volumes"):
                    self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (name,))  # noqa: S608 constant

    def add_volume(self, name: str, period: int, rows: int, keep: int) -> None:
        """Counts rows that appeared in a period, and forgets all but the last `keep` periods."""
        self._connection.execute(
            "INSERT INTO check_volumes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            (name, period, rows),
        )
        self._connection.execute("DELETE FROM check_volumes WHERE id = ? AND period < ?", (name, period - keep))

    def volumes(self, name: str) -> Mapping[int, int]:
        """Rows that appeared, by period."""
        found = self._connection.execute("SELECT period, rows FROM check_volumes WHERE id = ?", (name,))
        return dict(found.fetchall())

    def _remember(self, result: Result) -> None:
        query = "SELECT rowid, at_us, state, failing, value FROM check_history WHERE id = ? ORDER BY at_us DESC LIMIT 1"
        last = self._connection.execute(query, (result.check.id,)).fetchone()
        now = (result.state, result.failing, result.value)
        if last is not None and tuple(last[2:]) == now:
            return
        if last is not None and last[2] == result.state and result.at_us - last[1] < APART_US:
            query = "UPDATE check_history SET epoch = ?, failing = ?, value = ?, score = ? WHERE rowid = ?"
            self._connection.execute(query, (result.epoch, result.failing, result.value, result.score, last[0]))
            return
        told = result.as_dict()
        self._connection.execute(
            "INSERT INTO check_history VALUES (?, ?, ?, ?, ?, ?, ?)", (result.check.id, *(told[name] for name in PAST))
        )
        self._connection.execute(
            "DELETE FROM check_history WHERE id = ?1 AND rowid NOT IN"
            " (SELECT rowid FROM check_history WHERE id = ?1 ORDER BY at_us DESC LIMIT ?2)",
            (result.check.id, KEPT),
        )


def read_results(state: Path, *, history: int = 0) -> list[Row]:
    """How the checks of a project stood last, in the order of their models and names; none before the first run.

    Args:
        state: the state folder.
        history: so many entries of the past come with each, under `history`, the newest first.
    """
    path = state / "state.db"
    if not path.exists():
        return []
    connection = open_to_read(path)
    try:
        query = f"SELECT id, {', '.join(COLUMNS)} FROM check_results ORDER BY model, name"  # noqa: S608 constant
        found = connection.execute(query).fetchall()
        rows: list[Row] = [dict(zip(COLUMNS, row[1:], strict=True)) for row in found]
        for row, (name, *_) in zip(rows, found, strict=True):
            if history:
                row["history"] = _past(connection, name, history)  # type: ignore[assignment]
        return rows
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # the state is of a version that knew no checks
        raise
    finally:
        connection.close()


def _past(connection: sqlite3.Connection, name: str, most: int) -> list[Row]:
    query = f"SELECT {', '.join(PAST)} FROM check_history WHERE id = ? ORDER BY at_us DESC LIMIT ?"  # noqa: S608 constant
    return [dict(zip(PAST, row, strict=True)) for row in connection.execute(query, (name, most)).fetchall()]
