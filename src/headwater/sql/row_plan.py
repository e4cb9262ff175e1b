"""What a `Linear` node says of conditions and expressions that the engine need not ask DuckDB about row by row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowTest:
    """A condition over a row that needs no SQL, and is not true where SQL says NULL.

    Attributes:
        word: `and`, `or`, `in`, `true`, or a comparison: `=`, `<>`, `<`, `<=`, `>`, `>=`.
        parts: what `and` and `or` join.
        column: the column compared, of integers of at most 64 bits or of texts; for `true` one of BOOLEANs.
        modulus: its remainder by this is compared, 0 for the column itself.
        values: what it is compared with: one literal, any number for `in`.
    """

    word: str
    parts: tuple[RowTest, ...] = ()
    column: str = ""
    modulus: int = 0
    values: tuple[int | str, ...] = ()

    @property
    def columns(self) -> set[str]:
        """What it looks at."""
        return set().union(*(part.columns for part in self.parts)) if self.parts else {self.column}


@dataclass(frozen=True)
class Once:
    """An expression to be computed once for all rows that agree in what it is made of. It fails on no row.

    Attributes:
        expression: SQL over the input's columns.
        name: the column that it is.
        columns: those that it reads, all of texts; or one of TIMESTAMPs.
        step_us: 0 for texts; else how many microseconds a time may move from a multiple of it on without making a
            difference.
    """

    expression: str
    name: str
    columns: tuple[str, ...]
    step_us: int = 0


@dataclass(frozen=True)
class Formula:
    """An expression of whole numbers that needs no SQL. A decimal is a whole number of its last places, a TIMESTAMP one
    of microseconds.

    Attributes:
        word: `column`, `literal`, `+`, `-`, `*`, `%` by a literal, or of a text `length`, `strlen` and `occurrences`
            (of a letter); or `test`.
        least: the least value of DuckDB's type of it; beyond it and `most` DuckDB is asked, which may fail.
        parts: what is added, subtracted (the second from the first) or multiplied.
        column: the column read.
        value: the literal's, or the letter's code.
        scale: decimal places.
        test: a condition, which is the value as long as nothing that it looks at is NULL.
    """

    word: str
    least: int
    most: int
    parts: tuple[Formula, ...] = ()
    column: str = ""
    value: int = 0
    scale: int = 0
    test: RowTest | None = None
