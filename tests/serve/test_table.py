"""One table for programs: Arrow, Polars and pandas say the same, of our tables and of those of others."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from project_with_log import to_log
from pyiceberg.catalog.sql import SqlCatalog
from scripted_project import Shop, inserts, run_with

from headwater.cli.app import main
from headwater.errors import UserError
from headwater.serve import open_table


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "project")


@pytest.mark.parametrize("behind", [False, True])
def test_arrow_polars_and_pandas(shop, behind):
    run_with(shop, inserts(1, 1, 2), inserts(2, 3))
    if behind:
        to_log(shop, inserts(3, 4))
    rows = [1, 2, 3, 4] if behind else [1, 2, 3]
    table = open_table("orders", project=shop.folder)
    assert table.schema.names == ["id", "status", "amount"]
    assert ("not yet" in table.note) is behind
    assert sorted(table.to_arrow(["id"]).column("id").to_pylist()) == rows
    assert sorted(row["id"] for batch in table.to_reader() for row in batch.to_pylist()) == rows
    assert table.to_arrow(["status"], pc.field("id") == 2).to_pylist() == [{"status": "new"}]
    polars = pytest.importorskip("polars")
    assert sorted(table.to_polars().filter(polars.col("id") > 1).collect()["id"].to_list()) == rows[1:]
    pytest.importorskip("pandas")
    assert sorted(table.to_pandas(["id"])["id"]) == rows
    assert table.sql("SELECT max(id) AS m FROM orders").to_pylist() == [{"m": rows[-1]}]
    assert open_table("orders", project=shop.project, at="epoch 1").to_arrow().num_rows == 3


@pytest.fixture
def foreign(tmp_path):
    """A table that PyIceberg alone has written."""
    catalog = SqlCatalog("other", uri=f"sqlite:///{tmp_path}/other.db", warehouse=f"file://{tmp_path}/other")
    catalog.create_namespace("n")
    table = catalog.create_table("n.t", pa.schema([("k", pa.int64()), ("v", pa.string())]))
    table.append(pa.table({"k": [1, 2], "v": ["a", "b"]}))
    table.append(pa.table({"k": [3], "v": ["c"]}))
    table.delete("k = 1")
    return catalog, table


def test_tables_of_others(shop, foreign, capsys):
    catalog, table = foreign
    for opened in (open_table(table.metadata_location), open_table("n.t", catalog=catalog)):
        assert sorted(opened.to_arrow().column("v").to_pylist()) == ["b", "c"]
    first = table.snapshots()[0].snapshot_id
    assert open_table(table.metadata_location, at=f"snapshot {first}").to_arrow().num_rows == 2
    with pytest.raises(UserError, match="no Iceberg table"):
        open_table("/nowhere/v1.metadata.json")
    run_with(shop, inserts(1, 2, 7))
    query = "SELECT v FROM orders JOIN theirs ON id = k"
    capsys.readouterr()
    assert (
        main(["query", query, str(shop.folder), "--table", f"theirs={table.metadata_location}", "--format", "csv"]) == 0
    )
    assert capsys.readouterr().out == '"v"\n"b"\n'
