"""Plan nodes of time windows that need memory: sessions, and windows by the time at which rows come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.sql.plan import Node


@dataclass(frozen=True, eq=False)
class Session(Node):
    """SESSION: puts each row, which comes as a session of its own, into the session of its key that it belongs to.

    Keeps the rows; a change costs what the sessions of the rows changed hold.

    Attributes:
        keys: columns that have sessions of their own.
        time: the column of event time.
        gap_us: longest time between two rows of a session, in microseconds.
    """

    keys: tuple[str, ...] = ()
    time: str = ""
    gap_us: int = 0

    @property
    def appends(self) -> bool:
        return False

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (self.keys,)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.keys)


@dataclass(frozen=True)
class SessionValue:
    """One aggregate of a session.

    Attributes:
        kind: `rows` is count(*); count, sum, min and max are of `argument`, which is an integer or a time.
        argument: column of the input; "" for rows.
        output: name of the result column.
    """

    kind: Literal["rows", "count", "sum", "min", "max"]
    argument: str
    output: str


@dataclass(frozen=True, eq=False)
class SessionAggregate(Node):
    """SESSION and GROUP BY its key, window_start and window_end in one, over rows that only come.

    Keeps one entry per session, and one per stretch of `gap_us` that it has rows in.

    Attributes:
        keys: columns of the input, and what they are called here.
        time: the input's column of event time.
        gap_us: as in `Session`.
        start: the output column with the session's start; "" if it is not there.
        end: the output column with its end.
        values: what is counted.
        closes: as in `Aggregate`.
    """

    keys: tuple[tuple[str, str], ...] = ()
    time: str = ""
    gap_us: int = 0
    start: str = ""
    end: str = ""
    values: tuple[SessionValue, ...] = ()
    closes: str = ""

    @property
    def appends(self) -> bool:
        return False

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (tuple(name for name, _ in self.keys),)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return self.keys


@dataclass(frozen=True, eq=False)
class Stamped(Node):
    """Gives each row the time at which it came in, in a last column `stamp`; a retraction gets that of the row.

    Keeps the rows with their times unless they only ever come.

    Attributes:
        stamp: name of the last column.
    """

    stamp: str = ""

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (None if self.appends else tuple(self.inputs[0].names),)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.inputs[side].names)


@dataclass(frozen=True, eq=False)
class Expiring(Node):
    """Takes rows of a stream back when the watermark is `ttl_us` past their time. Keeps those that have one.

    Attributes:
        stream: the input whose rows these are.
        time: the column of event time.
        ttl_us: microseconds.
    """

    stream: str = ""
    time: str = ""
    ttl_us: int = 0

    @property
    def appends(self) -> bool:
        return False

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (tuple(self.names),)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.names)
