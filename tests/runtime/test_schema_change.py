"""Streams whose columns change under a running project: the tables and models follow, or wait, and nothing is lost."""

import pyarrow as pa
import pytest
from scripted_project import inserts, lose_newest_checkpoint, run_with, wait_until

from headwater.change import Op
from headwater.errors import ProjectError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.moment import Moment
from headwater.schema import StreamSchema, with_column_id, with_default
from headwater.testing.scripted_source import scripted_group


def column(identity, name, kind=None, default=None):
    field = with_column_id(pa.field(name, kind or pa.string()), identity)
    return field if default is None else with_default(field, pa.array([default], field.type))


ID, STATUS, AMOUNT = column("1", "id", pa.int32()), column("2", "status"), column("3", "amount")


def items(*fields, key=("id",)):
    return StreamSchema("items", pa.schema(list(fields)), key, "upsert")


FIRST = items(ID, STATUS, AMOUNT)
BY_STATUS = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS n FROM items GROUP BY status"


def put(commit, schema, *rows, op=Op.INSERT):
    return scripted_group(commit, [(schema, op, dict(zip(schema.columns.names, row, strict=True))) for row in rows])


@pytest.fixture
def items_shop(shop):
    shop.source.streams = (*shop.source.streams, FIRST)
    run_with(shop, inserts(1, 1), put(2, FIRST, (1, "new", "10"), (2, "paid", "20")))
    return shop


@pytest.mark.parametrize("crash", [False, True])
def test_a_renamed_column_is_the_same_column_of_the_table(items_shop, crash):
    renamed = items(ID, column("2", "state"), AMOUNT)
    run_with(items_shop, put(3, renamed, (3, "new", "30")))
    if crash:
        lose_newest_checkpoint(items_shop)
    run_with(items_shop, put(4, renamed, (1, "paid", "10"), op=Op.UPDATE))
    rows = [(row["id"], row["state"], row["amount"]) for row in items_shop.rows("items")]
    assert sorted(rows) == [(1, "paid", "10"), (2, "paid", "20"), (3, "new", "30")]
    assert list(items_shop.rows("items")[0]) == ["id", "state", "amount"]
    lake = IcebergLake(items_shop.folder / "lake", namespace="shop", read_only=True)
    assert sorted(lake.open_table("items").read(1).column("state").to_pylist()) == ["new", "paid"]
    lake.close()


def test_columns_that_change_places(items_shop):
    swapped = items(ID, column("2", "amount"), column("3", "status"))
    run_with(items_shop, put(3, swapped, (3, "new", "30")))
    rows = sorted((row["id"], row["amount"], row["status"]) for row in items_shop.rows("items"))
    assert rows == [(1, "new", "10"), (2, "paid", "20"), (3, "new", "30")]


def test_a_default_reaches_the_rows_that_were_there(items_shop):
    items_shop.model("totals", "SELECT sum(weight) AS weight FROM items")
    wider = items(ID, STATUS, AMOUNT, column("4", "weight", pa.int64(), 5))
    items_shop.source.streams = (*items_shop.source.streams[:2], wider)
    run_with(items_shop, put(3, wider, (3, "new", "30", 7)))
    assert sorted((row["id"], row["weight"]) for row in items_shop.rows("items")) == [(1, 5), (2, 5), (3, 7)]
    assert items_shop.rows("totals") == [{"weight": 17}]


@pytest.mark.parametrize(("kind", "values"), [(pa.int64(), [1, 2, 2**40]), (pa.string(), ["1", "2", "x"])])
def test_another_type(items_shop, kind, values):
    items_shop.model("keys", "SELECT id FROM items")
    changed = items(column("1", "id", kind), STATUS, AMOUNT)
    run_with(items_shop, put(3, changed, (values[-1], "new", "30")))
    assert sorted(row["id"] for row in items_shop.rows("items")) == values
    assert sorted(row["id"] for row in items_shop.rows("keys")) == values


def test_a_column_dropped_and_made_again_is_another_one(items_shop):
    again = items(ID, AMOUNT, column("7", "status"))
    run_with(items_shop, put(3, again, (3, "30", "new")))
    rows = sorted((row["id"], row["status"], row["amount"]) for row in items_shop.rows("items"))
    assert rows == [(1, None, "10"), (2, None, "20"), (3, "new", "30")]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("dropped", ["keep", "remove"])
