"""What aggregates keep per group: exact, whatever comes and goes, and written in proportion to what changes."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.engine.view import View
from headwater.sql.prelude import connect

FLOATS = pa.schema([("k", pa.int64()), ("x", pa.float64())])
doubles = st.one_of(
    st.floats(), st.sampled_from([1e17, 1.0, -1e17, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, math.inf]),
    st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
)  # fmt: skip


def rounded(values: Sequence[float]) -> float | None:
    """The double nearest to the sum of the values."""
    if not values:
        return None
    special = sum(value for value in values if not math.isfinite(value))
    if special != 0:
        return special
    try:
        return float(sum(map(Fraction, values)))
    except OverflowError:
        return math.inf if sum(map(Fraction, values)) > 0 else -math.inf


def same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def table(rows: Sequence[tuple[int, float]], weights: Sequence[int]) -> pa.Table:
    columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(FLOATS)]
    return pa.Table.from_arrays([*columns, pa.array(weights, pa.int64())], names=["k", "x", "_weight"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_float_sums_are_those_of_what_is_there_correctly_rounded(data: st.DataObject) -> None:
    view = View("SELECT k, sum(x) AS s, avg(x) AS m FROM t GROUP BY k", {"t": FLOATS})
    held: Counter[tuple[int, bytes]] = Counter()
    for _ in range(data.draw(st.integers(1, 4))):
        given_rows = data.draw(st.lists(st.tuples(st.integers(0, 1), doubles), max_size=8))
        there = [(k, struct.unpack("<d", bits)[0]) for (k, bits), n in held.items() for _ in range(n)]
        gone = data.draw(st.lists(st.sampled_from(range(len(there))), unique=True)) if there else []
        rows = [*given_rows, *(there[i] for i in gone)]
        view.apply({"t": table(rows, [1] * len(given_rows) + [-1] * len(gone))})
        for (k, x), weight in zip(rows, [1] * len(given_rows) + [-1] * len(gone), strict=True):
            held[k, struct.pack("<d", x)] += weight
        result = {row["k"]: row for row in view.result().to_pylist()}
        for key in (0, 1):
            values = [struct.unpack("<d", b)[0] for (k, b), n in held.items() for _ in range(n) if k == key]
            wanted = rounded(values)
            assert same(result[key]["s"] if key in result else None, wanted), (values, result)
            if wanted is not None:
                assert same(result[key]["m"], wanted / len(values)), (values, result)


def test_a_float_taken_back_leaves_nothing_behind() -> None:
    view = View("SELECT sum(x) AS s FROM t", {"t": FLOATS})
    view.apply({"t": table([(0, 1e17), (0, 1.0)], [1, 1])})
    view.apply({"t": table([(0, 1e17)], [-1])})
    assert view.result().to_pylist() == [{"s": 1.0}]
    view.apply({"t": table([(0, math.inf), (0, math.nan), (0, -math.inf), (0, 1e300)], [1, 1, 1, 1])})
    assert math.isnan(view.result().to_pylist()[0]["s"])
    view.apply({"t": table([(0, math.nan), (0, -math.inf)], [-1, -1])})
    assert view.result().to_pylist() == [{"s": math.inf}]
    view.apply({"t": table([(0, math.inf), (0, 1e300), (0, 1.0)], [-1, -1, -1])})
    assert view.result().to_pylist() == [{"s": None}]


def test_of_equals_the_first_that_came_stays() -> None:
    schema = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("s", pa.string())])
    sql = (
        "SELECT k, arg_max(s, v) AS a, arg_min(s, v) AS b, max_by(v, s[1]) AS c, any_value(s) AS d, first(s) AS e,"
        " last(s) AS f, first(s) FILTER (WHERE v > 1) AS g FROM t GROUP BY k"
    )
    view = View(sql, {"t": schema}, append_only=["t"])
    rng, oracle = np.random.default_rng(5), connect()
    parts = []
    for number in range(6):
        values = [None if rng.random() < 0.2 else f"{rng.choice(list('abc'))}{number}.{i}" for i in range(40)]
        columns = [pa.array(rng.integers(0, 5, 40)), pa.array(rng.integers(0, 4, 40)), pa.array(values, pa.string())]
        parts.append(pa.Table.from_arrays(columns, schema=schema))
        view.apply({"t": parts[-1]})
        whole = pa.concat_tables(parts)
        oracle.register("t", whole)
        wanted = oracle.sql(f"{sql} ORDER BY k").to_arrow_table().to_pylist()
        assert sorted(view.result().to_pylist(), key=lambda row: row["k"]) == wanted


ROWS = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("s", pa.string())])
KEPT = (
    "SELECT k, sum(v) AS a, count(DISTINCT v) AS b, min(v) AS c, max(s) AS d, median(v) AS e, sum(v::DOUBLE) AS f"
    " FROM t GROUP BY k"
)


def batch(count: int, groups: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 50_000, count)
    return pa.table(
        {"k": rng.integers(0, groups, count), "v": numbers, "s": pa.array(numbers.astype(str))}, schema=ROWS
    )


def written(folder: Path) -> int:
    """Bytes in files that are no other checkpoint's."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.stat().st_nlink == 1)


def test_a_checkpoint_writes_what_changed_even_of_one_large_group(tmp_path: Path) -> None:
    for groups in (1, 20_000):
        view = View(KEPT, {"t": ROWS})
        view.apply({"t": batch(100_000, groups, 1)})
        first, second = tmp_path / f"{groups}-1", tmp_path / f"{groups}-2"
        view.checkpoint(first)
        whole = written(first)
        view.apply({"t": batch(20, groups, 2)})
        view.checkpoint(second, first)
        assert written(second) < min(60_000, whole)
        again = View.restore(second, KEPT, {"t": ROWS})
        more = batch(500, groups, 3)
        taken = more.append_column("_weight", pa.array([-1] * 500))
        for change in (more, taken):
            assert sorted(map(str, view.apply({"t": change}).to_pylist())) == sorted(
                map(str, again.apply({"t": change}).to_pylist())
            )
