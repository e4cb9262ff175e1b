"""A shop whose models are swapped: transactions by number, and what each version of a model answers after each."""

import itertools
import json
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from scripted_project import ORDERS, Shop, landed, order, wait_until

from headwater.change import Op
from headwater.clock import SystemClock
from headwater.lake.maintenance import Policy
from headwater.lake.opening import make_lake
from headwater.project.versions import models_digest
from headwater.runtime.requests import new_id
from headwater.runtime.swap.requests import Applies, ApplyRequest
from headwater.testing.scripted_source import scripted_group

FIRST, MORE = 30, 51
"""Transactions there are at first, and that come while models are swapped."""

OLD = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS n, sum(id)::BIGINT AS ids FROM orders GROUP BY status"
NEW = (
    "/*\nkey: [status]\n*/\nSELECT status, count(*) AS n, sum(id)::BIGINT AS ids, sum(id / 7.0) AS sevenths\n"
    "FROM orders WHERE id % 5 <> 0 GROUP BY status"
)
PLAIN = "SELECT status, ids * 1.5 AS more FROM by_status"
"""Reads it, without a key: a row goes only if it is the very row that is there."""

OTHER = "SELECT id, status FROM orders"


def transaction(number):
    """A transaction: an order comes, and each third time one goes."""
    changes = [(ORDERS, Op.INSERT, order(number, status="abc"[number % 3]))]
    if number % 3 == 0:
        changes.append((ORDERS, Op.DELETE, {"id": number - 2}))
    return scripted_group(number, changes, time_us=number)


def orders_after(number):
    """The orders after a transaction."""
    ids = set(range(1, number + 1)) - {one - 2 for one in range(3, number + 1, 3)}
    return sorted(ids)


def answers(sql, numbers, of="by_status"):
    """What DuckDB answers to a model over the orders after each transaction, by its rows' text."""
    found = {}
    with duckdb.connect() as connection:
        for number in numbers:
            ids = orders_after(number)
            connection.register("orders", pa.table({"id": ids, "status": ["abc"[one % 3] for one in ids]}))
            connection.execute(f"CREATE OR REPLACE TABLE by_status AS {sql.split('*/')[-1]}")
            answer = connection.sql("FROM by_status" if of == "by_status" else PLAIN).to_arrow_table()
            found.setdefault(text(answer.to_pylist()), []).append(number)
    return found


def text(rows):
    """Rows as one text, in no order, without nulls, which a column that went leaves; sums of floats to the sixth digit,
    which the order of adding does not change."""
    plain = [
        {k: v if isinstance(v, str) else round(float(v), 6) for k, v in row.items() if v is not None} for row in rows
    ]
    return json.dumps(sorted(plain, key=json.dumps), sort_keys=True)


def swapped_shop(folder):
    """The project with the old version."""
    shop = Shop(folder)
    shop.model("by_status", OLD)
    shop.model("plain", PLAIN)
    shop.model("other", OTHER)
    return shop


def ask(shop, **settings):
    """Asks for the files to be applied as they are."""
    asked = ApplyRequest(new_id(SystemClock().now_us()), models_digest(shop.project.models), **settings)
    Applies(shop.state).submit(asked)
    return asked.id


def over(shop):
    """The status of the apply once it is over."""
    applies = Applies(shop.state)
    wait_until(lambda: applies.status().is_over, "the apply is over")
    return applies.status()


def unnamed(shop, table):
    """Data files in a table's folder that no table snapshot names, or none if there is no folder."""
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{shop.folder}/lake/catalog.db", init_catalog_tables="false")
    held = catalog.load_table(("shop", table))
    named = {path.removeprefix("file://") for path in held.inspect.all_files()["file_path"].to_pylist()}
    return {path for path in map(str, Path(held.location(), "data").rglob("*.parquet")) if path not in named}


def keep_at_once(shop, table):
    """Has maintenance remove the orphan files of a table, however young they are."""
    project = shop.project
    lake = make_lake(project.lake, project.folder, project=project.name)
    try:
        maintenance = lake.table(lake.open_table(table).spec, as_held=True).maintenance()
        policy = Policy(orphan_age_s=0.0, reader_grace_s=0.0)
        for task in maintenance.plan(policy, ("orphans",)):
            assert maintenance.carry_out(task, policy).done
    finally:
        lake.close()


def main(folder, arm_at_swap):
    """Runs the shop, applies the new version while transactions come, and is killed somewhere; a program of its own.

    Args:
        folder: the project's.
        arm_at_swap: a failpoint to be armed when the new version is about to be swapped in; "" for none.
    """
    from headwater import failpoint
    from headwater.runtime.swap import conductor

    shop = swapped_shop(Path(folder))
    adopt = conductor.adopt

    def armed(pipeline, build, adopted):
        def then():  # not before: an empty epoch may go before the swap, and passes the same places
            adopted()
            failpoint._passings.clear()
            failpoint._ARMED = arm_at_swap

        return adopt(pipeline, build, then)

    if arm_at_swap:
        conductor.adopt = armed
    shop.source.add(*map(transaction, range(1, FIRST + 1)))
    with shop.running():
        landed(shop, "other", len(orders_after(FIRST)))
        shop.model("by_status", NEW)
        asked, clock, never = ask(shop), SystemClock(), threading.Event()
        numbers = itertools.count(FIRST + 1)
        while not Applies(shop.state).status().is_over:
            number = next(numbers)
            if number <= FIRST + MORE:
                shop.source.add(transaction(number))
            clock.wait(never, 0.01)
        assert Applies(shop.state).status().id == asked
