"""The plan: what the planner hands to the engine, a graph of nodes that say what to keep and what to run.

Every node has a relation name (`n0`, `n1`, ...) under which its rows can be read in SQL, and typed columns. SQL in
nodes is DuckDB's and refers to inputs by relation name. `headwater.engine.graph` makes one operator of each node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pyarrow as pa

from headwater.sql.row_plan import Formula, Once, RowTest


@dataclass(frozen=True)
class Column:
    """A column as DuckDB types it.

    Attributes:
        name: unique within its node, whatever the case.
        type: DuckDB's name of the type.
        arrow: the Arrow type that DuckDB gives it.
        exact: DuckDB reads `arrow` back as `type`; if not (HUGEINT comes back as DECIMAL), readers must cast.
    """

    name: str
    type: str
    arrow: pa.DataType
    exact: bool = True


Columns = tuple[Column, ...]


@dataclass(frozen=True)
class WindowColumn:
    """Marks a column as the start or end of a time window.

    Attributes:
        role: which.
        size: an INTERVAL in SQL; "" if a window has no size of its own.
        told: start and end of a window tell each other.
    """

    role: Literal["start", "end"]
    size: str
    told: bool = True


@dataclass(frozen=True, eq=False)
class Node:
    """One step of the plan.

    Attributes:
        name: relation name, unique in the plan.
        columns: the rows' columns, without `_weight`.
        inputs: nodes read.
        title: what a person would call this step.
        windows: columns that bound a time window.
        open: rows may still belong to windows that are not closed.
        fast: name of the fast path (`headwater.sql.fast_paths`) by whose rule the node was chosen; "" for the general
            way.
        begins: where in the model's text the query begins that needs the node.
    """

    name: str
    columns: Columns
    inputs: tuple[Node, ...]
    title: str
    windows: dict[str, WindowColumn] = field(default_factory=dict)
    open: bool = False
    fast: str = ""
    begins: int = field(default=0, kw_only=True)

    @property
    def appends(self) -> bool:
        """Whether its rows only ever come: no change of it is a retraction."""
        return bool(self.inputs) and all(source.appends for source in self.inputs)

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        """How the rows of each input must be spread over workers: by the values of these columns, () all to one worker,
        None anyhow."""
        return (None,) * len(self.inputs)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        """(column of that input, own column) pairs: every row of the node that an input's row has a part in holds that
        row's value there, NULL and all. By it rows are known to be with the right worker already; () is always safe."""
        return ()

    @cached_property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        return pa.schema([pa.field(column.name, column.arrow) for column in self.columns])


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """Reads an input of the view. Keeps nothing.

    Attributes:
        stream: the input.
        append_only: it was declared to have no retractions.
        predicate: SQL over the columns that holds for every row that anybody reads; "" if every row is read. With it
            and `columns`, the columns that are read, a source may leave out the rest.
    """

    stream: str = ""
    append_only: bool = False
    predicate: str = ""

    @property
    def appends(self) -> bool:
        return self.append_only


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Filter, project, unnest: each row alone. Keeps nothing.

    Attributes:
        select: (expression, column name) pairs.
        where: condition, "" for none.
        lateral: further FROM items per row, such as `, unnest(n0."tags") AS t(tag)`; "" for none.
        multiplies: a row may give any number of rows.
        test: what `where` says, if that can be found out without SQL.
        once: its last columns, where they are computed so; all others are then passed on.
        formulas: columns of `select` that can be computed without SQL, by name.
    """

    select: tuple[tuple[str, str], ...] = ()
    where: str = ""
    lateral: str = ""
    multiplies: bool = False
    test: RowTest | None = None
    once: tuple[Once, ...] = ()
    formulas: Mapping[str, Formula] = field(default_factory=dict)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return _passed(self.inputs[side], self.select)


@dataclass(frozen=True)
class Even:
    """Windows of one length: that of a row starts at the last multiple of `step_us` since 1970-01-01 UTC that is not
    after it.

    Attributes:
        time: column of TIMESTAMPs, with or without a time zone.
        step_us: microseconds; 1 for windows that start with the row.
        length_us: from the start to the end.
    """

    time: str
    step_us: int
    length_us: int


@dataclass(frozen=True, eq=False)
class Windowed(Node):
    """TUMBLE, HOP or CUMULATE, or a row as a session of its own: gives rows windows and judges which are late.

    Attributes:
        function: the text of `headwater.sql.prelude` with `{stream}` left open.
        multiplies: a row may belong to several windows.
        clock: windows are by the time at which rows came in: none is ever late.
        even: how the one window of each row can be computed without SQL; None if it cannot.
        hop: the window of a row that is given is only the last of so many; whoever reads it knows.
        last: a node that gives only the last window of each row, for who can do with that; None if there is none.
    """

    function: str = ""
    multiplies: bool = False
    clock: bool = False
    even: Even | None = None
    hop: Hop | None = None
    last: Windowed | None = None

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.inputs[side].names)


@dataclass(frozen=True, eq=False)
class Union(Node):
    """UNION ALL: the inputs' changes one after the other. Keeps nothing."""

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.inputs[side].names, self.names, strict=True))


