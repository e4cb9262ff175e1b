"""Order keys compare as DuckDB's ORDER BY does, for every type, direction and place of NULL."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from headwater.engine.order_key import OrderKey
from headwater.engine.session import Session
from headwater.sql.plan import Column, Node, Ordering
from headwater.sql.prelude import shared

ENUM = "ENUM('z', 'a')"
VALUES = {
    "BOOLEAN": ("true", "false"),
    "TINYINT": ("-128", "-1", "0", "127"),
    "INTEGER": ("-2147483648", "-1", "0", "5", "2147483647"),
    "UINTEGER": ("0", "5", "4294967295"),
    "BIGINT": ("-9223372036854775808", "-1", "0", "5", "9223372036854775807"),
    "UBIGINT": ("0", "5", "18446744073709551615"),
    "HUGEINT": ("-99999999999999999999999999999", "-1", "0", "7", "18446744073709551617"),
    "FLOAT": ("-1.5", "0", "-0.0", "2.25", "'nan'", "'inf'", "'-inf'"),
    "DOUBLE": ("-1.5", "0", "-0.0", "1e300", "5e-324", "'nan'", "'inf'", "'-inf'"),
    "DECIMAL(9,2)": ("-7.10", "0", "1.25", "9999999.99"),
    "DECIMAL(38,3)": ("-70000000000000000000000.10", "-1", "0", "1.25", "90000000000000000000000.001"),
    "DATE": ("'1960-01-01'", "'2024-05-01'", "'infinity'", "'-infinity'"),
    "TIMESTAMP": ("'1960-01-01 00:00:00.5'", "'2024-05-01 12:00:00'", "'infinity'"),
    "TIMESTAMP WITH TIME ZONE": ("'1960-01-01 00:00:00.5+00'", "'2024-05-01 12:00:00+00'"),
    "TIME": ("'00:00:00'", "'23:59:59.999999'"),
    "VARCHAR": ("''", "'a'", "'a' || chr(1)", "'abcdefghijkl'", "'abcdefghijkm'", "'ü'", "'B'", "'abcdefg'"),
    "BLOB": (r"'\x00'", r"'\x00\x00'", r"'\xFF'", "''"),
    "INTEGER[]": ("[]", "[1]", "[1, 2]", "[NULL]", "[2]"),
    "STRUCT(a INTEGER, b VARCHAR)": ("{'a': 1, 'b': 'x'}", "{'a': 1, 'b': NULL}", "{'a': 0, 'b': 'z'}"),
    "INTERVAL": (
        "INTERVAL 1 MONTH",
        "INTERVAL 31 DAY",
        "INTERVAL 1 SECOND",
        "INTERVAL '-1' DAY",
        "INTERVAL '1 month -3 days'",
    ),
    ENUM: ("'a'", "'z'"),
    "UUID": ("'00000000-0000-0000-0000-000000000001'", "'ffffffff-0000-0000-0000-000000000001'"),
}


def ordered(key: OrderKey, rows: pa.Table) -> list[tuple[int, ...]]:
    """Each row's words and tail as one tuple."""
    words = key.words(rows).reshape(rows.num_rows, key.width).tolist()
    if not key.has_tails:
        return [tuple(row) for row in words]
    tails = key.tails(rows.select(key.tail_columns))
    parts = np.split(tails.words, tails.offsets[1:-1])
    return [(*row, *part.tolist()) for row, part in zip(words, parts, strict=True)]


def check(types: list[str], seed: int) -> None:
    rng = random.Random(seed)
    orderings = [Ordering(f"c{i}", rng.random() < 0.5, rng.random() < 0.5) for i in range(len(types))]
    listed = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
    wanted = ", ".join(f"c{i} {o.sql}" for i, o in enumerate(orderings))
    connection = shared("oracle")
    connection.execute(f"CREATE TEMP TABLE t ({listed})")
    values = []
    for _ in range(60):
        row = [rng.choice((*VALUES[kind], "NULL")) for kind in types]
        values.append(f"({', '.join(f'CAST({v} AS {k})' for v, k in zip(row, types, strict=True))})")
    connection.execute(f"INSERT INTO t VALUES {', '.join(values)}")
    rows = connection.sql(f"SELECT *, dense_rank() OVER (ORDER BY {wanted}) AS place FROM t").to_arrow_table()
    columns = tuple(
        Column(f"c{i}", kind, rows.schema.field(i).type, kind not in ("HUGEINT", ENUM)) for i, kind in enumerate(types)
    )
    node = Node("n", columns, (), "rows")
    rows = pa.concat_tables([rows.slice(0, 7), rows.slice(7)])
    for count in range(len(types) + 1):
        key = OrderKey(orderings, node, Session(), wanted=count)
        found = ordered(key, rows.slice(3))
        places = {place: row for row, place in sorted(zip(found, rows.column("place").to_pylist()[3:], strict=True))}
        assert len(set(found)) == len(places), (types, orderings, count)
        assert [places[place] for place in sorted(places)] == sorted(set(found)), (types, orderings, count)


@pytest.mark.parametrize("kind", VALUES)
def test_one_column(kind: str) -> None:
    for seed in range(4):
        check([kind], seed)


@pytest.mark.parametrize("seed", range(30))
def test_several_columns(seed: int) -> None:
    rng = random.Random(seed)
    check([rng.choice(list(VALUES)) for _ in range(rng.randrange(2, 5))], seed)


def test_without_nulls_a_bigint_is_one_word() -> None:
    node = Node("n", (Column("c", "BIGINT", pa.int64()),), (), "rows")
    assert OrderKey([Ordering("c")], node, Session()).width == 2
    key = OrderKey([Ordering("c", descending=True)], node, Session(), nulls=False)
    assert key.width == 1
    assert np.argsort(key.words(pa.table({"c": [3, -5, 4]}))).tolist() == [2, 0, 1]
