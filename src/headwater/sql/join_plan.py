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
        closes: for each input, SQL over its columns for the time (microseconds since 1970) from which the watermark
            lets its rows be forgotten; "" if they are kept.
        ttl: rows are forgotten then even if late ones may come, which no longer meet them; without it only if the
            operator is not to expect late rows.
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
    closes: tuple[str, str] = ("", "")
    ttl: bool = False

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
