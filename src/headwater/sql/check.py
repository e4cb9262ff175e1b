"""All that can be wrong with a model's SELECT, each mistake with its place, before a row has been seen."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa
from sqlglot import exp

from headwater.errors import Place, SqlError
from headwater.sql.bind import Binder
from headwater.sql.compile import compile_plan
from headwater.sql.expressions import CannotDecompose
from headwater.sql.fast_paths import DEFAULT, Options
from headwater.sql.functions import Function
from headwater.sql.last_resort import last_resorts
from headwater.sql.parse import parse, stream_name, without_end, without_places
from headwater.sql.plan import Gate, Plan, Windowed
from headwater.sql.refuse import Refusal, refusals
from headwater.sql.window_plan import Expiring

RESERVED = frozenset({"_weight", "_origin"})


@dataclass(frozen=True)
class Analysis:
    """What is known of a model before it runs.

    Attributes:
        mistakes: everything found wrong; with any, there is no plan.
        plan: how it is to be maintained.
        columns: the result's columns.
        key: the key given, else the one inferred; () for a multiset.
    """

    mistakes: tuple[SqlError, ...]
    plan: Plan | None = None
    columns: pa.Schema | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceText:
    """A SELECT and where it stands.

    Attributes:
        sql: the text.
        file: what to call it in errors.
        first_line: the line of the file on which it begins.
    """

    sql: str
    file: str = "<sql>"
    first_line: int = 1

    def place(self, offset: int = 0) -> Place:
        """The place of a character."""
        before = self.sql[:offset]
        return Place(self.file, self.first_line + before.count("\n"), offset - (before.rfind("\n") + 1) + 1)


def check(
    sql: str,
    inputs: Mapping[str, pa.Schema],
    *,
    key: Sequence[str] = (),
    options: Options = DEFAULT,
    functions: Iterable[Function] = (),
    file: str = "<sql>",
    first_line: int = 1,
) -> Analysis:
    """Parses, binds and plans a model's SELECT.

    Args:
        sql: one SELECT in DuckDB's dialect.
        inputs: what it may read, by name.
        key: columns said to identify a row of the result.
        options: what the planner may do; emit `final` needs a time window to wait for.
        functions: functions that it may call, besides DuckDB's.
        file: what to call the text in errors.
        first_line: the line of `file` on which `sql` begins.
    """
    source, own = SourceText(sql, file, first_line), tuple(functions)
    if own:
        return _checked(source, inputs, tuple(key), options, own)
    # Field metadata, which says what an unknown extension type is, does not count when schemas are compared.
    given = tuple((name, schema.serialize().to_pybytes()) for name, schema in inputs.items())
    try:
        return _sound(source, given, tuple(key), options)
    except _Mistaken as mistaken:
        return mistaken.analysis


class _Mistaken(Exception):
    """An analysis that is not to be remembered: an exception holds on to all that was there when it was raised."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis


@lru_cache(64)
def _sound(
    source: SourceText, inputs: tuple[tuple[str, bytes], ...], key: tuple[str, ...], options: Options
) -> Analysis:
    """`_checked`, once for a model that is checked, run and restored in one process. Plans are never changed."""
    schemas = {name: pa.ipc.read_schema(pa.py_buffer(schema)) for name, schema in inputs}
    analysis = _checked(source, schemas, key, options, ())
    if analysis.mistakes:
        raise _Mistaken(analysis)
    return analysis


def forget() -> None:
    """Has everything be planned anew: for tests that change how."""
    _sound.cache_clear()


def _checked(
    source: SourceText,
    inputs: Mapping[str, pa.Schema],
    key: tuple[str, ...],
    options: Options,
    functions: tuple[Function, ...],
) -> Analysis:
    try:
        query = parse(source.sql, file=source.file, first_line=source.first_line)
    except SqlError as mistake:
        return Analysis((mistake,))
    binder = Binder(inputs, functions)
    found = [*_reserved(inputs, source), *_unknown_tables(query, inputs, source)]
    found += [_refused(refusal, source) for refusal in refusals(query, binder, source.sql)]
    if found:
        return Analysis(tuple(found))
    try:
        names = binder.bind(without_end(source.sql))
    except duckdb.Error as error:
        return Analysis((translate(error, source),))
    return _planned(query, names, binder, source, key, options)


