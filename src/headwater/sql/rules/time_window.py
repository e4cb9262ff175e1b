"""Time windows in FROM: TUMBLE, HOP, CUMULATE and SESSION over event time, and by the time at which rows come in."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import CannotDecompose, column, function_name, internal, text
from headwater.sql.parse import WINDOW_FUNCTIONS
from headwater.sql.plan import Even, Hop, Node, WindowColumn, Windowed
from headwater.sql.planner import Planner
from headwater.sql.prelude import ALONE, CUMULATE, HOP, HOP_LAST, PROCESSING_TIME, TUMBLE
from headwater.sql.window_plan import Session, Stamped

BOUNDS = ("window_start", "window_end")
"""The columns that a time window adds."""


def windowed(planner: Planner, function: exp.Anonymous, stream: Node) -> Node:
    """The node of a call of a window function over a stream.

    Raises:
        CannotDecompose: an argument is not what it must be.
    """
    name, arguments = function.name.lower(), function.expressions[1:]
    if len(arguments) != {"tumble": 2, "hop": 3, "cumulate": 3, "session": 3}[name]:
        raise CannotDecompose(f"{name.upper()} with {len(arguments) + 1} arguments")
    if name == "session":
        return _session(planner, stream, *arguments)
    return _aligned(planner, name, stream, arguments)


def _aligned(planner: Planner, name: str, stream: Node, arguments: Sequence[exp.Expr]) -> Node:
    clock = function_name(arguments[0]) == PROCESSING_TIME
    source = _stamped(planner, stream) if clock else stream
    time = column("s", source.names[-1] if clock else _column(stream, arguments[0], "time"))
    intervals = [text(interval) for interval in arguments[1:]]
    for interval in intervals:
        length_us(planner, interval)
    size = intervals[-1]
    template = {"tumble": TUMBLE, "hop": HOP, "cumulate": CUMULATE}[name]
    parts = {"time": text(time), "size": size, "slide": intervals[0], "step": intervals[0]}
    if name == "cumulate" and length_us(planner, size) % length_us(planner, intervals[0]):
        raise CannotDecompose("the size of CUMULATE is no multiple of its step")
    told = name != "cumulate"
    windows = {"window_start": WindowColumn("start", size, told), "window_end": WindowColumn("end", size, told)}
    title = f"{name} by {'the time of arrival' if clock else time.name} of {', '.join(intervals)}"
    even = even_windows(planner, source, time.name, intervals[0], size)
    last = None
    if name == "hop" and not clock and even is not None and even.length_us % even.step_us == 0:
        hop = Hop(even.length_us // even.step_us, even.step_us, BOUNDS)
        function = HOP_LAST.format(stream="{stream}", **parts)
        last = _windowed(planner, source, function, windows, f"{title}: the last window", even=even, hop=hop)
    node = _windowed(
        planner, source, template.format(stream="{stream}", **parts), {} if clock else windows, title,
        multiplies=name != "tumble", clock=clock, even=even, last=last,
    )  # fmt: skip
    kept = [n for n in node.names if not clock or n != source.names[-1]]
    return planner.linear(node, [(column(node.name, n), n) for n in kept])


def _windowed(
    planner: Planner, source: Node, function: str, windows: dict[str, WindowColumn], title: str, *,
    multiplies: bool = False, clock: bool = False, even: Even | None = None, hop: Hop | None = None,
    last: Windowed | None = None,
) -> Windowed:  # fmt: skip
    columns = planner.describe(function.format(stream=quote(source.name)))
    if len({c.name.lower() for c in columns}) != len(columns):
        raise CannotDecompose("the stream has a column window_start or window_end already")
    return planner.add(
        Windowed(
            planner.name(), columns, (source,), title, windows, not clock,
            function=function, multiplies=multiplies, clock=clock, even=None if multiplies else even,
            hop=hop, last=last,
        )
    )  # fmt: skip


def _stamped(planner: Planner, stream: Node) -> Node:
    """The stream with the time at which each row came in."""
    stamp = internal("stamp", 0)
    columns = planner.describe(f"SELECT *, TIMESTAMP '1970-01-01' AS {quote(stamp)} FROM {quote(stream.name)}")
    return planner.add(Stamped(planner.name(), columns, (stream,), "time of arrival", dict(stream.windows), stream.open,
                               stamp=stamp))  # fmt: skip


def _session(planner: Planner, stream: Node, key: exp.Expr, time: exp.Expr, gap: exp.Expr) -> Node:
    if function_name(time) == PROCESSING_TIME:
        raise CannotDecompose("SESSION by the time of arrival")
    parts = key.expressions if isinstance(key, exp.Tuple) else [key.unnest()]
    keys = tuple(dict.fromkeys(_column(stream, part, "key") for part in parts))
    name, gap_us = _column(stream, time, "time"), length_us(planner, text(gap))
    if next(c.type for c in stream.columns if c.name == name) not in _EXACT_TIMES:
        raise CannotDecompose(f"SESSION by a time that is no {' or '.join(_EXACT_TIMES)}")
    windows = {"window_start": WindowColumn("start", "", False), "window_end": WindowColumn("end", "", False)}
    given = {"stream": "{stream}", "time": text(column("s", name)), "gap": text(gap)}
    alone = _windowed(planner, stream, ALONE.format(**given), windows, f"time {name} and {text(gap)} more",
                      even=even_windows(planner, stream, name, "INTERVAL 1 MICROSECOND", text(gap)))  # fmt: skip
    node = Session(
        planner.name(), alone.columns, (alone,), f"session by {', '.join(keys)}, {name} of {text(gap)}", windows, True,
        keys=keys, time=name, gap_us=gap_us,
    )  # fmt: skip
    return planner.add(node)


_EXACT_TIMES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE")


def length_us(planner: Planner, interval: str) -> int:
    """The length of a constant interval in microseconds; of a month, that of January 1970.

    Raises:
        CannotDecompose: it is not constant, or not longer than nothing.
    """
    epoch = "TIMESTAMP '1970-01-01'"
    try:
        found = planner.binder.value(f"epoch_us({epoch} + {interval})")
    except duckdb.Error as error:
        raise CannotDecompose(f"{interval} is not a constant interval") from error
    if not isinstance(found, int) or found <= 0:
        raise CannotDecompose(f"the interval {interval} is not longer than nothing")
    return found


def even_windows(planner: Planner, stream: Node, time: str, step: str, length: str) -> Even | None:
    """How windows that start every `step` and are `length` long are computed without SQL; None if they cannot be:
    months are not all of one length."""
    type_ = next(c.type for c in stream.columns if c.name == time)
    if not planner.allows("even_windows") or type_ not in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        return None
    if months_in(planner, step, length):
        return None
    return Even(time, length_us(planner, step), length_us(planner, length))


def months_in(planner: Planner, *intervals: str) -> bool:
    """Whether constant intervals have months or years in them."""
    months = " + ".join(f"abs(datepart('year', {i})) + abs(datepart('month', {i}))" for i in intervals)
    return bool(planner.binder.value(months))


def _column(stream: Node, argument: exp.Expr, what: str) -> str:
    wanted = argument.name.lower()
    for name in stream.names:
        if name.lower() == wanted and isinstance(argument, exp.Column):
            return name
    raise CannotDecompose(f"the {what} {text(argument)} is not a column of what the window reads")


def is_window(function: exp.Expr) -> bool:
    """Whether a FROM item is a call of a window function."""
    return isinstance(function, exp.Anonymous) and function.name.lower() in WINDOW_FUNCTIONS
