"""What a quality check is: a statement about the rows of one stream or model, and what happens when it is not true.

| kind | looks at | fails for |
|---|---|---|
| not_null, accepted, range, expression | each row | the rows that are otherwise than stated |
| unique | all rows | the keys that more than one row has |
| referential | all rows, and those of another | the rows that have no partner |
| row_count, freshness, volume | the whole | the whole |

As in SQL's CHECK, a row of which a statement is neither true nor false (NULL) passes, but for `not_null`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from headwater.errors import Place
from headwater.sql.bind import quote

Kind = Literal[
    "not_null", "accepted", "range", "expression", "unique", "referential", "row_count", "freshness", "volume"
]
Severity = Literal["warn", "reject", "stop"]
State = Literal["ok", "warn", "fail", "unknown"]
"""warn: it fails, and its severity is warn; fail: it fails, and rows are set aside or the pipeline stands still;
unknown: there is nothing to look at yet."""

Scalar = str | int | float | bool

ROW_KINDS: tuple[Kind, ...] = ("not_null", "accepted", "range", "expression")
SET_KINDS: tuple[Kind, ...] = ("unique", "referential")
FEW_VALUES = 12
ROW = "_check_row"
"""Column that numbers the rows of a batch while they are checked."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        node: the stream or model whose rows it is about.
        name: its name, unique among those of the node.
        kind: what it states.
        severity: what happens when it fails.
        columns: the columns that it names.
        fails: SQL that is true of a row for which it fails (kinds of `ROW_KINDS`).
        says: what must be true, in words.
        to: the stream or model that has the partners (referential), and by which columns.
        least, most: bounds of the number of rows (row_count).
        within_us: how old the newest row may be, in microseconds (freshness).
        every_us: length of a period, in microseconds (volume).
        z: how far from usual is unusual (volume).
        history: so many periods tell what is usual (volume).
        place: where it is written.
        description: for people.
    """

    node: str
    name: str
    kind: Kind
    severity: Severity = "warn"
    columns: tuple[str, ...] = ()
    fails: str = ""
    says: str = ""
    to: str = ""
    to_columns: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    within_us: int = 0
    every_us: int = 0
    z: float = 0.0
    history: int = 0
    place: Place = field(default_factory=lambda: Place(""), compare=False)
    description: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """Its name in the project."""
        return f"{self.node}.{self.name}"

    @property
    def of_rows(self) -> bool:
        """Whether it looks at each row alone."""
        return self.kind in ROW_KINDS

    @property
    def rejects(self) -> bool:
        """Whether rows that fail are set aside."""
        return self.severity == "reject"

    @property
    def reads(self) -> tuple[str, ...]:
        """The streams and models whose rows it looks at."""
        return tuple(dict.fromkeys((self.node, self.to))) if self.to else (self.node,)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when and only when what it states may change."""
        meaning = [self.kind, self.severity, self.columns, self.fails, self.to, self.to_columns]
        limits = [self.least, self.most, self.within_us, self.every_us, self.z, self.history]
        return hashlib.sha256(json.dumps([meaning, limits]).encode()).hexdigest()[:16]

    @property
    def sql(self) -> str:
        """SELECT of what the check keeps up to date, over the streams and models that it reads: of a kind of rows the
        numbers (`ROW`) of those that fail; of unique the keys that are there more than once; of referential the rows
        without a partner; of freshness the newest time."""
        node, columns = quote(self.node), [quote(name) for name in self.columns]
        known = " AND ".join(f"{name} IS NOT NULL" for name in columns)
        if self.of_rows:
            return f"SELECT {quote(ROW)} FROM {node} WHERE {self.fails}"  # noqa: S608 quoted
        if self.kind == "unique":
            listed = ", ".join(columns)
            return f"SELECT {listed}, count(*) AS times FROM {node} WHERE {known} GROUP BY {listed} HAVING count(*) > 1"  # noqa: S608
        if self.kind == "referential":
            listed = ", ".join(f"l.{name}" for name in columns)
            pairs = zip(columns, map(quote, self.to_columns), strict=True)
            partner = " AND ".join(f"r.{theirs} = l.{name}" for name, theirs in pairs)
            known = " AND ".join(f"l.{name} IS NOT NULL" for name in columns)
            return (
                f"SELECT {listed} FROM {node} AS l WHERE {known}"  # noqa: S608 quoted
                f" AND NOT EXISTS (SELECT 1 FROM {quote(self.to)} AS r WHERE {partner})"
            )
        return f"SELECT max({columns[0]}) AS newest FROM {node}"  # noqa: S608 quoted


@dataclass(frozen=True)
class Result:
    """How a check stands.

    Attributes:
        check: the check.
        state: see `State`.
        failing: how many rows (of unique: keys) fail now; None for kinds that judge the whole.
        value: what was measured: rows (row_count), age in seconds (freshness), rows of the period (volume).
        score: the robust z-score (volume).
        message: what is wrong, or how it stands, in a sentence.
        example: one of the rows that fail, as text.
        epoch: the epoch after which it stood so.
        at_us: when it was judged, microseconds since 1970 UTC.
    """

    check: Check
    state: State
    failing: int | None = None
    value: float | None = None
    score: float | None = None
    message: str = ""
    example: str = ""
    epoch: int = 0
    at_us: int = 0

    def as_dict(self) -> dict[str, str | int | float | None]:
        """For JSON."""
        return {
            "model": self.check.node, "name": self.check.name, "kind": self.check.kind,
            "severity": self.check.severity, "state": self.state, "failing": self.failing, "value": self.value,
            "score": self.score, "message": self.message, "example": self.example, "says": self.check.says,
            "epoch": self.epoch, "at_us": self.at_us,
        }  # fmt: skip


def failed(check: Check) -> State:
    """The state of a check that fails."""
    return "warn" if check.severity == "warn" else "fail"


def literal(value: Scalar) -> str:
    """A value as SQL; text takes the type of what it is compared with."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + value.replace("'", "''") + "'"


def none_of(column: str, values: Sequence[Scalar]) -> str:
    """SQL that is true of a row whose column has none of the values, and not NULL. Few values are compared one by one,
    which needs no DuckDB where they are texts or whole numbers."""
    name = quote(column)
    if len(values) <= FEW_VALUES:
        return " AND ".join(f"{name} <> {literal(value)}" for value in values)
    return f"{name} NOT IN ({', '.join(map(literal, values))})"


def gates(checks: Sequence[Check]) -> Mapping[str, tuple[Check, ...]]:
    """By stream or model, the checks that set rows aside, of those that have any."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        if check.rejects:
            found.setdefault(check.node, []).append(check)
    return {node: tuple(of) for node, of in found.items()}


def gate_fingerprint(checks: Sequence[Check]) -> str:
    """Stands for which rows a node's checks let through; empty if they let all."""
    rejecting = sorted(check.fingerprint for check in checks if check.rejects)
    return hashlib.sha256(json.dumps(rejecting).encode()).hexdigest()[:16] if rejecting else ""
