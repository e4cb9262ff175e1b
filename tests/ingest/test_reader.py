"""One reading of an HTTP source, with the log's part played by hand: when is what durable, and who is told when."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.capture.http.door import Door, Full
from headwater.capture.http.forms import Body
from headwater.capture.http.keys import CARRIED, Keys, brought
from headwater.capture.http.limits import Pace
from headwater.capture.http.reader import HttpReader
from headwater.capture.http.routes import as_messages
from headwater.capture.http.settings import HttpSettings
from headwater.capture.http.source import HttpSource
from headwater.capture.http.submission import NotTaken, Submission, fingerprint
from headwater.change import Group
from headwater.clock import SystemClock
from headwater.position import Boundary, Position

DAY_US = 86_400_000_000


class HeldClock(SystemClock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def now_us(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1e6

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.is_set()


@pytest.fixture
def source(tmp_path: Path) -> HttpSource:
    settings = HttpSettings.model_validate({"streams": {"events": {}}, "remember_keys_h": 24})
    made = HttpSource("web", settings, project="p", identity="i", clock=HeldClock())
    made.scratch = tmp_path
    return made


def opened(source: HttpSource, boundary: Boundary | None = None) -> HttpReader:
    """As the capture job opens it: what the log ends with is confirmed at once."""
    reader = source.open(boundary.resume if boundary else None)
    if boundary is not None:
        reader.confirm(boundary)
    else:
        reader.confirm(polled(reader).boundary)
    return reader


def polled(reader: HttpReader) -> Group:
    group = reader.poll(5.0)
    assert group is not None
    return group


def sent(source: HttpSource, *values: bytes, key: str = "", strict: bool = False) -> Submission:
    body = Body("json", pa.array(values, pa.binary()))
    mark = fingerprint("events", "", b"".join(values))
    messages = as_messages("events", body, source.clock.now_us())
    submission = Submission("events", body.form, messages, messages.nbytes, key, mark, strict)
    source.door.offer(submission)
    return submission


def test_nobody_is_told_before_the_log_has_it(source: HttpSource) -> None:
    reader = opened(source)
    one, two = sent(source, b'{"n":1}'), sent(source, b'{"n":2}', b"{", b'{"n":3}')
    group = polled(reader)
    assert not one.answer.done()
    assert (sum(len(batch) for batch in group.batches), group.rejects.num_rows) == (3, 1)  # type: ignore[union-attr]
    reader.confirm(group.boundary)
    assert (one.answer.result(0).accepted, one.answer.result(0).rejected) == (1, 0)
    assert (two.answer.result(0).accepted, two.answer.result(0).rejected) == (2, 1)
    assert [wrong.record for wrong in two.answer.result(0).wrong] == [1]
    reader.close()


def test_a_key_is_in_the_resume_point_of_its_records_until_it_is_in_its_file(source: HttpSource) -> None:
    reader = opened(source)
    sent(source, b'{"n":1}', key="a")
    first = polled(reader)
    sent(source, b'{"n":2}', key="b")
    second = polled(reader)
    assert [len(brought(group.boundary.resume.get(CARRIED))) for group in (first, second)] == [1, 2]
    reader.confirm(second.boundary)
    sent(source, b'{"n":3}')
    assert CARRIED not in polled(reader).boundary.resume
    reader.close()


def test_killed_between_the_log_and_the_answer_it_is_not_taken_twice(source: HttpSource) -> None:
    """The group is durable, and nothing after it happened: no confirmation, no file, no answer."""
    reader = opened(source)
    sent(source, b'{"n":1}', key="a")
    durable = polled(reader).boundary
    reader.close()
    again = opened(source, durable)
    repeated = sent(source, b'{"n":1}', key="a")
    assert again.poll(0.0) is None
    assert (repeated.answer.result(0).repeated, repeated.answer.result(0).accepted) == (True, 1)
    assert repeated.answer.result(0).commit == durable.position.commit
    again.close()


def test_killed_before_the_log_has_it_it_is_taken(source: HttpSource) -> None:
    reader = opened(source)
    begun = Boundary(Position(0), {"commit": 0})
    lost = sent(source, b'{"n":1}', key="a")
    polled(reader)
    reader.close()
    with pytest.raises(NotTaken):
        lost.answer.result(0)
    again = opened(source, begun)
    retried = sent(source, b'{"n":1}', key="a")
    again.confirm(polled(again).boundary)
    assert not retried.answer.result(0).repeated
    again.close()


def test_the_same_key_while_its_request_is_under_way_waits_for_it(source: HttpSource) -> None:
    reader = opened(source)
    first = sent(source, b'{"n":1}', key="a")
    group = polled(reader)
    same, other = sent(source, b'{"n":1}', key="a"), sent(source, b'{"n":9}', key="a")
    assert reader.poll(0.0) is None
    assert not same.answer.done()
    with pytest.raises(NotTaken, match="another request"):
        other.answer.result(0)
    reader.confirm(group.boundary)
    assert (first.answer.result(0).repeated, same.answer.result(0).repeated) == (False, True)
    reader.close()


def test_a_request_that_was_refused_leaves_its_key_free(source: HttpSource) -> None:
    reader = opened(source)
    wrong = sent(source, b"{", key="a", strict=True)
    assert reader.poll(0.0) is None
    with pytest.raises(NotTaken):
        wrong.answer.result(0)
    right = sent(source, b'{"n":1}', key="a", strict=True)
    reader.confirm(polled(reader).boundary)
    assert right.answer.result(0).accepted == 1
    reader.close()


def test_keys_are_forgotten_after_their_time(source: HttpSource, tmp_path: Path) -> None:
    reader = opened(source)
    for day, key in enumerate("abc"):
        source.clock.now = DAY_US * day + 1  # type: ignore[attr-defined]
        sent(source, b'{"n":1}', key=key)
        reader.confirm(polled(reader).boundary)
    fresh, old = sent(source, b'{"n":1}', key="b"), sent(source, b'{"n":1}', key="a")
    polled(reader)
    assert fresh.answer.result(0).repeated
    assert not old.answer.done()
    reader.close()


def test_a_closed_reading_sends_everybody_away(source: HttpSource) -> None:
    with pytest.raises(Full, match="not being read"):
        sent(source, b'{"n":1}')
    reader = opened(source)
    polled_one, waiting = sent(source, b'{"n":1}'), None
    polled(reader)
    waiting = sent(source, b'{"n":2}')
    reader.close()
    for submission in (polled_one, waiting):
        with pytest.raises(NotTaken) as refused:
            submission.answer.result(0)
        assert refused.value.status == 503
    with pytest.raises(Full):
        sent(source, b'{"n":3}')


def test_the_door_holds_so_much_and_no_more() -> None:
    door = Door(1000)
    door.unlock()
    messages = as_messages("events", Body("json", pa.array([b"{}"], pa.binary())), 0)

    def one(size: int) -> Submission:
        return Submission("events", "json", messages, size)

    door.offer(one(5000))  # alone, it may be as large as it likes
    with pytest.raises(Full, match="than the log can take"):
        door.offer(one(1))
    assert len(door.take(0.0, 10, 10_000)) == 1
    for _ in range(4):
        door.offer(one(250))
    with pytest.raises(Full):
        door.offer(one(1))
    assert len(door.take(0.0, 2, 10_000)) == 2
    assert len(door.take(0.0, 10, 1)) == 1
    assert door.bytes == 250


def test_so_many_requests_a_second() -> None:
    clock = HeldClock()
    pace = Pace(2.0, clock)
    assert [pace.wait_s() for _ in range(3)] == [0.0, 0.0, 0.5]
    clock.now += 500_000
    assert [pace.wait_s() for _ in range(2)] == [0.0, 0.5]
    assert [Pace(None, clock).wait_s() for _ in range(100)] == [0.0] * 100


def test_a_rejected_record_is_decoded_again(source: HttpSource) -> None:
    reader = opened(source)
    sent(source, b"{", b'{"n": 5}')
    group = polled(reader)
    assert group.rejects is not None
    record = group.rejects.column("record")[0].as_py()
    with pytest.raises(Exception, match=r"\w"):
        source.decode(record)
    settings = HttpSettings.model_validate({"streams": {"events": {"format": "raw"}}})
    mended = HttpSource("web", settings, project="p", identity="i", clock=HeldClock())
    with pytest.raises(Exception, match=r"\w"):
        mended.decode(record)  # it came as JSON, and stays it
    reader.close()


def test_the_file_of_keys_is_durable(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "http" / "web.db", DAY_US)
    assert keys._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    keys.close()
