"""A SQLite file of ours after its writer was killed, and while it cannot be written."""

import sqlite3
import subprocess
import sys

import pytest

from headwater import sqlite_file
from headwater.errors import StorageFailed

KILLED = """
import os, sys
from pathlib import Path
from headwater import sqlite_file
connection = sqlite_file.open_to_write(Path(sys.argv[1]))
connection.execute("PRAGMA cache_size=1")
with sqlite_file.transaction(connection):
    connection.execute("UPDATE t SET text = text || 'x'")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path):
    """A file of rows, larger than the killed writer's cache: what it had not committed is in the file itself."""
    found = tmp_path / "state.db"
    connection = sqlite_file.open_to_write(found)
    with sqlite_file.transaction(connection):
        connection.execute("CREATE TABLE t (text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("a" * 1000,)] * 500)
    connection.close()
    return found


def test_who_reads_after_a_kill_sees_what_was_committed(path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    assert path.with_name("state.db-journal").stat().st_size
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("SELECT count(*) FROM t")
    reader = sqlite_file.open_to_read(path)
    assert reader.execute("SELECT count(*), sum(length(text)) FROM t").fetchone() == (500, 500_000)
    reader.close()


def test_who_reads_cannot_write(path):
    reader = sqlite_file.open_to_read(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM t")
    reader.close()


def test_a_transaction_that_fails_leaves_nothing(path):
    connection = sqlite_file.open_to_write(path)
    with pytest.raises(KeyError), sqlite_file.transaction(connection):
        connection.execute("DELETE FROM t")
        raise KeyError
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (500,)
    connection.close()


def test_a_file_that_is_not_there_is_told_in_our_words(tmp_path):
    with pytest.raises(StorageFailed, match="cannot read it") as told, sqlite_file.storage_errors("read it"):
        sqlite_file.open_to_read(tmp_path / "nothing.db")
    assert told.value.hint
    assert not list(tmp_path.iterdir())
