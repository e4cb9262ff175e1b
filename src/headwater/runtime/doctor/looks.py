"""Several looks at once, for as long as they may take and no longer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from headwater.errors import (
    DestinationStopped,
    DestinationUnavailable,
    HeadwaterError,
    SourceStopped,
    SourceUnavailable,
)
from headwater.finding import Finding, failing
from headwater.redaction import redacted

AWAY = (SourceUnavailable, SourceStopped, DestinationUnavailable, DestinationStopped)


@dataclass(frozen=True)
class Look:
    """Something to be looked at.

    Attributes:
        of: what: "source orders", "sync crm", "lake", "this machine".
        source: its name, if it is a source.
        take: looks; may raise one of our errors, and may take for ever.
    """

    of: str
    source: str
    take: Callable[[], Sequence[Finding]]


@dataclass(frozen=True)
class Looked:
    """What came of a look.

    Attributes:
        look: the look.
        findings: what was found; what went wrong is one.
        away: something could not be reached, or let us not in.
        late: it has not answered, and its thread still waits.
    """

    look: Look
    findings: tuple[Finding, ...]
    away: bool
    late: bool = False


def together(looks: Sequence[Look], timeout_s: float) -> list[Looked]:
    """Takes all looks at once, each in a thread of its own, in the order given.

    Args:
        looks: the looks.
        timeout_s: how long all may take together. Whatever has not answered by then is found to be away; its thread
            ends with the process.
    """
    running = [_begun(look) for look in looks]
    wait(running, timeout_s)
    return [_told(look, future, timeout_s) for look, future in zip(looks, running, strict=True)]


def _begun(look: Look) -> Future[Sequence[Finding]]:
    future: Future[Sequence[Finding]] = Future()

    def run() -> None:
        try:
            future.set_result(tuple(look.take()))
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits for it
            future.set_exception(error)

    # a pool's threads would be waited for when the process ends
    threading.Thread(target=run, name=f"look at {look.of}", daemon=True).start()
    return future


def _told(look: Look, future: Future[Sequence[Finding]], timeout_s: float) -> Looked:
    if not future.done():
        mend = "look at its address, at firewalls in between, and at whether it runs; --timeout waits longer"
        late = Finding("connection", "fail", f"no answer within {timeout_s:g} s", mend)
        return Looked(look, (late,), True, late=True)
    try:
        return Looked(look, tuple(future.result()), False)
    except HeadwaterError as error:
        return Looked(look, (failing("connection", error),), isinstance(error, AWAY))
    except Exception as error:  # noqa: BLE001 - a bug in one look must not hide what the others found
        told = f"a bug of Headwater's: {type(error).__name__}: {redacted(str(error))}"
        return Looked(look, (Finding("look", "fail", told, "please report it; the other findings stand"),), False)
