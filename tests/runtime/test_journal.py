"""The journal: one line per change, and one a minute for what is said again and again."""

import io
import json
import threading

from headwater.runtime.journal import QUIET_US, Journal


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.us = 1_700_000_000_000_000

    def now_us(self):
        return self.us

    def monotonic_s(self):
        return self.us / 1e6

    def wait(self, event: threading.Event, timeout_s: float):
        return event.is_set()


def written(stream):
    """The lines as objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_same_warning_is_one_line_a_minute_with_a_count():
    clock, stream = Hand(), io.StringIO()
    journal = Journal(stream, as_json=True, clock=clock)
    for _ in range(5):
        journal.write("source.waiting", "warning", job="source:shop", error="away", next_try_s=clock.us % 7)
        clock.us += 1_000_000
    journal.write("source.waiting", "warning", job="source:other", error="away")
    journal.write("source.waiting", "warning", job="source:shop", error="another")
    clock.us += QUIET_US
    journal.write("source.waiting", "warning", job="source:shop", error="away")
    told = [(one["job"], one["error"], one.get("repeated")) for one in written(stream)]
    assert told == [
        ("source:shop", "away", None), ("source:other", "away", None), ("source:shop", "another", None),
        ("source:shop", "away", 4),
    ]  # fmt: skip
    assert len(journal.since(0)) == 8  # the ring has them all


def test_changes_of_state_are_all_written():
    clock, stream = Hand(), io.StringIO()
    journal = Journal(stream, as_json=True, clock=clock)
    for _ in range(3):
        journal.write("source.running", job="source:shop")
    assert len(written(stream)) == 3


def test_text_says_the_count_too():
    clock, stream = Hand(), io.StringIO()
    journal = Journal(stream, as_json=False, clock=clock)
    for _ in range(3):
        journal.write("epochs.waiting", "warning", job="epochs", error="full")
    clock.us += QUIET_US
    journal.write("epochs.waiting", "warning", job="epochs", error="full")
    assert "repeated=2" in stream.getvalue().splitlines()[1]