@dataclass(frozen=True)
class Accumulator:
    """One aggregate call that is kept up to date per group, exact under retraction.

    Attributes:
        kind: `rows` is count(*); others are named after DuckDB's functions.
        argument: column of the input; "" for rows.
        output: name of the result column.
        scale: decimal digits of the argument after the point.
        order: column that arg_min, arg_max, first and last go by; "" for none.
        distinct: column of which each value counts once; "" without DISTINCT.
        where: a column of booleans that is true where rows count; "" for all rows, of which a NULL argument may say
            that they do not count.
        fraction: of quantiles, between 0 and 1.
        by: of first and last, the order of their rows; () for that in which they came.
    """

    kind: AccumulatorKind
    argument: str
    output: str
    scale: int = 0
    order: str = ""
    distinct: str = ""
    where: str = ""
    fraction: float = 0.5
    by: tuple[Ordering, ...] = ()


AccumulatorKind = Literal[
    "rows", "count", "sum", "avg", "fsum", "favg", "bool_and", "bool_or", "bit_xor", "bit_and", "bit_or",
    "min", "max", "arg_min", "arg_max", "any_value", "first", "last", "quantile_cont", "quantile_disc", "mode",
    "var_pop", "var_samp", "stddev_pop", "stddev_samp", "sem", "covar_pop", "covar_samp", "corr", "regr_avgx",
    "regr_avgy", "regr_sxx", "regr_syy", "regr_sxy", "regr_slope", "regr_intercept", "regr_r2",
]  # fmt: skip
MOMENTS = (
    "var_pop", "var_samp", "stddev_pop", "stddev_samp", "sem", "covar_pop", "covar_samp", "corr", "regr_avgx",
    "regr_avgy", "regr_sxx", "regr_syy", "regr_sxy", "regr_slope", "regr_intercept", "regr_r2",
)  # fmt: skip
"""Kinds that are made of sums and of sums of products; those of two arguments have the first, y, in `order`."""


@dataclass(frozen=True)
class Hop:
    """How the windows of a row follow each other, where rows carry only the last of theirs.

    Attributes:
        windows: in how many windows each row is.
        slide_us: microseconds from the start of one to that of the next.
        columns: those that are the start or end of the window.
    """

    windows: int
    slide_us: int
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Aggregate(Node):
    """Groups with accumulators; with none, DISTINCT. Keeps a key and accumulators per group.

    Attributes:
        keys: columns of the input to group by, which are the first columns of the output; () for one global group that
            is always there.
        closes: SQL over the keys for a group's window end in microseconds; "" if groups are never closed.
        hop: rows stand for several windows each; None: for themselves.
        partial: workers may add up rows before they send them to those that the groups belong to.
        cut: some keys are times in place of the texts that the query groups by, of which its reader makes them.
    """

    keys: tuple[str, ...] = ()
    accumulators: tuple[Accumulator, ...] = ()
    closes: str = ""
    hop: Hop | None = None
    cut: bool = False
    partial: bool = False

    @property
    def appends(self) -> bool:
        return not self.accumulators and bool(self.keys) and self.inputs[0].appends

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (tuple(key for key, _ in self.carries(0)),)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        moving = self.hop.columns if self.hop is not None else ()
        return tuple((key, name) for key, name in zip(self.keys, self.names, strict=False) if key not in moving)


