"""The law of the window: whatever is killed when, every message reaches the log once."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.rabbitmq.window import Window, fingerprint

PREFETCH = 4


class Broker:
    """A queue as RabbitMQ keeps one: what was delivered and not acknowledged goes back to its head."""

    def __init__(self) -> None:
        self.ready: deque[tuple[int, bytes, bool]] = deque()
        self.unacknowledged: deque[tuple[int, bytes, bool]] = deque()

    def deliver(self, most: int) -> list[tuple[int, bytes, bool]]:
        given = []
        while self.ready and len(self.unacknowledged) < PREFETCH and len(given) < most:
            given.append(self.ready.popleft())
            self.unacknowledged.append(given[-1])
        return given

    def acknowledge(self, count: int) -> None:
        for _ in range(count):
            self.unacknowledged.popleft()

    def disconnect(self) -> None:
        while self.unacknowledged:
            number, content, _ = self.unacknowledged.pop()
            self.ready.appendleft((number, content, True))


class Capture:
    """Poll, append, acknowledge, as the capture job does; the log keeps the window's text with each group."""

    def __init__(self, broker: Broker, *, hashed: bool, size: int = 2 * PREFETCH, keep_s: float = 10.0) -> None:
        self.broker, self.hashed, self.size, self.keep_s = broker, hashed, size, keep_s
        self.now_s = 0.0
        self.log: list[int] = []
        self.text = ""
        self.restart()

    def restart(self) -> None:
        self.broker.disconnect()
        self.window = Window(self.size, self.keep_s, self.text, self.now_s)

    def step(self, most: int, die: str, now_s: float) -> None:
        self.now_s = now_s
        taken = self.broker.deliver(most)
        group = []
        for number, content, again in taken:
            if self.hashed and not again:
                self.window.add(content)
            elif self.window.seen(content, one_for_one=self.hashed):
                continue
            group.append(number)
        self.window.forget(now_s)
        if die == "before fsync":
            return self.restart()
        self.log += group
        self.text = self.window.text
        if die == "after fsync":
            return self.restart()
        self.broker.acknowledge(len(taken))
        for _, content, _ in taken:
            self.window.settle(content, now_s)
        if die == "after acknowledgement":
            self.restart()
        return None


def scripts(*deaths: str) -> st.SearchStrategy[list[tuple[int, int, str, float]]]:
    """Steps: messages published, most to be taken, where the process is killed, seconds of reading that pass."""
    step = st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from(["", "", *deaths]), st.floats(0, 1))
    return st.lists(step, max_size=60)


def run(script: list[tuple[int, int, str, float]], *, hashed: bool, **window: float) -> tuple[int, Capture]:
    broker = Broker()
    capture = Capture(broker, hashed=hashed, **window)
    published, now_s = 0, 0.0
    for publish, most, die, pause_s in [*script, *[(0, 5, "", 1.0)] * 80]:
        for _ in range(publish):
            content = b"same" if hashed and published % 3 else b"%d" % published
            broker.ready.append((published, fingerprint(content), False))
            published += 1
        now_s += pause_s
        capture.step(most, die, now_s)
    return published, capture


@given(scripts("before fsync", "after fsync", "after acknowledgement"))
@settings(max_examples=300, deadline=None)
def test_by_id_every_message_is_in_the_log_once_and_in_order(script: list[tuple[int, int, str, float]]) -> None:
    published, capture = run(script, hashed=False)
    assert capture.log == list(range(published))
    assert len(capture.window) <= 3 * PREFETCH


@given(scripts("before fsync", "after fsync", "after acknowledgement"))
@settings(max_examples=300, deadline=None)
def test_by_hash_nothing_is_doubled_and_only_equal_messages_can_be_taken_for_each_other(
    script: list[tuple[int, int, str, float]],
) -> None:
    published, capture = run(script, hashed=True)
    assert len(set(capture.log)) == len(capture.log)
    assert {number for number in range(published) if number % 3 == 0} <= set(capture.log)


def test_a_window_that_forgets_what_may_come_again_doubles_messages() -> None:
    """The planted bug."""
    published, capture = run([(4, 4, "after fsync", 0.0), (0, 1, "", 0.0)], hashed=False, size=0, keep_s=0.0)
    assert published == 4
    assert len(capture.log) > 4


def test_a_resume_point_brings_everything_back() -> None:
    window = Window(100, 10.0)
    marks = [fingerprint(b"%d" % number) for number in range(50)]
    for mark in marks:
        window.add(mark)
    window.add(marks[3])
    window.reject(marks[7])
    again = Window(100, 10.0, window.text)
    assert again.text == window.text
    assert again.rejected(marks[7])
    assert not again.rejected(marks[8])
    assert [again.seen(marks[3], one_for_one=True) for _ in range(3)] == [True, True, False]


def test_the_parts_of_a_fingerprint_do_not_run_into_each_other() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
