"""Gathers the mistakes in a project, so that all of them are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from headwater.errors import Place, ProjectError, UserError


class Mistakes:
    """Mistakes found so far. Reading goes on after each; `raise_any` ends it."""

    def __init__(self) -> None:
        self.found: list[UserError] = []

    def add(self, message: str, *, place: Place, hint: str = "") -> None:
        """Notes one mistake; the same one at the same place is noted once."""
        if not any(str(mistake) == f"{place}: {message}" for mistake in self.found):
            self.found.append(UserError(message, hint=hint, place=place))

    def raise_any(self) -> None:
        """Ends the reading if anything was wrong.

        Raises:
            ProjectError: with every mistake, ordered by file, line and column.
        """
        if self.found:
            raise ProjectError(sorted(self.found, key=_order))


def _order(mistake: UserError) -> tuple[str, int, int]:
    place = mistake.place or Place("")
    return place.file, place.line, place.column


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a word that nobody knows: the nearest known one, or else the list of what there is."""
    names = sorted(set(known))
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return f"known here: {', '.join(names)}" if names else ""
