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
        changed: the transaction that last changed it: that dropped it, if it was dropped; 0 if that is not known.
    """

    number: int
    name: str | None
    kind: Kind
    missing: str | None = None
    changed: int = 0


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


def identify(
    known: Mapping[int, Sent], sent: Sequence[Sent], now: Sequence[Attribute], given: int = 0, xid: int = 0
) -> Identified | None:
    """Finds the numbers of the columns that a message sends.

    Args:
        known: the columns sent before, by number.
        sent: the columns sent now.
        now: all columns that the table ever had, as the catalog has them by now.
        given: the highest number that was given when `known` was: what is not known up to there was dropped before.
        xid: the transaction that the message came in; 0 if that is not known. It was begun before a column was dropped
            if its id is below that of the transaction that dropped it. (One that had its id before, and first touched
            the table after, is taken for older than it is.)

    Returns:
        None if no assignment fits: the table is not the one that it was taken for.
    """
    agreed = _agreed(sent, now, known)
    before, given = tuple(known), max(given, *known, 0)
    if agreed is not None:
        reused = any(known[number].name in _names(sent, agreed, other=number) for number in known)
        return Identified(agreed, not (reused or _passed(agreed, now, given, xid)))
    if [*known.values()] == list(sent):
        return Identified(before, not _replaced(known, now, given, xid))
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


def _passed(agreed: Sequence[int], now: Sequence[Attribute], given: int, xid: int) -> bool:
    """Whether a new column sent may be one that came and went before the column that has its name by now."""
    last = max(agreed, default=0)
    gone = [attribute for attribute in now if given < attribute.number < last and attribute.name is None]
    return any(not (xid and attribute.changed) or not _below(attribute.changed, xid) for attribute in gone)


def _replaced(known: Mapping[int, Sent], now: Sequence[Attribute], given: int, xid: int) -> bool:
    """Whether a message that repeats what is known may speak of a column that was dropped and made again with its name
    and type: the catalog has lost it, and has a later one, of its type under another name, or gone as well."""
    fresh = [attribute for attribute in now if attribute.number > given]
    lost = [attribute for attribute in now if attribute.name is None and attribute.number in known]
    lost = [each for each in lost if not (xid and each.changed) or not _below(xid, each.changed)]
    return any(later.name is None or later.kind == known[each.number].kind for each in lost for later in fresh)


def _below(one: int, other: int) -> bool:
    """Whether a transaction id was given before another; ids are counted in 32 bits, round and round."""
    return (one - other) % (1 << 32) >= 1 << 31


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
