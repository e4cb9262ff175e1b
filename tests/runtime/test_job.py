"""Supervision: what may pass is tried again with back-off, what cannot be mended stops, a stop is heard."""

import errno
import io
import threading

from headwater.clock import SystemClock
from headwater.errors import InvariantBroken, SourceStopped, SourceUnavailable, StorageFailed
from headwater.runtime.job import Job, as_headwater_error
from headwater.runtime.journal import Journal


class QuickClock(SystemClock):
    """Waits are remembered and not waited for."""

    def __init__(self):
        self.waits = []

    def wait(self, event, timeout_s):
        self.waits.append(timeout_s)
        return event.is_set()


class Scripted(Job):
    """Fails as told, then ends."""

    def __init__(self, *failures, clock=None):
        super().__init__("source:test", Journal(io.StringIO(), as_json=True), clock or QuickClock())
        self.failures = list(failures)
        self.tries = 0

    def body(self):
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        self.healthy()


def finish(job):
    job.start()
    job.join(60)
    assert not job.is_alive()
    return job


def test_a_passing_failure_is_tried_again_with_growing_waits():
    job = finish(Scripted(*[SourceUnavailable("away")] * 3))
    assert (job.tries, job.state, job.error) == (4, "done", None)
    assert job.clock.waits == [0.2, 0.4, 0.8]


def test_waits_do_not_grow_without_end():
    job = finish(Scripted(*[SourceUnavailable("away")] * 12))
    assert max(job.clock.waits) == 30.0


def test_a_failure_that_needs_a_decision_stops_the_job_and_is_kept():
    stopped = SourceStopped("the slot is gone", hint="do this")
    job = finish(Scripted(stopped))
    assert (job.tries, job.state, job.error) == (1, "stopped", stopped)


def test_a_stop_ends_the_waiting():
    job = Scripted(*[SourceUnavailable("away")] * 1000, clock=SystemClock())
    job.start()
    job.stop()
    job.join(60)
    assert not job.is_alive()


def test_a_full_disk_is_retryable_and_a_bug_is_not():
    assert isinstance(as_headwater_error(OSError(errno.ENOSPC, "full")), StorageFailed)
    bug = as_headwater_error(KeyError("x"))
    assert not bug.retryable
    assert bug.domain == "internal"
    broken = InvariantBroken("no")
    assert as_headwater_error(broken) is broken


def test_state_changes_are_told_once():
    job = Scripted()
    job.healthy()
    job.healthy()
    assert job.journal._stream.getvalue().count("source.running") == 1


def test_a_line_break_from_outside_cannot_forge_a_line():
    out = io.StringIO()
    Journal(out, as_json=False).write("source.waiting", error="bad\n00:00:00 info  all is well")
    assert out.getvalue().count("\n") == 1


def test_many_threads_write_whole_lines():
    out = io.StringIO()
    journal = Journal(out, as_json=True)
    threads = [threading.Thread(target=journal.write, args=("x",), kwargs={"n": n}) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out.getvalue().splitlines()) == 20
