"""What the planner may do: the fast paths by name, each of which can be switched off, and the other options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Emit = Literal["changes", "final"]
Recompute = Literal["allowed", "refused"]
TimeToLive = tuple[str, str, int]
"""An input, its column of event time, and how many microseconds rows stay after that."""

FAST_PATHS: Mapping[str, str] = {
    "accumulators": "GROUP BY with accumulators per group in place of recomputing the group",
    "float_sums": "sum and avg of floats in exact arithmetic",
    "distinct": "DISTINCT aggregates by an index of the values of each group",
    "moments": "variance, correlation, regression and the like from exact sums of products",
    "extremes": "min, max, arg_min and the like by the values of each group in order, or its best row alone",
    "quantiles": "median and quantiles by rank among the values of each group in order",
    "modes": "mode by the values of each group in order of how many rows have them",
    "hop_panes": "HOP and GROUP BY with one look per key and window in place of one per row and window",
    "append_only": "nothing is kept for retractions of inputs that are declared to have none",
    "top_n": "only the first rows of each key in an order are looked at, and kept where none is ever taken back",
    "join_ranges": "find the matches of an inequality in an order instead of meeting every row",
    "join_extremes": "rows that are joined back to the max or min of their time window are kept only if they may be it",
    "join_pairs": "join by enumerating the pairs of the rows of each key",
    "session_entries": "SESSION and its GROUP BY over rows that only come, with one entry per session and no rows",
    "even_windows": "TUMBLE by arithmetic on the column of time, other columns passed on as they are",
    "distinct_texts": "functions of one or two texts computed once for each, where texts repeat",
    "coarse_times": "functions of a time computed once for each second, minute, hour or day that they tell apart",
    "plain_filters": "integers and texts compared with literals without a query",
    "plain_values": "sums and products of integers and decimals, and lengths of texts, without a query",
    "partial_aggregates": "of several workers each adds up its rows group by group before they change workers",
    "time_keys": "GROUP BY strftime by the day, hour, minute or second that it shows, not by its text",
    "set_counts": "INTERSECT and EXCEPT by counting each row on both sides",
}
"""Name and what it does, for `explain` and the docs. A rule asks `Planner.allows(name)`, and
`headwater.sql.paths_taken` tells which a node takes."""


@dataclass(frozen=True)
class Options:
    """How a SELECT is to be planned.

    Attributes:
        emit: whether windowed groups are held back until their windows close.
        append_only: inputs without retractions.
        without: fast paths that are switched off.
        recompute: whether a node may compute everything again at every change.
        ttl: how long rows of inputs stay.
    """

    emit: Emit = "changes"
    append_only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    recompute: Recompute = "allowed"
    ttl: tuple[TimeToLive, ...] = ()

    @property
    def text(self) -> str:
        """The same for equal options, in every process."""
        return f"{self.emit} {sorted(self.append_only)} {sorted(self.without)} {sorted(self.ttl)}"


DEFAULT = Options()
