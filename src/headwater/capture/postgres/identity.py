"""Which column is which, when a table's definition has changed: the stream names columns, and the catalog numbers them.

A Relation message tells names and types as they were when the change was made, in the order of their numbers
(`pg_attribute.attnum`), but not the numbers. The catalog tells the numbers, but as they are now, perhaps several
changes later. What cannot have changed in between: a column keeps its number for ever, a number is never used again,
and what is dropped stays dropped. So the columns of the message are some of the numbers, in ascending order, and all
known columns that still live are among them. Often that leaves one possibility; where it leaves more, the likeliest is
taken and the answer says that it is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Kind = tuple[int, int]
"""Type id and modifier."""

_OTHER_NAME, _OTHER_TYPE, _LOST = 4, 1, 1


@dataclass(frozen=True)
class Attribute:
    """A column as the catalog has it now.

    Attributes:
        number: `attnum`.
        name: None if it was dropped.
        kind: its type.
        missing: the value that rows have which were there when it came with a constant default, as text; None if none.
    """

    number: int
    name: str | None
    kind: Kind
    missing: str | None = None


@dataclass(frozen=True)
class Sent:
    """A column as a Relation message has it."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Identified:
    """The number of each column sent; `sure` if it can be no other."""

    numbers: tuple[int, ...]
    sure: bool


def identify(known: Mapping[int, Sent], sent: Sequence[Sent], now: Sequence[Attribute]) -> Identified | None:
    """Finds the numbers of the columns that a message sends.

    Args:
        known: the columns sent before, by number.
        sent: the columns sent now.
        now: all columns that the table ever had, as the catalog has them by now.

    Returns:
        None if no assignment fits: the table is not the one that it was taken for.
    """
    agreed = _agreed(sent, now, known)
    before = tuple(known)
    if agreed is not None:
        reused = any(known[number].name in _names(sent, agreed, other=number) for number in known)
        return Identified(agreed, not reused)
    if [*known.values()] == list(sent):
        return Identified(before, True)
    return _likeliest(known, sent, now) or _guess(sent, now)


def _guess(sent: Sequence[Sent], now: Sequence[Attribute]) -> Identified | None:
    """Numbers without regard to what was known, which an earlier guess may have had wrong."""
    found = _likeliest({}, sent, now)
    return None if found is None else Identified(found.numbers, False)


def _agreed(sent: Sequence[Sent], now: Sequence[Attribute], known: Mapping[int, Sent]) -> tuple[int, ...] | None:
    """The numbers by name, if the catalog says what the message says."""
    by_name = {attribute.name: attribute for attribute in now if attribute.name is not None}
    found = [by_name.get(column.name) for column in sent]
    numbers = tuple(attribute.number for attribute in found if attribute is not None)
    if len(numbers) < len(sent) or list(numbers) != sorted(numbers):
        return None
    if any(attribute is None or attribute.kind != column.kind for attribute, column in zip(found, sent, strict=True)):
        return None
    living = {attribute.number for attribute in now if attribute.name is not None}
    return numbers if living.intersection(known) <= set(numbers) else None


def _names(sent: Sequence[Sent], numbers: Sequence[int], *, other: int) -> set[str]:
    """Names sent for other numbers than one."""
    return {column.name for column, number in zip(sent, numbers, strict=True) if number != other}


def _likeliest(known: Mapping[int, Sent], sent: Sequence[Sent], now: Sequence[Attribute]) -> Identified | None:
    """The cheapest of all ascending assignments that leave no living known column out, and whether it is the only one.

    `best[i]`: cost, number of ways and choice for the columns sent from i on, with the numbers from the present one on.
    """
    nothing: tuple[float, int, tuple[int, ...]] = (float("inf"), 0, ())
    best = [nothing] * len(sent) + [(0.0, 1, ())]
    for attribute in reversed(now):
        was = known.get(attribute.number)
        must = was is not None and attribute.name is not None
        after = []
        for place in range(len(sent) + 1):
            cost, ways, chosen = nothing if must else best[place]
            cost += _LOST if was is not None else 0
            if place < len(sent) and best[place + 1][1]:
                taken = best[place + 1][0] + _cost(sent[place], was, attribute)
                ways += best[place + 1][1]
                if taken < cost:
                    cost, chosen = taken, (attribute.number, *best[place + 1][2])
            after.append((cost, ways, chosen))
        best = after
    _, ways, chosen = best[0]
    return Identified(chosen, ways == 1) if ways else None


def _cost(sent: Sent, was: Sent | None, attribute: Attribute) -> int:
    """How little a column sent looks like a number's."""
    name = was.name if was is not None else attribute.name
    kind = was.kind if was is not None else attribute.kind
    return (_OTHER_NAME if sent.name != name else 0) + (_OTHER_TYPE if sent.kind != kind else 0)
