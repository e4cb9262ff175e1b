"""Lineage of a whole project: through models to the sources' streams, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.cli.app import main
from headwater.govern.lineage import Origin, ProjectLineage, lineage_of
from headwater.project import load
from headwater.project.discovery import save_streams
from headwater.schema import StreamSchema

MODELS = {
    "paid": "SELECT order_id, customer_id, amount_cents / 100 AS amount FROM orders WHERE status = 'paid'",
    "spent": "SELECT customer_id, sum(amount) AS total, count(*) AS n FROM paid GROUP BY customer_id",
    "best": "SELECT c.name, s.total FROM spent s JOIN customers c USING (customer_id) ORDER BY s.total DESC LIMIT 10",
}
STREAMS = (
    StreamSchema(
        "orders",
        pa.schema([("order_id", pa.int64()), ("customer_id", pa.int64()), ("amount_cents", pa.int64()),
                   ("status", pa.string())]),
        ("order_id",),
    ),
    StreamSchema("customers", pa.schema([("customer_id", pa.int64()), ("name", pa.string())]), ("customer_id",)),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shop")
    (made / "headwater.yml").write_text("name: shop\nsources:\n  shop: {type: postgres, url: '${SHOP_URL}'}\n")
    (made / "models").mkdir()
    for name, sql in MODELS.items():
        (made / "models" / f"{name}.sql").write_text(sql)
    (made / ".headwater").mkdir()
    save_streams(made / ".headwater", STREAMS)
    return made


@pytest.fixture(scope="module")
def known(folder: Path) -> ProjectLineage:
    return lineage_of(load(folder, environment={"SHOP_URL": "postgresql://localhost/shop"}))


def test_a_column_is_followed_to_the_streams(known: ProjectLineage) -> None:
    assert known.models["best"].columns["total"] == (Origin("model:spent", "total", "identity"),)
    assert known.sources_of("best", "total") == (Origin("stream:orders", "amount_cents", "aggregation"),)
    assert known.sources_of("best", "name") == (Origin("stream:customers", "name", "identity"),)
    assert known.sources_of("spent", "n") == ()
    assert Origin("stream:orders", "status", "filter") in known.models["paid"].rows


def test_what_hangs_on_a_column(known: ProjectLineage) -> None:
    uses = {(one.node, one.column) for one in known.uses_of("stream:orders", "amount_cents")}
    assert uses == {("model:paid", "amount"), ("model:spent", "total"), ("model:best", "total"), ("model:best", "*")}
    everything = {(one.node, one.column) for one in known.uses_of("stream:orders", "status")}
    assert everything == {("model:paid", "*"), ("model:spent", "*"), ("model:best", "*")}  # count(*) too


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", "best.total", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["v"] == 1
    assert told["columns"][0]["sources"] == [{"node": "stream:orders", "column": "amount_cents", "how": "aggregation"}]
    assert main(["lineage", "best.total", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "best.total  spent.total          identity",
        "in the end  orders.amount_cents  aggregation",
    ]
    assert main(["lineage", "orders.status", str(folder), "--uses"]) == 0
    assert "best.*" in capsys.readouterr().out
    assert main(["lineage", "bets", str(folder)]) == 1
    assert "did you mean 'best'?" in capsys.readouterr().err


def test_a_model_whose_stream_is_not_known_yet_is_told_of(folder: Path) -> None:
    found = lineage_of(load(folder, environment={"SHOP_URL": "postgresql://localhost/shop"}), STREAMS[:1])
    assert list(found.models) == ["paid", "spent"]
    assert found.unknown == {"best": "the columns of 'customers' are not known yet"}
