"""SQL through the API: rows, plans, names for completion; models tried and saved. Answers are of their shapes."""

import json
import os
from pathlib import Path

import pytest

from headwater.console.shapes import models as model_shapes
from headwater.console.shapes import sql as shapes


def shaped(shape, answer):
    """An answer, which has the shape that the document says."""
    return shape.model_validate_json(json.dumps(answer).replace('"from":', '"source":'))


def statements(folder):
    """All files of SQL with their content; folders may go meanwhile, as the project runs."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names if name.endswith(".sql")]
    return {path: path.read_bytes() for path in found}


def test_a_select_is_answered(console):
    answer = console.post("/v1/sql", {"sql": "SELECT id, amount FROM orders ORDER BY id"})
    assert [column["name"] for column in answer["columns"]] == ["id", "amount"]
    assert answer["rows"][0] == [1, "10"]
    assert "as of" in answer["note"]
    assert not shaped(shapes.SqlAnswer, answer).truncated


def test_every_value_survives_json(console):
    answer = console.post("/v1/sql", {"sql": """
        SELECT 9007199254740993, 1, 1.50::DECIMAL(10, 2), 'nan'::DOUBLE, TIMESTAMP '2026-11-22 03:04:05.678',
               DATE '2026-11-22', 'a'::BLOB, [1, NULL], {'a': 'x'}, NULL, true, TIMESTAMP 'infinity'"""})  # fmt: skip
    assert answer["rows"] == [[
        "9007199254740993", 1, "1.50", "nan", "2026-11-22 03:04:05.678000", "2026-11-22", "YQ==", [1, None],
        {"a": "x"}, None, True, "infinity",
    ]]  # fmt: skip


def test_no_more_rows_than_asked_for(console):
    answer = console.post("/v1/sql", {"sql": "SELECT * FROM range(1000000000000)", "limit": 3})
    assert (answer["rows"], answer["truncated"]) == ([[0], [1], [2]], True)
    assert not console.post("/v1/sql", {"sql": "SELECT * FROM range(3)", "limit": 3})["truncated"]


def test_no_more_bytes_than_allowed(console):
    answer = console.post("/v1/sql", {"sql": "SELECT repeat('x', 30000) FROM range(10000)"})
    assert answer["truncated"]
    assert 100 < len(answer["rows"]) < 300


def test_the_past_can_be_asked_for(console):
    assert "epoch 1" in console.post("/v1/sql", {"sql": "SELECT * FROM orders", "at": "epoch 1"})["note"]


@pytest.mark.parametrize(
    ("sql", "line", "column", "says"),
    [
        ("SELECT id\nFROM orders\nWHERE stautus = 1", 3, 7, "stautus"),
        ("SELECT\n  nope(id) FROM orders", 2, 3, "nope"),
        ("SELECT id FRM orders WHERE", 1, 15, "syntax error"),
    ],
)
def test_a_mistake_is_told_with_its_place(console, sql, line, column, says):
    problem = console.post("/v1/sql", {"sql": sql}, status=400)
    assert says in problem["detail"]
    assert (problem["line"], problem["column"]) == (line, column)


def test_a_plan_is_a_graph(console):
    plan = console.post("/v1/sql/explain", {"sql": "SELECT status, count(*) FROM orders GROUP BY status"})
    shaped(shapes.SqlPlan, plan)
    known = {node["id"] for node in plan["nodes"]}
    assert len(plan["nodes"]) == len(plan["edges"]) + 1 >= 2
    assert all({edge["from"], edge["to"]} <= known for edge in plan["edges"])


def test_names_for_completion(console):
    names = console.get("/v1/sql/names")
    shaped(shapes.Names, names)
    assert {"name": "id", "type": "BIGINT"} in names["tables"]["orders"]
    assert {"sum", "tumble"} <= set(names["functions"])
    assert "select" in names["keywords"]


def test_a_model_is_tried_on_live_data(console):
    answer = console.post("/v1/models/preview", {"sql": "SELECT status, count(*) AS n FROM orders GROUP BY status"})
    shaped(model_shapes.ModelPreview, answer)
    assert (answer["reads"], answer["key"], answer["problems"]) == (["orders"], ["status"], [])
    assert any("aggregate" in one["operator"] for one in answer["incremental"])
    assert [column["name"] for column in answer["columns"]] == ["status", "n"]
    assert answer["rows"]


def test_a_models_mistakes_have_their_places(console):
    sql = "/*\nkey: nope\n*/\nSELECT id FROM orders"
    (mistake,) = console.post("/v1/models/preview", {"sql": sql})["problems"]
    assert (mistake["level"], mistake["line"]) == ("fail", 2)
    (mistake,) = console.post("/v1/models/preview", {"sql": "SELECT id,\n  idd FROM orders"})["problems"]
    assert (mistake["line"], mistake["column"], mistake["hint"]) == (2, 3, "did you mean id?")


def test_a_model_is_saved_and_changed(console):
    text = "SELECT id FROM orders\r\nWHERE id > 1"
    saved = console.http.put("/v1/models/large_orders", json={"sql": text})
    assert saved.status_code == 200, saved.text
    path = console.shop.project.folder / "models" / "large_orders.sql"
    assert path.read_bytes().decode() == text
    read = console.get("/v1/models/large_orders")
    assert (read["sql"], read["digest"], read["path"]) == (text, saved.json()["digest"], "models/large_orders.sql")
    for digest in (None, "another"):
        refused = console.http.put(
            "/v1/models/large_orders", json={"sql": "SELECT 1 AS x FROM orders", "digest": digest}
        )
        assert (refused.status_code, refused.json()["digest"]) == (409, read["digest"])
    wrong = console.http.put("/v1/models/large_orders", json={"sql": "SELECT x FROM orders", "digest": read["digest"]})
    assert (wrong.status_code, wrong.json()["problems"][0]["line"]) == (400, 1)
    assert path.read_bytes().decode() == text
    again = console.http.put("/v1/models/large_orders", json={"sql": "SELECT id FROM orders", "digest": read["digest"]})
    assert again.status_code == 200, again.text
    path.unlink()


@pytest.mark.parametrize("name", ["Up", "1a", "a-b", "..", "%2e%2e%2fx", "a%00b", "a.sql", "x" * 300, "orders"])
def test_a_name_that_is_none_is_refused(console, name):
    before = statements(console.shop.project.folder)
    refused = console.http.put(f"/v1/models/{name}", json={"sql": "SELECT id FROM orders"})
    assert refused.status_code in (400, 404, 405), refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert before
    assert statements(console.shop.project.folder) == before


def test_a_model_is_not_written_through_a_link(console, tmp_path):
    outside = tmp_path / "outside.sql"
    outside.write_text("SELECT id FROM orders")
    link = console.shop.project.folder / "models" / "linked.sql"
    link.symlink_to(outside)
    try:
        assert console.http.get("/v1/models/linked").status_code == 403
        assert console.http.put("/v1/models/linked", json={"sql": "SELECT 1 AS x FROM orders"}).status_code == 403
        assert outside.read_text() == "SELECT id FROM orders"
    finally:
        link.unlink()
