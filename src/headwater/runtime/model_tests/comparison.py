"""What a test expected beside what came: rows in any order, those that nearly agree side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.project.model_tests import Texts
from headwater.runtime.model_tests.values import Typed

Values = tuple[object, ...]
_DIGITS = 9
"""Floating-point numbers are the same if they agree in so many digits."""


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        what: of which model, after which step.
        kind: missing: expected and not there; unexpected: there and not expected; differs: both, with these columns
            otherwise; count and state: numbers and checks.
        expected, found: the row, number or state as text.
        columns: by column that differs, what was expected and what came.
    """

    what: str
    kind: str
    expected: str = ""
    found: str = ""
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def compare(
    what: str, texts: Texts, rows: pa.Table, key: Sequence[str], typed: Typed, *, weighted: bool = False
) -> list[Difference]:
    """The differences between expected rows and those that came.

    Args:
        what: for the differences.
        texts: what was expected; only the columns that it names count.
        rows: what came.
        key: columns that tell which rows are meant to be the same.
        typed: casts.
        weighted: rows are changes: those that go count as such.
    """
    columns = pa.schema([one for one in rows.schema if one.name != WEIGHT])
    expected = typed.table(texts, columns)
    names = expected.column_names or columns.names
    wanted, came = _values(expected), _values(rows.select(names))
    if weighted:
        names = [WEIGHT, *names]
        signs = [-1 if op == "delete" else 1 for op in texts.ops]
        wanted = [(sign, *row) for sign, row in zip(signs, wanted, strict=True)]
        weights = rows.column(WEIGHT).to_pylist()
        came = [
            (1 if weight > 0 else -1, *row)
            for weight, row in zip(weights, came, strict=True)
            for _ in range(abs(weight))
        ]
    missing = list((Counter(wanted) - Counter(came)).elements())
    unexpected = list((Counter(came) - Counter(wanted)).elements())
    return _paired(what, names, missing, unexpected, key)


def _values(rows: pa.Table) -> list[Values]:
    if not rows.num_columns:
        return [()] * rows.num_rows
    return list(zip(*([_plain(value) for value in column.to_pylist()] for column in rows.columns), strict=True))


def _plain(value: object) -> object:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return tuple(_plain(one) for one in value)
    if isinstance(value, dict):
        return tuple((name, _plain(one)) for name, one in value.items())
    return value


def _paired(
    what: str, names: Sequence[str], missing: list[Values], unexpected: list[Values], key: Sequence[str]
) -> list[Difference]:
    """Rows that are nearly the same become one difference."""
    found: list[Difference] = []
    at = [names.index(name) for name in key] if key and set(key) <= set(names) else []
    for row in missing:
        near = _nearest(row, unexpected, at)
        if near is None:
            found.append(Difference(what, "missing", expected=_shown(names, row)))
            continue
        unexpected.remove(near)
        told = {name: (_text(a), _text(b)) for name, a, b in zip(names, row, near, strict=True) if a != b}
        found.append(Difference(what, "differs", _shown(names, row), _shown(names, near), told))
    return found + [Difference(what, "unexpected", found=_shown(names, row)) for row in unexpected]


def _nearest(row: Values, others: Sequence[Values], key: Sequence[int]) -> Values | None:
    """The row that was probably meant: of the same key, or else with at least half of the columns equal."""
    if key:
        return next((other for other in others if all(other[at] == row[at] for at in key)), None)
    same = [(sum(a == b for a, b in zip(row, other, strict=True)), other) for other in others]
    best = max(same, key=lambda one: one[0], default=None)
    return best[1] if best is not None and best[0] * 2 >= len(row) and best[0] else None


def _shown(names: Sequence[str], row: Values) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in zip(names, row, strict=True))


def _text(value: object) -> str:
    return "NULL" if value is None else str(value)
