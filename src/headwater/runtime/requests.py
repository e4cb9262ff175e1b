"""Requests of users to a source, in files: durable, and seen by a process that runs now or one that runs later.

    requests/<source>/<id>.json

An id begins with the time of asking, so that names in order are requests in order.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from pathlib import Path

from headwater.capture.request import DECISIONS, Action, Request
from headwater.errors import UserError
from headwater.project.state_file import write_atomically

FOLDER = "requests"


def new_id(now_us: int) -> str:
    """An id for a request that is made now, microseconds since 1970 UTC."""
    return f"{now_us:016d}-{secrets.token_hex(4)}"


class Requests:
    """The requests to one source.

    Args:
        state: the state folder.
        source: the source's name.
    """

    def __init__(self, state: Path, source: str) -> None:
        self._folder = state / FOLDER / source

    def submit(self, request: Request) -> None:
        """Makes a request, durable when this returns.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self._folder / f"{request.id}.json", json.dumps({"v": 1, **asdict(request)}))

    def pending(self) -> list[Request]:
        """Requests that are not done, oldest first.

        Raises:
            UserError: a file is none of ours.
        """
        if not self._folder.is_dir():
            return []
        return [_read(path) for path in sorted(self._folder.glob("[!.]*.json"))]

    def decision(self) -> Request | None:
        """The newest decision that waits, which makes older ones moot; None if there is none."""
        return next((request for request in reversed(self.pending()) if request.action in DECISIONS), None)

    def waits(self, identifier: str) -> bool:
        """Whether a request is not done."""
        return (self._folder / f"{identifier}.json").exists()

    def refuse(self, identifier: str, why: str) -> None:
        """Forgets a request that cannot be carried out, and keeps why for whoever asked.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self._folder / f"{identifier}.refused", why)
        self.done(identifier)

    def refusal(self, identifier: str) -> str | None:
        """Why a request was refused, told once; None if it was not."""
        path = self._folder / f"{identifier}.refused"
        if not path.exists():
            return None
        why = path.read_text(encoding="utf-8")
        path.unlink(missing_ok=True)
        return why

    def done(self, identifier: str) -> None:
        """Forgets a request."""
        (self._folder / f"{identifier}.json").unlink(missing_ok=True)

    def decided(self, decision: Request) -> None:
        """Forgets a decision that was carried out or refused, and those before it."""
        for request in self.pending():
            if request.action in DECISIONS and request.id <= decision.id:
                self.done(request.id)


def _read(path: Path) -> Request:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("v") != 1:
            raise ValueError("of another version")
        action: Action = fields["action"]
        return Request(**{**fields, "action": action, "tables": tuple(fields["tables"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a request: {error}", hint="remove the file") from error
