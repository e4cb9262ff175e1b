"""A shop whose models are sent on, into a PostgreSQL and a MariaDB that count every row written to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from tests.crash.evidence import BROKEN, DOUBLED, LOST, Fault
from tests.crash.shop_server import ShopServer

from headwater.demo.child import Status
from headwater.testing.mariadb import MariaDbServer

ORDERS = "/* key: order_id */ SELECT order_id, customer_id, status, ordered_at FROM orders"
PAYMENTS = "SELECT payment_id, order_id, amount FROM payments"
"""Only ever appear, so a row that stands there twice was sent twice."""

_ORDERS = "(order_id bigint PRIMARY KEY, customer_id bigint, status varchar(40), ordered_at {time})"
_PAYMENTS = "(payment_id varchar(40), order_id bigint, amount decimal(14,2))"
_COUNTING = """
CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO written VALUES (1); RETURN NULL; END $$;
CREATE TRIGGER counts AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION count_it();
"""
SYNC = "{{type: {type}, model: {model}, table: {table}, url: '{url}', batch_records: {batch}, send: every{more}}}"


class CrmServer(ShopServer):
    """The shop's server, with a database to send to beside each shop, and a MariaDB."""

    def __init__(self) -> None:
        super().__init__()
        self._mariadb = MariaDbServer()
        self._mariadb.start()
        self._name = ""

    def open(self, name: str) -> str:
        """A fresh shop, and empty tables to send to."""
        self._name = name
        self._run("", f"CREATE DATABASE crm_{name}")
        self._run(name, f"CREATE TABLE orders {_ORDERS.format(time='timestamptz')}", "CREATE TABLE written (one int)",
                  f"CREATE TABLE payments {_PAYMENTS}", _COUNTING)  # fmt: skip
        self._my("", f"CREATE DATABASE crm_{name}")
        self._my(name, f"CREATE TABLE orders {_ORDERS.format(time='datetime(6)')}", "CREATE TABLE written (one int)",
                 f"CREATE TABLE payments {_PAYMENTS}",
                 *(f"CREATE TRIGGER counts_{verb} AFTER {verb} ON orders FOR EACH ROW INSERT INTO written VALUES (1)"
                   for verb in ("INSERT", "UPDATE", "DELETE")))  # fmt: skip
        return super().open(name)

    def prepare(self, folder: Path, settings: str) -> None:
        """The shop's project, and four syncs."""
        super().prepare(folder, settings)
        for model in folder.glob("models/*.sql"):
            model.unlink()
        (folder / "models" / "orders_now.sql").write_text(ORDERS, encoding="utf-8")
        (folder / "models" / "payments_all.sql").write_text(PAYMENTS, encoding="utf-8")
        urls = {"postgres": self._server.url(f"crm_{self._name}"), "mysql": self._mariadb.url(f"crm_{self._name}")}
        lines = ["\nsyncs:"]
        for kind, url in urls.items():
            for table, model, batch, more in (
                ("orders", "orders_now", 40, ", keep: {max_age: 0 s}"),
                ("payments", "payments_all", 20, ", retractions: ignore"),
            ):
                told = SYNC.format(type=kind, model=model, table=table, url=url, batch=batch, more=more)
                lines.append(f"  {kind}_{table}: {told}")
        with open(folder / "headwater.yml", "a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """The shop's faults in the lake, and those at the destinations."""
        faults = super().judge(folder, url, status, written)
        with psycopg.connect(url) as connection:
            orders = connection.execute("SELECT order_id, customer_id, status::text FROM orders").fetchall()
            payments = connection.execute("SELECT payment_id::text, order_id, amount FROM payments").fetchall()
        syncs = {str(one["name"]): one for one in _entries(status)}
        for kind, read in (("postgres", self._read), ("mysql", self._read_my)):
            there = read("SELECT order_id, customer_id, status FROM orders")
            faults += _compared(f"{kind} orders", orders, there)
            faults += _compared(f"{kind} payments", payments, read("SELECT payment_id, order_id, amount FROM payments"))
            (ops,) = read("SELECT count(*) FROM written")
            delivered = int(str(syncs[f"{kind}_orders"]["delivered"]))
            if int(ops[0]) != delivered:
                found = DOUBLED if int(ops[0]) > delivered else LOST
                faults.append(Fault(found, f"{kind}: {delivered} records delivered, {ops[0]} rows written"))
        for name, sync in syncs.items():
            if not sync["holds"] or sync["pending"] or sync["parked"] or sync["error"]:
                faults.append(Fault(BROKEN, f"sync {name}: {dict(sync)}"))
        return faults

    def drop(self, name: str) -> None:
        """Removes all three databases."""
        super().drop(name)
        self._run("", f"DROP DATABASE crm_{name} WITH (FORCE)")
        self._my("", f"DROP DATABASE crm_{name}")

    def stop(self) -> None:
        """Stops both servers."""
        super().stop()
        self._mariadb.stop()

    def _run(self, name: str, *statements: str) -> None:
        with psycopg.connect(self._server.url(f"crm_{name}" if name else "postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _my(self, name: str, *statements: str) -> list[tuple[Any, ...]]:
        with self._mariadb.connect(f"crm_{name}" if name else None) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._server.url(f"crm_{self._name}")) as connection:
            return connection.execute(query.encode()).fetchall()

    def _read_my(self, query: str) -> list[tuple[Any, ...]]:
        return self._my(self._name, query)


def _compared(what: str, source: Sequence[tuple[Any, ...]], there: Sequence[tuple[Any, ...]]) -> list[Fault]:
    """Rows that the one has more often than the other."""
    order: Callable[[tuple[Any, ...]], str] = repr
    wanted, found = sorted(source, key=order), sorted(there, key=order)
    if wanted == found:
        return []
    lacking, surplus = [row for row in wanted if row not in found], [row for row in found if row not in wanted]
    kind = LOST if lacking or len(found) < len(wanted) else DOUBLED
    shown = f"lacking {lacking[:2]}, surplus {surplus[:2]}"
    return [Fault(kind, f"{what}: {len(found)} rows, the source has {len(wanted)}; {shown}")]


def _entries(status: Status) -> list[Mapping[str, object]]:
    found = status.get("syncs")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
