"""The one tree of errors.

Every error that Headwater raises on purpose says three things besides what happened: whose domain it is (the user
can mend it, an outside system failed, or it is our bug), whether trying again may help, and the hint to print: the
command or edit that mends it. The supervisor, the CLI and the status page read those; nobody parses messages.
Each class has a `code`, which never changes and has its entry in docs/runbook.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Domain = Literal["user", "external", "internal"]


@dataclass(frozen=True)
class Place:
    """Where in a file a mistake stands. Lines and columns count from 1; 0 means "the file as a whole"."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class HeadwaterError(Exception):
    """Root of the tree.

    Args:
        message: what happened, in one sentence; no secrets.
        hint: what to do about it, a command where there is one; empty if there is nothing to say.
        place: the file, line and column that the mistake stands at, if it stands in a file.
    """

    code: ClassVar[str] = "HW-BUG"
    domain: ClassVar[Domain] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.message}"


class UserError(HeadwaterError):
    """Something the user wrote or asked for cannot be done as it stands."""

    code = "HW-USER"
    domain = "user"


class ProjectError(UserError):
    """Mistakes in a project, all of those found, each with its place."""

    code = "HW-PROJECT"

    def __init__(self, mistakes: list[UserError]) -> None:
        super().__init__(f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''} in the project")
        self.mistakes = mistakes


class SqlError(UserError):
    """A model's SELECT is not valid, names something unknown, or cannot be maintained."""

    code = "HW-SQL"


class SourceUnavailable(HeadwaterError):
    """A foreign system does not answer now; trying again may help."""

    code = "HW-SOURCE-AWAY"
    domain = "external"
    retryable = True


class SourceStopped(HeadwaterError):
    """A source cannot go on without a decision (slot dropped, password wrong, table gone); a retry is no help."""

    code = "HW-SOURCE-STOPPED"
    domain = "external"


class PositionLost(SourceStopped):
    """Reading on would leave a gap: what follows the end of the log cannot, or may not, all be had any more.

    Args:
        message: what happened.
        source: the source's name, for the commands in the hint.
        cause: a code for what happened; a decision is taken for one cause and does not hold for another.
        since: position up to which the log holds everything, as the source writes positions.
        until: position from which the source could go on; empty if that is not known yet.
        lost_bytes: how much of the source's own log lies between them; None if that cannot be said.
        advice: what to do first, if anything, or a better way out than the two that there always are.
    """

    code = "HW-POSITION-LOST"

    def __init__(
        self,
        message: str,
        *,
        source: str,
        cause: str,
        since: str,
        until: str = "",
        lost_bytes: int | None = None,
        advice: str = "",
    ) -> None:
        ways = (
            f"`headwater source resnapshot {source}` reads the tables again, after which they are whole; "
            f"`headwater source accept-gap {source}` goes on without what is missing and enters that into the ledger"
        )
        super().__init__(message, hint=f"{advice}. Otherwise {ways}" if advice else ways)
        self.cause = cause
        self.since = since
        self.until = until
        self.lost_bytes = lost_bytes


class SchemaChanged(SourceStopped):
    """A table's definition has changed in a way that the source's `on_schema_change` leaves to the user. What came
    before the change is in the log, and nothing after it."""

    code = "HW-SCHEMA-CHANGED"


class DestinationUnavailable(HeadwaterError):
    """A destination does not answer now, or does not say whether it took a call; trying again may help."""

    code = "HW-DESTINATION-AWAY"
    domain = "external"
    retryable = True


class DestinationStopped(HeadwaterError):
    """A destination cannot be delivered to without a decision (password wrong, table gone, taken over by another)."""

    code = "HW-DESTINATION-STOPPED"
    domain = "external"


class CorruptLog(HeadwaterError):
    """The log holds bytes that fail their checksum where no torn write can explain them."""

    code = "HW-LOG-CORRUPT"


class CorruptCheckpoint(HeadwaterError):
    """A checkpoint lacks files, or they hold bytes that fail their checksum."""

    code = "HW-CHECKPOINT-CORRUPT"


class StorageFailed(HeadwaterError):
    """A write or fsync to our own storage failed (disk full, I/O error). Nothing after it was acknowledged."""

    code = "HW-DISK"
    domain = "external"
    retryable = True


class FilesExpired(UserError):
    """A file of the table snapshot that was being read is gone: the snapshot was expired meanwhile. Reading the table
    as it is now may help."""

    code = "HW-FILES-EXPIRED"
    retryable = True


class CheckFailed(HeadwaterError):
    """A check of severity `stop` fails: the epoch is in no table. More data, or another check, may help."""

    code = "HW-CHECK-FAILED"
    domain = "user"
    retryable = True


class CommitUnknown(HeadwaterError):
    """A table commit was sent and no answer came. Ask the table which epoch it holds; never retry blindly."""

    code = "HW-COMMIT-UNKNOWN"
    domain = "external"
    retryable = True


class InvariantBroken(HeadwaterError):
    """An assertion that must hold in production does not. The pipeline stops rather than go on wrong."""

    code = "HW-INVARIANT"
