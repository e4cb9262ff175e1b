"""Which columns of its inputs each column of a SELECT comes of, and how: read off the plan by which it is maintained.

The plan names every column that it reads, and the engine's tests hold it against DuckDB, so what DuckDB's dialect can
say (stars, COLUMNS, PIVOT, USING, correlated subqueries) needs no second reading here. Where a query is only run again
as it stands, a column that cannot be told apart comes of everything that the query reads: too much is said, never too
little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
from sqlglot import exp

from headwater.errors import SqlError
from headwater.sql.bind import quote
from headwater.sql.check import check
from headwater.sql.fast_paths import Options
from headwater.sql.functions import Function
from headwater.sql.join_plan import Join
from headwater.sql.parse import parse
from headwater.sql.plan import Aggregate, Linear, Node, Recompute, Scan, Top, Union, Windowed
from headwater.sql.window_plan import Expiring, Session

How = Literal["identity", "transformation", "aggregation", "filter", "join", "group", "sort", "window"]
"""The first three make the value (OpenLineage's DIRECT), the others decide which rows there are (INDIRECT)."""

DIRECT: tuple[How, ...] = ("identity", "transformation", "aggregation")

_STRENGTH: Mapping[How, int] = {
    "sort": 0, "window": 1, "filter": 2, "group": 3, "join": 4, "identity": 5, "transformation": 6, "aggregation": 7,
}  # fmt: skip
_PLAIN = Options(
    without=frozenset(
        {"distinct_texts", "coarse_times", "plain_values", "plain_filters", "time_keys", "hop_panes", "session_entries",
         "join_extremes", "even_windows"}
    )
)  # fmt: skip
"""Fast paths that spell an expression in another way than SQL are off."""

_NAME = r'"((?:[^"]|"")+)"'

Column = tuple[str, str]
"""An input's name and that of one of its columns."""

Origins = dict[Column, How]


@dataclass(frozen=True)
class QueryLineage:
    """What a SELECT's result comes of.

    Attributes:
        columns: for each column of the result what its values come of, and how.
        rows: what decides which rows there are, and so how often any value is there.
        types: the result's columns as Arrow has them.
    """

    columns: Mapping[str, Origins]
    rows: Origins
    types: pa.Schema


@dataclass
class _Known:
    """What is known of one node."""

    columns: dict[str, Origins] = field(default_factory=dict)
    rows: Origins = field(default_factory=dict)


def lineage(sql: str, inputs: Mapping[str, pa.Schema], *, functions: Iterable[Function] = ()) -> QueryLineage:
    """Reads the lineage of a SELECT.

    Args:
        sql: one SELECT in DuckDB's dialect.
        inputs: what it may read, by name.
        functions: functions that it may call, besides DuckDB's.

    Raises:
        SqlError: the SELECT has a mistake.
    """
    analysis = check(sql, inputs, options=_PLAIN, functions=functions)
    for mistake in analysis.mistakes:
        raise mistake
    if analysis.plan is None or analysis.columns is None:
        raise SqlError("this query cannot be maintained")
    known: dict[Node, _Known] = {}
    for node in analysis.plan.nodes():
        known[node] = _of(node, [known[source] for source in node.inputs])
    root = known[analysis.plan.root]
    return QueryLineage({name: root.columns[name] for name in analysis.columns.names}, root.rows, analysis.columns)


def _of(node: Node, inputs: Sequence[_Known]) -> _Known:
    rows = _merged(known.rows for known in inputs)
    match node:
        case Scan():
            return _Known({name: {(node.stream, name): "identity"} for name in node.names})
        case Linear():
            return _linear(node, inputs[0], rows)
        case Windowed() | Session():
            return _windowed(node, inputs[0], rows)
        case Union():
            return _Known(
                {
                    name: _merged(known.columns[source.names[at]] for known, source in _pairs(node, inputs))
                    for at, name in enumerate(node.names)
                },
                rows,
            )
        case Aggregate():
            return _aggregate(node, inputs[0], rows)
        case Join():
            return _join(node, inputs, rows)
        case Top():
            return _top(node, inputs[0], rows)
        case Recompute():
            return _recomputed(node, inputs, rows)
    if isinstance(node, Expiring):
        rows = _merged([rows, _as("filter", [inputs[0].columns[node.time]])])
    return _Known({name: _passed(name, inputs) for name in node.names}, rows)


def _passed(name: str, inputs: Sequence[_Known]) -> Origins:
    """A column of a node that has those of its input; one that it adds comes of nothing."""
    return inputs[0].columns.get(name, {}) if inputs else {}


def _pairs(node: Node, inputs: Sequence[_Known]) -> Iterator[tuple[_Known, Node]]:
    return zip(inputs, node.inputs, strict=True)


def _linear(node: Linear, source: _Known, rows: Origins) -> _Known:
    below = node.inputs[0]
    lateral = [source.columns[name] for name in _named(node.lateral, below)]
    columns = {}
    for expression, name in node.select:
        if (plain := _column(expression, below)) is not None:
            columns[name] = source.columns[plain]
            continue
        read = [source.columns[column] for column in _named(expression, below)]
        columns[name] = _as("transformation", read + (lateral if _names_others(expression, below) else []))
    where = [source.columns[name] for name in _named(node.where, below)]
    unnested = lateral or (list(columns.values()) if node.multiplies else [])
    return _Known(columns, _merged([rows, _as("filter", where), _as("filter", unnested)]))


def _column(expression: str, source: Node) -> str | None:
    """The column of a node that an expression is, if it is no more than that."""
    match = re.fullmatch(rf"{re.escape(quote(source.name))}\.{_NAME}", expression)
    name = match[1].replace('""', '"') if match else None
    return name if name in source.names else None


def _named(text: str, source: Node, relation: str = "") -> list[str]:
    """The columns that SQL names as those of a node; all of them if it may mean more than it names."""
    called = re.escape(quote(relation or source.name))
    columns = [match.replace('""', '"') for match in re.findall(rf"{called}\.{_NAME}", text)]
    whole = len(columns) != len(re.findall(called, text)) or not set(source.names).issuperset(columns)
    return list(source.names) if whole else list(dict.fromkeys(columns))


def _names_others(expression: str, source: Node) -> bool:
    """Whether an expression may name what a lateral join gives."""
    rest = re.sub(rf"{re.escape(quote(source.name))}\.{_NAME}", "", expression)
    return '"' in rest or re.search(r"[A-Za-z_]", rest) is not None


def _windowed(node: Windowed | Session, source: _Known, rows: Origins) -> _Known:
    below = node.inputs[0]
    read = [*node.keys, node.time] if isinstance(node, Session) else _named(node.function, below, "s")
    bounds = _as("transformation", [source.columns[name] for name in read if name in source.columns])
    columns = {name: source.columns.get(name, bounds) for name in node.names}
    for name in node.names[-2:]:
        columns[name] = bounds
    return _Known(columns, _merged([rows, _as("window", [bounds])]))


def _aggregate(node: Aggregate, source: _Known, rows: Origins) -> _Known:
    keys = [source.columns[key] for key in node.keys]
    columns = dict(zip(node.names, keys, strict=False))
    for call in node.accumulators:
        ordered = [call.order, *(item.column for item in call.by)]
        value = _as("aggregation", _some(source, [call.argument, call.distinct, call.order]))
        columns[call.output] = _merged(
            [value, _as("sort", _some(source, ordered)), _as("filter", _some(source, [call.where]))]
        )
    return _Known(columns, _merged([rows, _as("group", keys)]))


def _some(source: _Known, names: Iterable[str]) -> list[Origins]:
    return [source.columns[name] for name in names if name]


def _join(node: Join, inputs: Sequence[_Known], rows: Origins) -> _Known:
    matched = [inputs[side].columns[key] for side in (0, 1) for key in node.keys_of(side)]
    origins = dict(zip(node.pairs.names, node.origins, strict=False))
    matched += [inputs[side].columns[name] for side, name in (origins[needed] for needed in node.needed)]
    if node.ranged is not None:
        for bound in node.ranged.bounds:
            matched.append(inputs[node.ranged.side].columns[bound.point])
            matched.append(inputs[1 - node.ranged.side].columns[bound.other])
    shown = zip(node.names, node.shown, strict=False)
    columns = {name: inputs[side].columns[column] for name, (side, column) in shown}
    by = _as("join", matched)
    if node.word == "MARK":
        columns[node.names[-1]] = _as("transformation", matched)
    return _Known(columns, _merged([rows, by]))


def _top(node: Top, source: _Known, rows: Origins) -> _Known:
    keys = [source.columns[key] for key in node.keys]
    order = [source.columns[item.column] for item in node.order]
    columns = {name: source.columns[name] for name in node.names if name != node.rank}
    if node.rank:
        columns[node.rank] = _as("window", keys + order)
    cut = node.limit is not None or node.offset
    return _Known(columns, _merged([rows, _as("group", keys), _as("sort", order)]) if cut else rows)


def _recomputed(node: Recompute, inputs: Sequence[_Known], rows: Origins) -> _Known:
    everything = _merged(origins for known in inputs for origins in known.columns.values())
    names = {
        (source.name.lower(), column.lower()): known.columns[column]
        for known, source in _pairs(node, inputs)
        for column in source.names
    }
    query = parse(node.sql)
    listed = query.expressions if isinstance(query, exp.Select) else []
    if len(listed) != len(node.names) or not _is_flat(query):
        return _Known(dict.fromkeys(node.names, _as("transformation", [everything])), _decided(rows, everything))
    relations = _relations(query, {source.name for source in node.inputs})
    columns = {
        name: _expression(item.unalias(), relations, names, everything)
        for item, name in zip(listed, node.names, strict=True)
    }
    rest = [part for key, part in _parts(query) if key != "expressions"]
    read = [_lookup(column, relations, names, everything) for part in rest for column in part.find_all(exp.Column)]
    shared = {name.name.lower() for join in query.find_all(exp.Join) for name in join.args.get("using") or []}
    read += [origins for (_, column), origins in names.items() if column in shared]
    keys = [known.columns[key] for known, named in zip(inputs, node.keys, strict=True) for key in named]
    rows = _merged([rows, _as("filter", read), _as("group", keys if query.args.get("group") else [])])
    if _multiplies(query):
        rows = _decided(rows, _merged(columns.values()))
    return _Known(columns, rows)


def _decided(rows: Origins, by: Origins) -> Origins:
    return _merged([rows, _as("filter", [by])])


def _multiplies(query: exp.Query) -> bool:
    """Whether what is selected also decides how many rows there are."""
    return bool(query.args.get("distinct")) or query.find(exp.Explode, exp.Unnest, exp.Star, exp.Columns) is not None


def _is_flat(query: exp.Query) -> bool:
    """Whether every name in it is one of a FROM item of its own, and every item of the SELECT list one column."""
    inner = next((part for part in query.find_all(exp.Query) if part is not query), None)
    stars = any(isinstance(item.unalias(), exp.Star | exp.Columns) for item in query.expressions)
    return inner is None and not stars and query.args.get("with_") is None


def _relations(query: exp.Query, names: set[str]) -> dict[str, str]:
    """What FROM calls the inputs, in lower case."""
    tables = [table for table in query.find_all(exp.Table) if table.name in names]
    return {table.alias_or_name.lower(): table.name.lower() for table in tables}


def _parts(query: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    for key, value in query.args.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, exp.Expr):
                yield key, part


def _expression(
    item: exp.Expr, relations: Mapping[str, str], names: Mapping[Column, Origins], everything: Origins
) -> Origins:
    if isinstance(item, exp.Column):
        return _lookup(item, relations, names, everything)
    how: How = "aggregation" if item.find(exp.AggFunc) is not None else "transformation"
    beside = {
        id(column)
        for window in item.find_all(exp.Window)
        for key, part in _parts(window)
        if key != "this"
        for column in part.find_all(exp.Column)
    }
    read = [(column, _lookup(column, relations, names, everything)) for column in item.find_all(exp.Column)]
    values = [origins for column, origins in read if id(column) not in beside]
    bounds = [origins for column, origins in read if id(column) in beside]
    return _merged([_as(how, values), _as("window", bounds)])


def _lookup(
    column: exp.Column, relations: Mapping[str, str], names: Mapping[Column, Origins], everything: Origins
) -> Origins:
    relation = relations.get(column.table.lower()) if column.table else None
    if relation is None and not column.table and len(relations) == 1:
        relation = next(iter(relations.values()))
    return names.get((relation or "", column.name.lower()), everything)


def _as(how: How, read: Iterable[Origins]) -> Origins:
    """Origins at one remove: what made the values now has a part in what is made of them."""
    made: Origins = {}
    for origins in read:
        for column, before in origins.items():
            weaker = how not in DIRECT or before not in DIRECT or _STRENGTH[before] < _STRENGTH[how]
            _note(made, column, (how if before in DIRECT or how not in DIRECT else before) if weaker else before)
    return made


def _merged(parts: Iterable[Origins]) -> Origins:
    merged: Origins = {}
    for part in parts:
        for column, how in part.items():
            _note(merged, column, how)
    return merged


def _note(origins: Origins, column: Column, how: How) -> None:
    known = origins.get(column)
    if known is None or _STRENGTH[how] > _STRENGTH[known]:
        origins[column] = how


__all__ = ["DIRECT", "Column", "How", "Origins", "QueryLineage", "lineage"]
