"""The plan node of joins by pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from headwater.sql.plan import Node


@dataclass(frozen=True)
class Comparison:
    """A condition that compares columns of pairs, so that Arrow can evaluate it as DuckDB would.

    Attributes:
        word: `and`, `or`, or a comparison: `=`, `<>`, `<`, `<=`, `>`, `>=`.
        parts: what `and` and `or` join.
        left: column that is compared.
        right: column that it is compared with, of the same type.
    """

    word: str
    parts: tuple[Comparison, ...] = ()
    left: str = ""
    right: str = ""


@dataclass(frozen=True)
class Bound:
    """An inequality between columns of the two inputs: `point word other`, the word being <, <=, > or >=."""

    point: str
    word: str
    other: str


FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""What stands between two values that change places."""


@dataclass(frozen=True)
class Ranged:
    """Inequalities by which matching rows are found in a join without keys.

    Attributes:
        side: the input, 0 or 1, that has the point.
        bounds: one inequality, or one from below and one from above, in this order, of the same point.
        threshold: there is but one, nothing else is asked, and of the input without the point, or of that with it,
            nothing is shown: then rows of the other input only change between the values that come and go.
    """

    side: int
    bounds: tuple[Bound, ...]
    threshold: bool = False

    def column(self, side: int) -> str:
        """By what the rows of an input are ordered."""
        return self.bounds[0].point if side == self.side else self.bounds[0].other

    def end(self, side: int) -> str:
        """A second column of an input that bounds the point from above; "" if there is none."""
        return self.bounds[1].other if side != self.side and len(self.bounds) > 1 else ""


@dataclass(frozen=True)
class Ceiling:
    """Tells of rows of one side that they match no group of the other, whose greatest values never fall.

    Attributes:
        side: the input, 0 or 1, that has the rows; the other has the groups, one for each time window.
        value: key column of the rows.
        best: the key column of the groups that it is compared with: the greatest value of each.
        least: it is the least value, which never rises.
        time: time of the rows.
        bound: time of the groups.
        plus_us: how far that is from the start of the group's window, in microseconds.
        least_us, most_us: how far the time of a row is from the start of the window of a group that it matches.
        step_us: windows start at multiples of this.
    """

    side: int
    value: str
    best: str
    least: bool
    time: str
    bound: str
    plus_us: int
    least_us: int
    most_us: int
    step_us: int


_NO_PAIRS = Node("", (), (), "pairs")

JoinWord = Literal["INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI", "MARK"]


@dataclass(frozen=True, eq=False)
class Join(Node):
    """A join by the pairs of rows that match. Keeps both sides, and of rows that show without a match how many they
    have.

    Attributes:
        word: its kind. MARK shows every row of the first input, and in the last column whether it has a match.
        left_keys: columns of the first input; () joins every row with every row.
        right_keys: as many columns of the second, of the same types.
        nulls_match: for each key, whether NULL matches NULL (IS NOT DISTINCT FROM).
        pairs: describes pairs: the columns of the first input, then those of the second, under names of their own.
        residual: SQL of the rest of the condition over `pairs`; "" if there is none.
        needed: the columns of `pairs` that `residual` names.
        comparison: the same as `residual`, if it is of a kind that needs no SQL.
        shown: for each column of the result (but the mark) its input, 0 or 1, and its name there.
        condition: the ON clause, for `explain`.
        ranged: by what inequalities rows are found, where there are no keys; None: every row is met.
        closes: for each input, SQL over its columns for the time (microseconds since 1970) from which the watermark
            lets its rows be forgotten if late ones do not come; "" if they are kept.
        ceiling: which rows of an input need not be kept, for they match nothing; None: all may.
    """

    word: JoinWord = "INNER"
    left_keys: tuple[str, ...] = ()
    right_keys: tuple[str, ...] = ()
    nulls_match: tuple[bool, ...] = ()
    pairs: Node = _NO_PAIRS
    residual: str = ""
    needed: tuple[str, ...] = ()
    comparison: Comparison | None = None
    shown: tuple[tuple[int, str], ...] = ()
    condition: str = "true"
    ranged: Ranged | None = None
    closes: tuple[str, str] = ("", "")
    ceiling: Ceiling | None = None

    @property
    def appends(self) -> bool:
        return self.word in ("INNER", "SEMI") and super().appends

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (self.left_keys, self.right_keys)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        own = dict(zip(self.shown, self.names, strict=False))
        equal = [(key, own[1 - side, other]) for key, other in self._key_pairs(side) if (1 - side, other) in own]
        alone = {"LEFT": (0,), "RIGHT": (1,), "FULL": (), "INNER": (0, 1)}.get(self.word, (0,))
        shown = [(name, own[number, name]) for number, name in self.shown if number == side]
        return (*(shown if side in alone else ()), *(equal if 1 - side in alone else ()))

    def _key_pairs(self, side: int) -> Iterator[tuple[str, str]]:
        """The key columns of an input, each with that of the other."""
        return zip(self.keys_of(side), self.keys_of(1 - side), strict=True)

    @property
    def origins(self) -> list[tuple[int, str]]:
        """For each column of `pairs` its input, 0 or 1, and its name there."""
        return [(number, name) for number, source in enumerate(self.inputs) for name in source.names]

    def keys_of(self, number: int) -> tuple[str, ...]:
        """The key columns of an input."""
        return self.right_keys if number else self.left_keys