def _planned(
    query: exp.Query, names: Sequence[str], binder: Binder, source: SourceText, key: Sequence[str], options: Options
) -> Analysis:
    """The analysis of a SELECT that DuckDB has bound, with these column names."""
    found = [*_repeated(names, source), *_missing_key(key, names, source), *_no_time(binder, source, options)]
    if found:
        return Analysis(tuple(found))
    without_places(query)
    try:
        plan = compile_plan(query, names, binder, options)
    except CannotDecompose as why:
        return Analysis((SqlError(f"this query cannot be maintained: {why}", place=source.place()),))
    except pa.ArrowNotImplementedError as why:
        hint = "take the column apart: union_tag, union_extract, or a struct"
        message = f"a column has a type that cannot be kept: {why}"
        return Analysis((SqlError(message, hint=hint, place=source.place()),))
    found = list(_not_final(plan, source)) if options.emit == "final" else []
    found += _never_expire(plan, source)
    found += _last_resorts(plan, source) if options.recompute == "refused" else []
    return Analysis(tuple(found), None if found else plan, plan.root.schema, tuple(key) or plan.key)


def _reserved(inputs: Mapping[str, pa.Schema], source: SourceText) -> Iterator[SqlError]:
    for name, schema in inputs.items():
        for column in schema.names:
            if column.lower() in RESERVED:
                hint = f"rename the column {column} where {name} is read in"
                yield SqlError(
                    f"{name} has a column {column}, a name that Headwater uses", hint=hint, place=source.place()
                )


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint with the nearest names; the list of all if none is near and they are few."""
    given = list(dict.fromkeys(candidates))
    lower = {candidate.lower(): candidate for candidate in given}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), n=2, cutoff=0.6)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(given)}" if 0 < len(given) <= 20 else ""


def _unknown_tables(query: exp.Query, inputs: Mapping[str, pa.Schema], source: SourceText) -> Iterator[SqlError]:
    known = {name.lower() for name in inputs}
    for table, ctes in _tables(query, frozenset()):
        name = stream_name(table)
        if name and name.lower() not in known | ctes:
            offset = _offset(table, source.sql, name)
            hint = did_you_mean(name, [*inputs, *sorted(ctes)])
            yield SqlError(f"there is no stream or model {name!r}", hint=hint, place=source.place(offset))


def _tables(node: exp.Expr, ctes: frozenset[str]) -> Iterator[tuple[exp.Table, frozenset[str]]]:
    """Every FROM item with the names of the CTEs that it can see."""
    with_ = node.args.get("with_")
    if isinstance(with_, exp.With):
        for cte in with_.expressions:
            name = cte.alias.lower()
            yield from _tables(cte.this, ctes | {name} if with_.args.get("recursive") else ctes)
            ctes = ctes | {name}
    if isinstance(node, exp.Table):
        yield node, ctes
    for child in node.iter_expressions():
        if child is not with_:
            yield from _tables(child, ctes)


def _offset(table: exp.Table, sql: str, name: str) -> int:
    function = table.this
    named = function.expressions[0] if isinstance(function, exp.Anonymous) else function
    for part in (named.this if isinstance(named, exp.Column) else named, named):
        if isinstance(part, exp.Expr) and "start" in part.meta:
            return int(part.meta["start"])
    return max(0, sql.lower().find(name.lower()))


def _refused(refusal: Refusal, source: SourceText) -> SqlError:
    return SqlError(refusal.message, hint=refusal.hint, place=source.place(refusal.offset))


def translate(error: duckdb.Error, source: SourceText) -> SqlError:
    """DuckDB's error (with `errors_as_json`) as ours, with its place and the names that are near."""
    text = str(error)
    start = text.find("{")
    try:
        detail = json.loads(text[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        detail = {}
    message = str(detail.get("exception_message") or text)
    first, *more = message.split("\n")
    offset = int(detail.get("position") or 0)
    return SqlError(
        _plain(first), hint=_hint(first, "\n".join(more), detail, source.sql[offset:]), place=source.place(offset)
    )


def _plain(message: str) -> str:
    return message.rstrip("!").strip() if message else "DuckDB cannot bind this query"


def _hint(first: str, more: str, detail: Mapping[str, str], rest: str) -> str:
    if "query_table" in first:
        return "put the time window first in FROM, or into a CTE or derived table of its own"
    listed = more if "andidate" in more else ""
    candidates = re.findall(r'"([^"]+)"', listed) or [c for c in str(detail.get("candidates") or "").split(",") if c]
    quoted = re.findall(r'"([^"]+)"', first)
    name = str(detail.get("name") or (quoted[-1] if quoted else "") or (re.findall(r"\w+", rest) or [""])[0])
    if re.search(r'[Ss]chema( with name)? "?\w+"? does not exist', first):
        return "name the stream alone, without a schema: streams and models have none"
    if first.startswith("No function matches"):
        return "cast the arguments to types that go together: CAST(x AS ...)"
    if candidates:
        return did_you_mean(name, [c.rpartition(".")[2] for c in candidates])
    return more.strip().replace("\n", " ")[:300]


def _repeated(names: Sequence[str], source: SourceText) -> Iterator[SqlError]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            hint = f"give one of them another name: ... AS other_{name}"
            yield SqlError(f"two columns of the result are called {name}", hint=hint, place=source.place())
        seen.add(name.lower())


def _missing_key(key: Sequence[str], names: Sequence[str], source: SourceText) -> Iterator[SqlError]:
    for column in key:
        if column not in names:
            message = f"the key names {column!r}, which is not a column of the result"
            yield SqlError(message, hint=did_you_mean(column, names), place=source.place())


def _no_time(binder: Binder, source: SourceText, options: Options) -> Iterator[SqlError]:
    """A mistake for each time to live that names no column of times."""
    for stream, name, _ in options.ttl:
        types = {column.name: column.type for column in binder.columns.get(stream, ())}
        if types and types.get(name) not in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
            message = f"the ttl of {stream} goes by {name!r}, which is no TIMESTAMP column of it"
            yield SqlError(message, hint=did_you_mean(name, types), place=source.place())


def _never_expire(plan: Plan, source: SourceText) -> Iterator[SqlError]:
    """A mistake for each time window over a stream with a time to live: closed windows stay, and their state goes."""
    for node in plan.nodes():
        for below in Plan(node).nodes() if isinstance(node, Windowed) else ():
            if isinstance(below, Expiring):
                message = f"{below.stream} has a ttl, and a time window reads it, which lets its rows go by itself"
                yield SqlError(message, hint="leave out the ttl, or the window", place=source.place())


def _last_resorts(plan: Plan, source: SourceText) -> Iterator[SqlError]:
    """A mistake for each node that has no key to work by."""
    for found in last_resorts(plan):
        streams = ", ".join(sorted({scan.stream for scan in Plan(found.node).scans().values()}))
        message = f"{found.why} leaves no key to work by: each change {found.cost} of {streams}"
        hint = "write `recompute: allowed` into the model's front matter if that is little, else see docs/models.md"
        yield SqlError(message, hint=hint, place=source.place(found.node.begins))


def _not_final(plan: Plan, source: SourceText) -> Iterator[SqlError]:
    nodes = plan.nodes()
    hint = "GROUP BY window_start, window_end over TUMBLE, HOP, CUMULATE or SESSION, or set emit: changes"
    if not any(isinstance(node, Windowed) and not node.clock for node in nodes):
        yield SqlError("emit: final needs a time window to wait for; there is none", hint=hint, place=source.place())
    elif plan.root.open or not any(isinstance(node, Gate) for node in nodes):
        message = (
            "emit: final needs rows grouped by their time window (GROUP BY or PARTITION BY window_start or window_end)"
        )
        yield SqlError(message, hint=hint, place=source.place())
