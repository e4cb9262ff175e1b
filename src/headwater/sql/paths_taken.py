"""Which fast paths a node of the plan takes: that of its rule, and those of what is inside it."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from headwater.sql.join_plan import Join
from headwater.sql.plan import MOMENTS, Accumulator, Aggregate, Linear, Node, Scan, Windowed

_SUMS = ("sum", "avg", "fsum", "favg")
_BY_KIND = {
    **dict.fromkeys(("min", "max", "arg_min", "arg_max", "any_value", "first", "last"), "extremes"),
    **dict.fromkeys(("quantile_cont", "quantile_disc"), "quantiles"),
    **dict.fromkeys(MOMENTS, "moments"),
    "mode": "modes",
}


def paths_taken(node: Node) -> tuple[str, ...]:
    """Names of `headwater.sql.fast_paths.FAST_PATHS`, each once, that of the node's rule first."""
    return tuple(dict.fromkeys(name for name in _paths(node) if name))


def _paths(node: Node) -> Iterator[str]:
    yield node.fast
    match node:
        case Scan(append_only=True):
            yield "append_only"
        case Linear() if node.formulas:
            yield "plain_values"
        case Windowed() if node.even is not None:
            yield "even_windows"
        case Join() if node.ceiling is not None:
            yield "join_extremes"
        case Aggregate():
            floats = {c.name for c in node.inputs[0].columns if pa.types.is_floating(c.arrow)}
            for call in node.accumulators:
                yield from _of_call(call, floats)
            yield "hop_panes" if node.hop is not None else ""
            yield "time_keys" if node.cut else ""


def _of_call(call: Accumulator, floats: set[str]) -> Iterator[str]:
    yield _BY_KIND.get(call.kind, "")
    yield "float_sums" if call.kind in _SUMS and call.argument in floats else ""
    yield "distinct" if call.distinct else ""
