"""The plan: what the planner hands to the engine, a graph of nodes that say what to keep and what to run.

Every node has a relation name (`n0`, `n1`, ...) under which its rows can be read in SQL, and typed columns. SQL in
nodes is DuckDB's and refers to inputs by relation name. `headwater.engine.graph` makes one operator of each node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa


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
    """Marks a column as the start or end of a time window of `size` (an INTERVAL in SQL)."""

    role: Literal["start", "end"]
    size: str


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
    """

    name: str
    columns: Columns
    inputs: tuple[Node, ...]
    title: str
    windows: dict[str, WindowColumn] = field(default_factory=dict)
    open: bool = False
    fast: str = ""

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

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        return pa.schema([pa.field(column.name, column.arrow) for column in self.columns])


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """Reads an input of the view. Keeps nothing.

    Attributes:
        stream: the input.
        append_only: it was declared to have no retractions.
    """

    stream: str = ""
    append_only: bool = False

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
    """

    select: tuple[tuple[str, str], ...] = ()
    where: str = ""
    lateral: str = ""
    multiplies: bool = False

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return _passed(self.inputs[side], self.select)


@dataclass(frozen=True, eq=False)
class Windowed(Node):
    """TUMBLE or HOP: gives rows their windows and judges which are late.

    Attributes:
        function: the text of `headwater.sql.prelude` with `{stream}` left open.
        multiplies: a row may belong to several windows.
    """

    function: str = ""
    multiplies: bool = False

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, name) for name in self.inputs[side].names)


@dataclass(frozen=True, eq=False)
class Union(Node):
    """UNION ALL: the inputs' changes one after the other. Keeps nothing."""

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.inputs[side].names, self.names, strict=True))


@dataclass(frozen=True)
class Accumulator:
    """One algebraic aggregate: exact under retraction.

    Attributes:
        kind: rows counts rows, count counts non-null `argument`s, sum and avg are over integers and decimals.
        argument: column of the input; "" for rows.
        output: name of the result column.
        scale: decimal digits of the argument after the point.
    """

    kind: Literal["rows", "count", "sum", "avg"]
    argument: str
    output: str
    scale: int = 0


@dataclass(frozen=True, eq=False)
class Aggregate(Node):
    """Grouped algebraic aggregates; with none, DISTINCT. Keeps a key and accumulators per group.

    Attributes:
        keys: columns of the input to group by, which are the first columns of the output; () for one global group
            that is
            always there.
        closes: SQL over the keys for a group's window end in microseconds; "" if groups are never closed.
    """

    keys: tuple[str, ...] = ()
    accumulators: tuple[Accumulator, ...] = ()
    closes: str = ""

    @property
    def appends(self) -> bool:
        return not self.accumulators and bool(self.keys) and self.inputs[0].appends

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (self.keys,)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.keys, self.names, strict=False))


@dataclass(frozen=True, eq=False)
class Join(Node):
    """Inner join: each change meets the other side's rows of its key. Keeps both sides.

    Attributes:
        left_keys: columns of the first input; () joins every row with every row.
        right_keys: as many columns of the second.
        condition: the ON clause, equalities included, over both relation names.
        matching: the equality of the keys alone, "" without keys.
        residual: the rest of the condition over this node's own columns, for pairs that match.
        select: (expression, column name) pairs.
    """

    left_keys: tuple[str, ...] = ()
    right_keys: tuple[str, ...] = ()
    condition: str = "true"
    matching: str = ""
    residual: str = "true"
    select: tuple[tuple[str, str], ...] = ()

    @property
    def spread(self) -> tuple[tuple[str, ...] | None, ...]:
        return (self.left_keys, self.right_keys)

    def carries(self, side: int) -> tuple[tuple[str, str], ...]:
        return _passed(self.inputs[side], self.select)


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
        """The last resort: there is no key to work by."""
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

    def scans(self) -> dict[str, Scan]:
        """The inputs read, by stream name."""
        return {node.stream: node for node in self.nodes() if isinstance(node, Scan)}

    def last_resorts(self) -> list[Recompute]:
        """Nodes that recompute a whole query at every change."""
        return [node for node in self.nodes() if isinstance(node, Recompute) and node.whole and node.inputs]


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
