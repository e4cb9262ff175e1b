"""Streams of which no row ever goes: their models keep less, and are built anew when a stream is truncated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scripted_project import EVENTS, ORDERS, Shop, inserts

from headwater.change import Op
from headwater.engine.normalise import Normaliser
from headwater.project.definition import TableDefinition
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.nodes import StreamNode
from headwater.testing.scripted_source import scripted_group

BEST = "SELECT max(n) AS best FROM events"
TOTAL = "SELECT count(*) AS times, sum(best) AS total FROM best"
START = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _event(n: int) -> tuple[Any, Op, dict[str, object]]:
    return (EVENTS, Op.INSERT, {"happened": START, "n": n})


def _only(shop: Shop, **models: str) -> dict[str, set[str]]:
    """The streams that each model relies on to keep their rows."""
    for name, text in models.items():
        shop.model(name, text)
    nodes = {s.name: StreamNode("shop", Normaliser(s), (TableDefinition(s.name),)) for s in (ORDERS, EVENTS)}
    flow = Dataflow(nodes, shop.project.models)
    plans = {model.name: flow.view_of(model).plan for model in flow.models.values()}
    return {name: {s for s, scan in plan.scans().items() if scan.append_only} for name, plan in plans.items()}


def test_only_streams_that_append_are_relied_on(shop: Shop) -> None:
    found = _only(shop, best=BEST, by_status="SELECT status, count(*) AS n FROM orders GROUP BY status")
    assert found == {"best": {"events"}, "by_status": set()}


def test_a_truncate_builds_models_anew_and_what_reads_them(shop: Shop) -> None:
    shop.model("best", BEST)
    shop.model("total", TOTAL)
    shop.model("doubled", "SELECT n * 2 AS twice FROM events")
    shop.model("many", "SELECT count(*) AS many FROM doubled")
    shop.source.add(scripted_group(1, [_event(7), _event(3)]), inserts(2, 1))
    shop.run_once()
    assert (shop.rows("best"), shop.rows("many")) == ([{"best": 7}], [{"many": 2}])
    shop.source.add(scripted_group(3, [(EVENTS, Op.TRUNCATE, {})]), scripted_group(4, [_event(5)]))
    shop.run_once()
    assert shop.rows("best") == [{"best": 5}]
    assert shop.rows("total") == [{"times": 1, "total": 5}]
    assert shop.rows("doubled") == [{"twice": 10}]
    assert shop.rows("many") == [{"many": 1}]
    assert all(shop.account(name)["holds"] for name in ("events", "best", "total", "doubled", "many"))
    shop.source.add(scripted_group(5, [_event(6)]))
    shop.run_once()
    assert (shop.rows("best"), shop.rows("many")) == ([{"best": 6}], [{"many": 2}])
