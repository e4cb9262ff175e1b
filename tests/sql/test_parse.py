"""What a model reads, and what is no model."""

from __future__ import annotations

import pytest

from headwater.errors import SqlError
from headwater.sql.parse import tables_of


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT 1", []),
        ("FROM Orders", ["Orders"]),
        ("SELECT * FROM a, b JOIN a AS x ON true", ["a", "b"]),
        ("SELECT * FROM tumble(payments, paid_at, INTERVAL 1 MINUTE)", ["payments"]),
        (
            "WITH x AS (FROM a), y AS (FROM x JOIN b ON true) FROM y, HOP(x, t, INTERVAL 1 DAY, INTERVAL 2 DAY)",
            ["a", "b"],
        ),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r", []),
        ("SELECT (SELECT max(x) FROM c) FROM a WHERE EXISTS (FROM b) AND k IN (SELECT k FROM d)", ["c", "a", "b", "d"]),
        ("SELECT * FROM (SELECT * FROM a UNION SELECT * FROM b) AS q, range(3), unnest([1])", ["a", "b"]),
        ('SELECT * FROM "Odd name"; -- done', ["Odd name"]),
    ],
)
def test_tables_of(sql: str, names: list[str]) -> None:
    assert sorted(tables_of(sql)) == sorted(names)


@pytest.mark.parametrize(
    ("sql", "place", "message"),
    [
        ("SELECT a\nFROM frm x y", "m.sql:11:12", "syntax error"),
        ("SELECT 1; SELECT 2", "m.sql:10:1", "2 statements"),
        ("", "m.sql:10:1", "0 statements"),
        ("DELETE FROM t", "m.sql:10:1", "not DELETE"),
        ("SELECT 'a", "m.sql:10:1", "cannot be read"),
    ],
)
def test_no_model(sql: str, place: str, message: str) -> None:
    with pytest.raises(SqlError, match=message) as caught:
        tables_of(sql, file="m.sql", first_line=10)
    assert str(caught.value.place) == place