@dataclass(frozen=True, eq=False)
class Recompute(Node):
    """Runs `sql` again over the rows of every key that changed and gives the difference. Keeps rows and results.

    Attributes:
        keys: per input its key columns, all of the same length and types; of length 0 the whole is recomputed.
        output_keys: columns of the result that hold the key.
        sql: over the inputs' relation names.
        why: what in the SQL needs this, for `explain`.
        closes: as in `Aggregate`, over `output_keys`.
    """

    keys: tuple[tuple[str, ...], ...] = ()
    output_keys: tuple[str, ...] = ()
    sql: str = ""
    why: str = ""
    closes: str = ""

    @property
    def appends(self) -> bool:
        return not self.inputs

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return self.keys

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.keys[side], self.output_keys, strict=True))

    @property
    def whole(self) -> bool:
        """There is no key to work by."""
        return not self.output_keys


@dataclass(frozen=True)
class Ordering:
    """One item of an ORDER BY.

    Attributes:
        column: what is ordered by.
        descending: the greatest first.
        nulls_first: NULL before everything else.
    """

    column: str
    descending: bool = False
    nulls_first: bool = False

    @property
    def sql(self) -> str:
        """How DuckDB's `create_sort_key` calls it."""
        return f"{'DESC' if self.descending else 'ASC'} NULLS {'FIRST' if self.nulls_first else 'LAST'}"


@dataclass(frozen=True, eq=False)
class Top(Node):
    """Per key the first rows in an order. Keeps, of an input that only appends, these rows; else all rows.

    The output has columns of the input under their names, and perhaps last each row's number.

    Attributes:
        keys: columns of the input; () for one list of all rows.
        order: what rows are ordered by, so that only rows equal in all columns are equal in order.
        wanted: how many of `order` the query asks for; the others break ties.
        limit: how many rows are shown; None: all after `offset`.
        offset: how many rows before them are not.
        rank: name of the column with a row's number in its key, from 1; "" for none.
        closes: as in `Aggregate`.
    """

    keys: tuple[str, ...] = ()
    order: tuple[Ordering, ...] = ()
    wanted: int = 0
    limit: int | None = None
    offset: int = 0
    rank: str = ""
    closes: str = ""

    @property
    def appends(self) -> bool:
        return False

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (self.keys,)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.names if name != self.rank)


@dataclass(frozen=True, eq=False)
class Gate(Node):
    """Under `emit: final`, holds back rows until their window closes.

    Attributes:
        closes: SQL over the columns for a row's window end in microseconds.
    """

    closes: str = ""

    @property
    def appends(self) -> bool:
        return False

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (tuple(self.names),)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.inputs[side].names, self.names, strict=True))


@dataclass(frozen=True)
class Plan:
    """What a SELECT was decomposed into.

    Attributes:
        root: the node whose rows are the result.
        key: inferred key of the result; () if unknown.
    """

    root: Node
    key: tuple[str, ...] = ()

    def nodes(self) -> list[Node]:
        """Every node once, inputs before their readers."""
        return list(dict.fromkeys(_postorder(self.root, set())))

    @property
    def settled(self) -> bool:
        """Whether no row is both added and taken away by one change of the result: it shows groups, each at most once
        before and once after, all by which these can differ, and which group each is."""
        node = self.root
        shown = set(node.names)
        while isinstance(node, Linear) and not node.multiplies:
            shown, node = {name for name, output in node.carries(0) if output in shown}, node.inputs[0]
        if not isinstance(node, Aggregate):
            return False
        results = node.names[len(node.keys) :]
        return shown.issuperset(results) and (bool(self.key) or shown.issuperset(node.names))

    def scans(self) -> dict[str, Scan]:
        """The inputs read, by stream name, each with the columns and rows that are read of it."""
        return {node.stream: node for node in self.nodes() if isinstance(node, Scan)}


def _postorder(node: Node, seen: set[Node]) -> Iterator[Node]:
    if node in seen:
        return
    seen.add(node)
    for child in node.inputs:
        yield from _postorder(child, seen)
    yield node


def _passed(source: Node, select: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The columns of `source` that a SELECT list passes on as they are, each with its name there."""
    plain = {f"{_quoted(source.name)}.{_quoted(name)}": name for name in source.names}
    return tuple((plain[expression], name) for expression, name in select if expression in plain)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
