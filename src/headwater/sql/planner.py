"""Makes plan nodes: names them, types them with DuckDB, and carries along what is known of time windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TypeVar, cast

from sqlglot import exp

from headwater.sql.bind import Binder, BindError, quote
from headwater.sql.expressions import (
    AggregateFinder,
    CannotDecompose,
    column,
    columns,
    conjunction,
    internal,
    substitute,
    tables,
    text,
    unnesting,
    unnests,
)
from headwater.sql.fast_paths import FAST_PATHS, Options
from headwater.sql.parse import offset_of
from headwater.sql.plan import Aggregate, Column, Columns, Gate, Linear, Node, Recompute, Scan, Top, WindowColumn
from headwater.sql.window_plan import Expiring, SessionAggregate

Selected = Sequence[tuple[exp.Expr, str]]
_READ_FROM_TEXT = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(.*\)|DOUBLE|FLOAT|BOOLEAN|DATE|TIME|TIMESTAMP( WITH TIME ZONE)?"
)
SomeNode = TypeVar("SomeNode", bound=Node)


class Planner:
    """The state of one planning.

    Attributes:
        binder: where SQL is bound.
        emit: whether windowed groups are held back until their windows close.
        aggregates: tells aggregate calls.
        keys: columns known to identify the rows of a node.
        append_only: inputs that are declared to have no retractions.
        without: fast paths that are switched off.
    """

    def __init__(self, binder: Binder, options: Options) -> None:
        self.binder = binder
        self.emit = options.emit
        self.without = options.without
        self.append_only = options.append_only if self.allows("append_only") else frozenset()
        self._ttl = {stream: (time, ttl_us) for stream, time, ttl_us in options.ttl}
        self.aggregates = AggregateFinder(binder.functions("aggregate"))
        self.keys: dict[Node, tuple[str, ...]] = {}
        self._count = 0
        self._offset = 0
        self._added: dict[tuple[object, ...], Node] = {}
        self._scans: dict[str, Node] = {}

    @contextmanager
    def within(self, query: exp.Query) -> Iterator[None]:
        """Notes that what is planned meanwhile is planned for this query."""
        before = self._offset
        found = offset_of(query)
        self._offset = before if found is None else found
        try:
            yield
        finally:
            self._offset = before

    @property
    def begins(self) -> int:
        """Where in the model's text the query begins that is being planned."""
        return self._offset

    def allows(self, fast_path: str) -> bool:
        """Whether the rule of a fast path may be used."""
        if fast_path not in FAST_PATHS:
            raise KeyError(fast_path)
        return fast_path not in self.without

    def name(self) -> str:
        """A relation name not yet used; in a namespace that no stream's name is likely to meet."""
        name = f"n{self._count}"
        self._count += 1
        return name if name not in self.binder.inputs else self.name()

    def add(self, node: SomeNode) -> SomeNode:
        """Makes a node's relation known to the binder; or the node that does the same with the same rows already."""
        found = self._added.setdefault(_likeness(node), node)
        if found is node:
            self.binder.define(node.name, node.columns)
        return cast(SomeNode, found)

    def describe(self, sql: str) -> Columns:
        """Binds SQL over relations of the plan.

        Raises:
            CannotDecompose: DuckDB cannot bind the rewritten text, so the rewriting was wrong.
        """
        try:
            return self.binder.describe(sql)
        except BindError as error:
            raise CannotDecompose(f"DuckDB does not bind a part of it: {str(error).splitlines()[0]}") from error

    def scan(self, stream: str) -> Node:
        """The one node that reads an input, however often it is named."""
        if stream not in self._scans:
            columns = self.binder.columns[stream]
            scan: Node = self.add(
                Scan(self.name(), columns, (), f"scan {stream}", stream=stream, append_only=stream in self.append_only)
            )
            if stream in self._ttl:
                time, ttl_us = self._ttl[stream]
                title = f"until {time} is {ttl_us / 1e6:g} s behind the watermark"
                scan = self.add(Expiring(self.name(), columns, (scan,), title, stream=stream, time=time, ttl_us=ttl_us))
            self._scans[stream] = scan
        return self._scans[stream]

    def linear(self, node: Node, selected: Selected, where: Sequence[exp.Expr] = (), lateral: str = "") -> Node:
        """A filter and projection over `node`, or `node` itself where it would change nothing."""
        selected = selected or [(exp.true(), internal("any", 0))]
        if not lateral and any(unnests(expression) for expression, _ in selected):
            node, selected, where = *self._before_unnest(node, selected, where), ()
        condition = conjunction(where)
        select = tuple((text(expression), name) for expression, name in selected)
        multiplies = bool(lateral) or any(unnests(expression) for expression, _ in selected)
        if (
            not condition
            and not lateral
            and [(f"{quote(node.name)}.{quote(n)}", n) for n in node.names] == list(select)
        ):
            return node
        columns = self._linear_columns(node, select, condition, lateral)
        windows = carried_windows(node, selected)
        title = " and ".join(["filter"] * bool(condition) + ["unnest"] * multiplies + ["project"])
        return self.add(
            Linear(
                self.name(), columns, (node,), title, windows, node.open,
                select=select, where=condition, lateral=lateral, multiplies=multiplies,
            )
        )  # fmt: skip

    def _before_unnest(self, node: Node, selected: Selected, where: Sequence[exp.Expr]) -> tuple[Node, Selected]:
        """A node that computes what `selected` unnests, so that rows on which that fails are told apart before they
        become several; and `selected` over it."""
        parts = [
            part for expression, _ in selected for part in _unnested(expression) if not isinstance(part, exp.Column)
        ]
        made = {text(part): (part, internal("u", i)) for i, part in enumerate(parts) if node.name in tables(part)}
        used = [(c, c.name) for c in columns(expression for expression, _ in selected) if c.table == node.name]
        first = self.linear(node, [*used, *made.values()], where)
        moved: dict[str, exp.Expr] = {key: column(first.name, name) for key, (_, name) in made.items()}
        moved |= {text(c): column(first.name, name) for c, name in used}
        return first, [(substitute(expression, moved), name) for expression, name in selected]

    def _linear_columns(self, node: Node, select: tuple[tuple[str, str], ...], where: str, lateral: str) -> Columns:
        """The columns of a linear SELECT. It is bound together with a plain column, so that it fails if an aggregate is
        hidden in it; one that but chooses columns is not asked about."""
        own = {f"{quote(node.name)}.{quote(found.name)}": found for found in node.columns}
        chosen = len({name.lower() for expression, name in select if expression in own}) == len(select)
        if chosen and not where and not lateral:
            return tuple(replace(own[expression], name=name) for expression, name in select)
        listed = ", ".join(f"{expression} AS {quote(name)}" for expression, name in select)
        condition = f" WHERE {where}" if where else ""
        row = f"{quote(node.name)}.rowid AS _row"
        return self.describe(f"SELECT {listed}, {row} FROM {quote(node.name)}{lateral}{condition}")[:-1]

    def recompute(
        self,
        inputs: Sequence[Node],
        keys: Sequence[Sequence[str]],
        sql: str,
        why: str,
        windows: Mapping[str, WindowColumn] | None = None,
        kind: str = "k",
        output_keys: tuple[str, ...] | None = None,
    ) -> Recompute:
        """A recompute whose SQL gives the key columns, called `output_keys`, else `internal(kind, i)`, besides
        others."""
        if output_keys is None:
            output_keys = tuple(internal(kind, i) for i in range(len(keys[0]))) if keys else ()
        title = f"recompute by key: {why}" if output_keys else f"recompute the whole: {why}"
        given = dict(windows or {})
        columns = self.describe(sql)
        closes = closing({name: given[name] for name in output_keys if name in given}) if len(inputs) == 1 else ""
        node = Recompute(
            self.name(), columns, tuple(inputs), title, given, any(n.open for n in inputs),
            keys=tuple(map(tuple, keys)), output_keys=output_keys, sql=sql, why=why, closes=closes,
            begins=self._offset,
        )  # fmt: skip
        return self.add(node)

    def gated(self, node: Aggregate | Recompute | SessionAggregate | Top) -> Node:
        """Under `emit: final`, the node behind a gate if its groups belong to windows that are still open."""
        if self.emit != "final" or not node.open or not node.closes:
            return node
        title = "hold until the window closes"
        return self.add(Gate(self.name(), node.columns, (node,), title, node.windows, False, closes=node.closes))

    def common_type(self, left: exp.Expr, right: exp.Expr, relations: str) -> tuple[str, bool]:
        """The type in which DuckDB compares two expressions, and whether both have it already.

        Raises:
            CannotDecompose: a text is compared with a type that has no one way to be read, or the types do not
                compare.
        """
        try:
            ours, theirs = self.binder.types_of([text(left), text(right)], relations)
            if ours == theirs:
                return ours, True
            if "VARCHAR" in (ours, theirs):
                return _text_compared_with(theirs if ours == "VARCHAR" else ours), False
            return self.binder.types_of([f"([{text(left)}, {text(right)}])[1]"], relations)[0], False
        except BindError as error:
            raise CannotDecompose(str(error).splitlines()[0]) from error


