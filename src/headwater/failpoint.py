"""Named instants at which a test may kill the process or fail a call.

A failpoint costs one truth test of a module constant when none is armed. `HEADWATER_FAILPOINT=name:n[:action]` arms the
n-th (from 1) passing of `name`; actions are `kill` (SIGKILL to ourselves, the default), `enospc` and `eio` (raise that
OSError on every passing from the n-th on). `HEADWATER_FAILPOINT_TRACE=FILE` appends the name of each passing
to FILE, from which the crash campaign learns which failpoints a run meets.
"""

from __future__ import annotations

import errno
import os
import signal

NAMES = (
    "log.append.before",
    "log.append.after_part",
    "log.append.after_write",
    "log.append.after_fsync",
    "log.roll.before",
    "log.roll.after_create",
    "log.roll.after_directory_fsync",
    "log.forget_parts.before",
    "log.forget_parts.after",
    "log.retire.before_unlink",
    "capture.confirm.before",
    "capture.confirm.after",
    "capture.http.keys_stored",
    "capture.snapshot.after_slot",
    "capture.snapshot.after_chunk",
    "capture.snapshot.after_table",
    "capture.reread.after_begin",
    "capture.reread.after_chunk",
    "capture.reread.after_end",
    "files.group.after",
    "deliver.files.written",
    "deliver.files.held",
    "epoch.plan.before",
    "epoch.plan.after",
    "epoch.models.after",
    "check.stop.before",
    "check.stop.after",
    "lake.commit.before_data_file",
    "lake.commit.after_data_file",
    "lake.commit.before_catalog",
    "lake.commit.after_catalog",
    "lake.rewrite.before_write",
    "lake.rewrite.after_write",
    "lake.expire.before",
    "lake.expire.after",
    "lake.orphans.before",
    "lake.orphans.between",
    "lake.index.before_save",
    "lake.index.before_rename",
    "lake.index.after_save",
    "outbox.commit.before",
    "outbox.commit.after",
    "deliver.call.before",
    "deliver.call.after",
    "deliver.note.before",
    "deliver.noted",
    "epoch.sinks.staged",
    "epoch.sinks.between",
    "swap.build.picture",
    "swap.build.slice",
    "swap.build.followed",
    "swap.build.written",
    "swap.build.prepared",
    "swap.prepared.before",
    "swap.adopt.before",
    "swap.adopt.become",
    "swap.adopt.after",
    "swap.done.before",
    "swap.done.after",
    "epoch.done.before",
    "epoch.done.after",
    "checkpoint.before",
    "checkpoint.after_state_file",
    "checkpoint.after_fsync",
    "checkpoint.after_rename",
    "checkpoint.after_catalog",
    "checkpoint.after_cleanup",
)

_ARMED = os.environ.get("HEADWATER_FAILPOINT", "")
_TRACE = os.environ.get("HEADWATER_FAILPOINT_TRACE", "")
_passings: dict[str, int] = {}


def reach(name: str) -> None:
    """Marks that the instant `name` has been reached.

    Raises:
        OSError: when the armed action says so.
    """
    if _ARMED or _TRACE:
        _reach(name)


def _reach(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"failpoint {name!r} is not in failpoint.NAMES")
    _passings[name] = _passings.get(name, 0) + 1
    if _TRACE:
        with open(_TRACE, "a", encoding="utf-8") as trace:
            trace.write(name + "\n")
    armed, _, rest = _ARMED.partition(":")
    count, _, action = rest.partition(":")
    if name != armed or _passings[name] < int(count or 1):
        return
    if action in ("", "kill"):
        if _passings[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
    else:
        code = {"enospc": errno.ENOSPC, "eio": errno.EIO}[action]
        raise OSError(code, os.strerror(code), name)
