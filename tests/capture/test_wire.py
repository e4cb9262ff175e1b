"""Messages taken from libpq in bulk: the same bytes as psycopg's own calls give, however they are cut."""

import psycopg
import pytest

from headwater.capture.postgres import libpq
from headwater.capture.postgres.wire import Frames, read_copy
from headwater.errors import SourceStopped, SourceUnavailable

ROWS = (
    "COPY (SELECT g, repeat(chr(97 + g % 26), (g * 7919) % 3000), CASE WHEN g % 100 = 0 THEN repeat('big', 200000) END "
    "FROM generate_series(1, {}) g) TO STDOUT"
)


@pytest.fixture(params=["compiled", "singly"])
def way(request, monkeypatch):
    """Both ways of taking messages in."""
    if request.param == "singly":
        monkeypatch.setattr(libpq, "functions", lambda: None)
    else:
        assert libpq.functions() is not None, "the libpq of this psycopg was not found"
    return request.param


def rows_by_psycopg(connection, query):
    with connection.cursor().copy(query) as copy:
        return [bytes(row) for row in copy]


@pytest.mark.parametrize(("rows", "size"), [(1, 1 << 20), (7, 100), (100_000, 1 << 16), (100_000, 64 << 20)])
def test_a_copy_in_chunks_is_the_copy(db, way, rows, size):
    expected = rows_by_psycopg(db.connection, ROWS.format(400))
    chunks = list(read_copy(db.connection, ROWS.format(400).encode(), rows, size))
    assert [chunk[at] for chunk in chunks for at in range(len(chunk))] == expected
    assert all(len(chunk) == rows or chunk.buffer.size >= size for chunk in chunks[:-1])
    assert all(len(chunk) <= rows and chunk.begins[-1] < size for chunk in chunks)
    assert db.connection.execute("SELECT 1").fetchone() == (1,)


def test_a_copy_of_nothing(db, way):
    assert list(read_copy(db.connection, b"COPY (SELECT 1 WHERE false) TO STDOUT", 10, 1000)) == []


def test_an_error_before_and_under_way(db, way):
    with pytest.raises(SourceStopped, match="no_such_table"):
        list(read_copy(db.connection, b"COPY no_such_table TO STDOUT", 10, 1000))
    failing = b"COPY (SELECT 1 / (50000 - g), repeat('x', 100) FROM generate_series(1, 60000) g) TO STDOUT"
    got = []
    with pytest.raises(SourceStopped, match="division by zero"):
        got.extend(len(chunk) for chunk in read_copy(db.connection, failing, 1000, 1 << 30))
    assert sum(got) == 49_999
    assert db.connection.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_breaks(db, way):
    with psycopg.connect(db.url, autocommit=True) as reading:
        pid = reading.info.backend_pid
        endless = b"COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT"
        chunks = read_copy(reading, endless, 1000, 1 << 30)
        next(chunks)
        db.run(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises((psycopg.OperationalError, SourceUnavailable)):
            list(chunks)


def test_frames_of_messages():
    messages = [b"one", b"", b"three"]
    frames = Frames.of(messages)
    assert [frames[at] for at in range(len(frames))] == messages
    assert len(Frames.of([])) == 0
