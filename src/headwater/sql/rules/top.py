"""Rows kept in order: the nodes of LIMIT, DISTINCT ON and ROW_NUMBER(), and the order that settles ties.

SQL leaves open which of rows equal in order comes first. Here the other columns decide, those of fixed width first, so
that the answer depends on what rows there are and on nothing else, whichever operator gives it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from sqlglot import exp

from headwater.sql.expressions import column
from headwater.sql.plan import Column, Node, Ordering, Top
from headwater.sql.planner import Planner, closing

_FIXED = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(.*\)|DOUBLE|FLOAT|BOOLEAN|DATE|TIME|TIMESTAMP.*|INTERVAL"
)
_UNORDERED = re.compile(r"\b(TIME WITH TIME ZONE|BIT|VARIANT|BIGNUM|GEOMETRY|UNION|UHUGEINT|COLLATE)\b")
"""Types whose order keys are not sure to compare as DuckDB compares their values."""


def tie_order(columns: Sequence[Column], settled: Collection[str]) -> list[str]:
    """The columns that decide between rows equal in the columns `settled`, in the order in which they do."""
    rest = [c for c in columns if c.name not in settled]
    fixed = [c.name for c in rest if _FIXED.fullmatch(c.type)]
    return [*fixed, *(c.name for c in rest if c.name not in fixed)]


def tie_breaks(relation: str, columns: Sequence[Column], settled: Collection[str] = ()) -> list[exp.Expr]:
    """`tie_order` as items of an ORDER BY."""
    return [exp.Ordered(this=column(relation, name), nulls_first=False) for name in tie_order(columns, settled)]


def ordering(item: exp.Expr, relation: str) -> Ordering | None:
    """An ORDER BY item over a column of a relation; None if it is anything else."""
    if not isinstance(item, exp.Ordered) or item.args.get("with_fill") or not isinstance(item.this, exp.Column):
        return None
    if item.this.table != relation:
        return None
    return Ordering(item.this.name, bool(item.args.get("desc")), bool(item.args.get("nulls_first")))


def top(
    planner: Planner,
    source: Node,
    keys: Sequence[str],
    order: Sequence[Ordering | None],
    shown: Sequence[str],
    rank: str = "",
    limit: int | None = None,
    offset: int = 0,
) -> Top | None:
    """A node for the first rows of each key; None if that fast path is not to be taken.

    Args:
        keys: columns of `source`.
        order: over columns of `source`; None for an item that is not over one.
        shown: columns of `source` that are wanted.
        rank: as in `Top`; so are `limit` and `offset`.
    """
    if not planner.allows("top_n"):
        return None
    first: dict[str, Ordering] = {}
    for item in order:
        if item is not None:
            first.setdefault(item.column, item)
    wanted = list(first.values())
    if None in order or any(not _ordered(c) for c in source.columns):
        return None
    settled = {*keys, *(item.column for item in wanted)}
    ties = tuple(Ordering(name) for name in tie_order(source.columns, settled))
    wanted = [item for item in wanted if item.column not in keys]
    ends = closing({name: source.windows[name] for name in keys if name in source.windows})
    names = [name for name in source.names if name in shown or (ends and name in keys)]
    columns = tuple(c for c in source.columns if c.name in names)
    number = (planner.describe(f'SELECT 1::BIGINT AS "{rank}"')[0],) if rank else ()
    windows = {name: window for name, window in source.windows.items() if name in names}
    node = Top(
        planner.name(), (*columns, *number), (source,), top_title(keys, limit, offset), windows, source.open, "top_n",
        keys=tuple(keys), order=(*wanted, *ties), wanted=len(wanted),
        limit=limit, offset=offset, rank=rank, closes=ends,
        begins=planner.begins,
    )  # fmt: skip
    return planner.add(node)


def top_title(keys: Sequence[str], limit: int | None, offset: int) -> str:
    """What a person would call such a step."""
    rows = "all rows" if limit is None else f"first {limit} rows"
    return f"{rows}{f' after {offset}' if offset else ''} in order{' by key' if keys else ''}"


def _ordered(column: Column) -> bool:
    """Whether order keys are made of such a column."""
    nested = column.type.replace("INTERVAL", "BIT") if column.type != "INTERVAL" else ""
    return not _UNORDERED.search(nested)
