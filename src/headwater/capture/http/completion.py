"""The token in an answer, by which the client can wait until its records are visible."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.errors import UserError

_PATTERN = re.compile(r"(?P<source>[a-z][a-z0-9_]{0,62})\.(?P<commit>\d{1,18})\.(?P<state>[0-9a-zA-Z]{0,8})")


@dataclass(frozen=True)
class Completion:
    """What is waited for.

    Attributes:
        source: the source that took the request.
        commit: its place there.
        state: the beginning of the state folder's identity: places of another folder say nothing.
    """

    source: str
    commit: int
    state: str

    @classmethod
    def of(cls, source: str, commit: int, identity: str) -> Completion:
        """For records of a source at `commit`."""
        return cls(source, commit, re.sub(r"[^0-9a-zA-Z]", "", identity)[:8])

    @classmethod
    def parse(cls, token: str) -> Completion:
        """The inverse of `str`.

        Raises:
            UserError: it is no token.
        """
        match = _PATTERN.fullmatch(token)
        if match is None:
            raise UserError("this is not a completion token")
        return cls(match["source"], int(match["commit"]), match["state"])

    def __str__(self) -> str:
        return f"{self.source}.{self.commit}.{self.state}"
