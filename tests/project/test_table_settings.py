"""What settings say of tables: mistakes with their place and mend, and what a plan makes of a change."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from headwater.errors import ProjectError
from headwater.project import load
from headwater.project.check import check
from headwater.project.plan import plan
from headwater.project.recorded import describe
from headwater.schema import StreamSchema

ORDERS = StreamSchema(
    "orders", pa.schema([("id", pa.int64()), ("at", pa.timestamp("us")), ("total", pa.float64())]), ("id",), "upsert"
)
LINES = StreamSchema("lines", pa.schema([("n", pa.int64()), ("is_current", pa.bool_())]))


def project(folder: Path, orders: str, lines: str = "{}", front: str = "owner: ann"):
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "totals.sql").write_text(f"/*\n{front}\n*/\nSELECT id, total FROM orders")
    (folder / "headwater.yml").write_text(f"""\
name: shop
sources:
  shop:
    type: postgres
    url: postgresql://nowhere/shop
    streams:
      orders: {orders}
      lines: {lines}
""")
    return load(folder, environment={})


def mistakes_of(folder: Path, orders: str, lines: str = "{}", front: str = "owner: ann"):
    with pytest.raises(ProjectError) as caught:
        check(project(folder, orders, lines, front), [ORDERS, LINES])
    return [(one.message, one.place.line, one.hint) for one in caught.value.mistakes]


@pytest.mark.parametrize(
    ("orders", "lines", "said", "mend"),
    [
        ("{table: {partition: week(at)}}", "{}", "expected a column, or one of year", ""),
        ("{table: {partition: day(id)}}", "{}", "day cannot be taken of the column 'id'", "timestamps or dates"),
        ("{table: {partition: [nope]}}", "{}", "no column 'nope'", "its columns are id, at, total"),
        ("{table: {sort: id sideways}}", "{}", "expected a column, with asc or desc", ""),
        ("{table: {kind: append}}", "{}", "updated and deleted", "kind: changelog"),
        ("{table: {kind: changelog, dropped: remove}}", "{}", "dropped: remove is for mirrors", "leave `dropped` out"),
        ("{table: {kind: historic}}", "{}", "kind: expected", "did you mean 'history'"),
        ("{table: {kind: history, deletes: soft}}", "{}", "deletes: soft is for mirrors", "leave `deletes` out"),
        ("{tables: {lines: {kind: history}}}", "{}", "has the name of the stream 'lines'", "give it a name"),
        ("{tables: {totals: {kind: history}}}", "{}", "has the name of the model 'totals'", "give it a name"),
        ("{}", "{table: {kind: history}}", "a history needs a key", "kind: changelog"),
        ("{}", "{table: {deletes: soft}}", "a mirror with soft deletes needs a key", "kind: changelog"),
    ],
)
def test_mistakes_are_told_with_their_place_and_mend(tmp_path: Path, orders, lines, said, mend) -> None:
    try:
        found = mistakes_of(tmp_path, orders, lines)
    except ProjectError as error:
        found = [(one.message, one.place.line, one.hint) for one in error.mistakes]
    assert any(said in message and mend in hint for message, _, hint in found), found
    assert {line for _, line, _ in found} == {7 if orders != "{}" else 8}


def test_a_column_of_ours_is_told(tmp_path: Path) -> None:
    keyed = StreamSchema("lines", LINES.columns, ("n",), "upsert")
    with pytest.raises(ProjectError) as caught:
        check(project(tmp_path, "{}", "{table: {kind: history}}"), [ORDERS, keyed])
    assert [one.message for one in caught.value.mistakes] == ["a history needs the name 'is_current' for itself"]


def test_a_models_tables_are_checked_where_they_stand(tmp_path: Path) -> None:
    found = mistakes_of(tmp_path, "{}", front="tables:\n  totals_log:\n    kind: changelog\n    sort: [total, nope]")
    assert [(message, line) for message, line, _ in found] == [("the table has no column 'nope'", 5)]


def test_what_is_right_passes(tmp_path: Path) -> None:
    orders = """{table: {deletes: soft, partition: ["day(at)", "bucket(8, id)"], sort: at desc, bloom: id},
      tables: {orders_history: {kind: history, partition: [is_current, month(valid_from)]},
               orders_log: {kind: changelog, sort: [change_commit, change_ordinal]}}}"""
    check(project(tmp_path, orders, front="table: {kind: history}"), [ORDERS, LINES])


def items(folder, before, now, front=("owner: ann", "owner: ann")):
    recorded = describe(project(folder, before, front=front[0]), [ORDERS, LINES])
    found = plan(project(folder, now, front=front[1]), recorded, [ORDERS, LINES])
    return {item.name: (item.consequence, item.reason) for item in found.changes if item.kind == "table"}


def test_a_plan_shows_what_other_settings_of_a_table_mean(tmp_path: Path) -> None:
    kind = items(tmp_path, "{}", "{table: {kind: history}}")
    assert kind["orders"][0] == "refuse" and "it was made as mirror and is to be history" in kind["orders"][1]
    layout = items(tmp_path, "{}", "{table: {partition: day(at)}}")
    assert layout["orders"] == (
        "relayout",
        "its layout was none and is now partition: day(at): new files only; headwater maintain",
    )
    more = items(tmp_path, "{}", "{tables: {orders_history: {kind: history}}}")
    assert more == {"orders_history": ("create", "it is not in the lake yet")}


def test_a_models_tables_are_no_part_of_what_it_computes(tmp_path: Path) -> None:
    found = items(tmp_path, "{}", "{}", ("owner: ann", "tables: {totals_history: {kind: history}}"))
    assert found == {"totals_history": ("create", "it is not in the lake yet")}
    rebuilt = items(tmp_path, "{}", "{}", ("table: {kind: changelog}", "table: {kind: changelog}\nlateness: 5 s"))
    assert rebuilt["totals"] == ("compare", "its model is rebuilt: what is different then is one more change")


@pytest.mark.parametrize("part", ["partition", "sort", "bloom"])
def test_a_layout_is_for_iceberg(tmp_path: Path, part: str) -> None:
    project(tmp_path, f"{{table: {{{part}: id}}}}")
    (tmp_path / "headwater.yml").open("a").write("lake: {type: delta}\n")
    with pytest.raises(ProjectError) as caught:
        check(load(tmp_path, environment={}), [ORDERS, LINES])
    (mistake,) = caught.value.mistakes
    assert f"`{part}` is for Iceberg tables" in mistake.message
    assert mistake.place.line == 7
