"""The walls around a turn, each tried with the others out of the way."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from headwater.errors import SqlError
from headwater.sql.prelude import locked
from headwater.sql.read_only import require_read_only

CLOSED_IN = """
import os, socket, sys, threading
from pathlib import Path
from headwater.serve.sandbox.walls import Walls

inside, outside = map(Path, sys.argv[1:])
standing = Walls(256 << 20, 5, (inside, Path(sys.prefix), Path("/usr"), Path("/lib"))).raise_up()


def tried(what, do):
    try:
        do()
    except (OSError, MemoryError) as error:
        return f"{what}: {type(error).__name__}"
    return f"{what}: done"


deeds = {
    "reads inside": lambda: (inside / "mine").read_text(),
    "reads outside": lambda: (outside / "theirs").read_text(),
    "reads a neighbour": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "writes inside": lambda: (inside / "new").write_text("x"),
    "writes to what is open": lambda: os.write(os.open(inside / "mine", os.O_RDWR), b"x"),
    "removes": lambda: (inside / "mine").unlink(),
    "connects": lambda: socket.create_connection(("127.0.0.1", 1), 1),
    "runs": lambda: os.execv("/bin/true", ["true"]),
    "kills": lambda: os.kill(os.getppid(), 0),
    "takes memory": lambda: bytearray(1 << 30),
}
said = [tried(what, do) for what, do in deeds.items()]
thread = threading.Thread(target=lambda: said.append(tried("a thread reads outside", deeds["reads outside"])))
thread.start()
thread.join()
print("|".join(standing), *said, sep="\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")
def test_a_process_that_is_closed_in_can_only_read_its_own(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder, name in ((inside, "mine"), (outside, "theirs")):
        folder.mkdir()
        (folder / name).write_text("x")
    command = [sys.executable, "-c", CLOSED_IN, str(inside), str(outside)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"})
    standing, *said = answer.stdout.splitlines()
    done = [one.removesuffix(": done") for one in said if one.endswith(": done")]
    if "landlock" in standing and "seccomp" in standing:
        assert done == ["reads inside"]
    else:  # an old kernel: limits still hold
        assert "takes memory" not in done
        assert "writes to what is open" not in done
    assert (inside / "mine").read_text() == "x"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{file}')", "SELECT * FROM '{file}'", "SELECT * FROM read_text('{file}')",
        "COPY (SELECT 1) TO '{file}.out'", "ATTACH '{file}.db'", "INSTALL httpfs", "LOAD httpfs", "SET threads = 8",
        "SET lock_configuration = false", "RESET memory_limit", "SELECT * FROM glob('/*')", "PRAGMA enable_profiling",
        "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')", "EXPORT DATABASE '{file}.out'",
        "SELECT * FROM variable_of_python",
    ],
)  # fmt: skip
def test_a_locked_duckdb_opens_nothing(tmp_path, sql):
    variable_of_python = pa.table({"a": [1]})
    file = tmp_path / "file.csv"
    file.write_text("a\n1\n")
    connection = locked(1, 64 << 20)
    with pytest.raises(duckdb.Error):
        connection.execute(sql.format(file=file)).fetchall()
    assert sorted(Path(tmp_path).iterdir()) == [file]
    connection.register("given", variable_of_python)
    assert connection.execute("SELECT a FROM given").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("FROM orders", ["orders"]),
        ("SELECT * FROM tumble(orders, at, INTERVAL '1 minute')", ["orders"]),
        ("WITH t AS (SELECT 1) SELECT * FROM t, range(3), unnest([1])", []),
        ("SELECT (SELECT max(id) FROM b) FROM a", ["b", "a"]),
        ("VALUES (1)", []),
    ],
)
def test_what_reads_may_be_asked(sql, reads):
    assert require_read_only(sql) == reads


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2", "COPY a TO 'b'", "SELECT getenv('x')", "FROM read_csv('x')",
        "SELECT * FROM query('SELECT 1')", "WITH x AS (DELETE FROM a RETURNING *) FROM x", "SELECT * INTO b FROM a",
        "SELECT " + "(" * 900 + "1" + ")" * 900, "SELECT 1" + " " * 100_000, "SELECT '\0'",
        "SELECT ARRAY(SELECT content FROM read_text('x'))",
    ],
)  # fmt: skip
def test_what_does_more_may_not(sql):
    with pytest.raises(SqlError):
        require_read_only(sql)