def test_a_column_that_goes_leaves_the_mirror_if_the_settings_say_so(items_shop, dropped, crash):
    file = items_shop.folder / "headwater.yml"
    settings = f"""    streams:
      items:
        table: {{dropped: {dropped}}}
        tables:
          items_changelog: {{kind: changelog}}
"""
    file.write_text(file.read_text().replace("    streams:\n", settings, 1))
    fewer = items(ID, STATUS)
    run_with(items_shop, put(3, fewer, (3, "new")))
    kept = {"keep": ["amount"], "remove": []}[dropped]
    assert list(items_shop.rows("items")[0]) == ["id", "status", *kept]
    assert "amount" in items_shop.rows("items_changelog")[0]
    lake = IcebergLake(items_shop.folder / "lake", namespace="shop", read_only=True)
    assert sorted(lake.open_table("items").dataset(Moment(epoch=1)).to_table()["amount"].to_pylist()) == ["10", "20"]
    lake.close()
    run_with(items_shop, put(4, fewer, (1, "paid"), op=Op.UPDATE))
    if crash:
        lose_newest_checkpoint(items_shop)
    run_with(items_shop, put(5, FIRST, (4, "new", "40")))
    rows = sorted((row["id"], row["status"], row["amount"]) for row in items_shop.rows("items"))
    assert rows == [(1, "paid", None), (2, "paid", "20"), (3, "new", None), (4, "new", "40")]


def test_another_key(items_shop):
    rekeyed = items(ID, STATUS, AMOUNT, key=("amount",))
    run_with(items_shop, put(3, rekeyed, (3, "new", "20"), op=Op.UPDATE))
    run_with(items_shop, put(4, rekeyed, (4, "new", "40")), put(5, rekeyed, (5, "late", "40"), op=Op.UPDATE))
    rows = sorted((row["id"], row["status"], row["amount"]) for row in items_shop.rows("items"))
    assert rows == [(1, "new", "10"), (3, "new", "20"), (5, "late", "40")]


def test_a_model_that_no_longer_fits_waits_and_the_rest_goes_on(items_shop):
    items_shop.model("by_status", BY_STATUS)
    items_shop.model("on_top", "SELECT status FROM by_status WHERE n > 1")
    items_shop.model("amounts", "SELECT amount FROM items")
    items_shop.run_once()
    renamed = items(ID, column("2", "state"), AMOUNT)
    with items_shop.running() as supervisor:
        items_shop.source.add(put(3, renamed, (3, "paid", "30")))
        wait_until(lambda: items_shop.account("items")["landed"] == 3)
    assert supervisor.error is None
    waiting = {m["name"]: m["error"] for m in items_shop.status()["models"] if m.get("state") == "waiting"}
    assert waiting.keys() == {"by_status", "on_top"}
    assert "status" in waiting["by_status"]
    assert sorted(row["amount"] for row in items_shop.rows("amounts")) == ["10", "20", "30"]
    assert sorted((row["status"], row["n"]) for row in items_shop.rows("by_status")) == [("new", 1), ("paid", 1)]
    items_shop.source.streams = (*items_shop.source.streams[:2], renamed)
    run_with(items_shop, put(4, renamed, (4, "paid", "40")))  # nothing was edited: it goes on waiting
    items_shop.model(
        "by_status", BY_STATUS.replace("SELECT status", "SELECT state AS status").replace("BY status", "BY state")
    )
    items_shop.run_once()
    assert sorted((row["status"], row["n"]) for row in items_shop.rows("by_status")) == [("new", 1), ("paid", 3)]
    assert [row["status"] for row in items_shop.rows("on_top")] == ["paid"]
    items_shop.model("by_status", BY_STATUS)
    with pytest.raises(ProjectError):
        items_shop.run_once()


def test_a_model_edited_for_columns_that_have_not_come_yet_waits_for_them(items_shop):
    items_shop.model("by_status", BY_STATUS.replace("status", "state"))
    renamed = items(ID, column("2", "state"), AMOUNT)
    items_shop.source.streams = (*items_shop.source.streams[:2], renamed)
    with items_shop.running():
        wait_until(lambda: any(m.get("state") == "waiting" for m in items_shop.status()["models"]))
        items_shop.source.add(put(3, FIRST, (3, "paid", "30")), put(4, renamed, (4, "paid", "40")))
        wait_until(lambda: items_shop.account("items")["landed"] == 4)
    assert sorted((row["state"], row["n"]) for row in items_shop.rows("by_status")) == [("new", 1), ("paid", 3)]
