"""What one request brings, on its way from the server's thread to the log, and what comes back."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Wrong:
    """A record that could not be decoded.

    Attributes:
        record: its number in the request, from 0.
        reason: a code.
        message: what is wrong.
    """

    record: int
    reason: str
    message: str


@dataclass(frozen=True)
class Receipt:
    """What became of a request. Everything that it counts is durable.

    Attributes:
        commit: its place in the source.
        accepted: records in the log.
        rejected: records in the log as rejects.
        wrong: the first of the rejected.
        repeated: the request had been taken before under the same key; nothing was taken now.
    """

    commit: int
    accepted: int
    rejected: int
    wrong: tuple[Wrong, ...] = ()
    repeated: bool = False


class NotTaken(Exception):
    """A request that was not taken in; none of it is in the log.

    Args:
        status: the HTTP status that says why.
        detail: why.
        wrong: the records that are the reason.
    """

    def __init__(self, status: int, detail: str, wrong: tuple[Wrong, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.wrong = wrong


@dataclass(frozen=True)
class Submission:
    """One request's records.

    Attributes:
        stream: where they go.
        form: how they are written: a content type of `forms.FORMS`, and for CSV its columns.
        messages: of `MESSAGE_SCHEMA`.
        size: bytes that they take.
        key: the `Idempotency-Key`; empty for none.
        fingerprint: of the body, so that a key is not used for another one.
        strict: take all of it or nothing.
        answer: set when it is durable, or refused.
    """

    stream: str
    form: str
    messages: pa.RecordBatch
    size: int
    key: str = ""
    fingerprint: bytes = b""
    strict: bool = False
    answer: Future[Receipt] = field(default_factory=Future)

    def take(self, receipt: Receipt) -> None:
        """Answers; does nothing if nobody waits any more."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(receipt)

    def refuse(self, why: NotTaken) -> None:
        """Answers that it was not taken."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(why)


def fingerprint(stream: str, content_type: str, body: bytes) -> bytes:
    """16 bytes that tell one request from another."""
    head = f"{stream}\n{content_type}\n".encode()
    return hashlib.blake2b(head + hashlib.blake2b(body).digest(), digest_size=16).digest()