def _likeness(node: Node) -> tuple[object, ...]:
    """The same for nodes that do the same with the same inputs."""
    values = (getattr(node, part.name) for part in fields(node) if part.name not in ("name", "begins"))
    return (type(node), *(tuple(value.items()) if isinstance(value, dict) else value for value in values))


def _text_compared_with(type_: str) -> str:
    """The type in which DuckDB compares a text with this one: the other type."""
    if not _READ_FROM_TEXT.fullmatch(type_):
        raise CannotDecompose(f"a text is compared with {type_}")
    return type_


def _unnested(expression: exp.Expr) -> Iterator[exp.Expr]:
    """The arguments of the UNNESTs in an expression."""
    for call in expression.walk(prune=unnesting):
        if unnesting(call):
            yield from call.iter_expressions()


def carried_windows(node: Node, selected: Selected) -> dict[str, WindowColumn]:
    """What is known of window columns after a projection: those passed on as they are."""
    return {
        name: node.windows[expression.name]
        for expression, name in selected
        if isinstance(expression, exp.Column) and expression.name in node.windows
    }


def closing(windows: Mapping[str, WindowColumn]) -> str:
    """SQL for the window end in microseconds since 1970 UTC, from any column that tells it; "" if none does."""
    for name, window in sorted(windows.items(), key=lambda item: item[1].role):
        if window.role == "start" and not window.size:
            continue
        end = quote(name) if window.role == "end" else f"({quote(name)} + {window.size})"
        return f"epoch_us({end})"
    return ""


def named(columns: Sequence[Column], name: str) -> Column:
    """The column of that name."""
    return next(column for column in columns if column.name == name)
