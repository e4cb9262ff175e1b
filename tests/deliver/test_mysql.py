"""The contract suite on a real MariaDB, and what is MySQL's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import SecretStr

from headwater.deliver.destination import Sync
from headwater.deliver.mysql import MysqlDestination
from headwater.deliver.mysql_settings import MysqlSettings
from headwater.errors import DestinationStopped
from headwater.testing.clocks import HourAhead
from headwater.testing.delivering import SyncUnderTest
from headwater.testing.destination_contract import COLUMNS, POISON, DestinationContract, Row, row
from headwater.testing.mariadb import MariaDbServer
from headwater.testing.proxy import Proxy

NUMBERS = itertools.count(1)
TABLE = "`odd table` (id bigint PRIMARY KEY, name text COLLATE utf8mb4_bin, amount decimal(20,6), at datetime(6),"


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDbServer]:
    with MariaDbServer() as running:
        yield running


class MysqlPeer:
    """A table in a database of its own, behind a proxy that can be cut."""

    appends, poisons, stoppable = False, True, True

    def __init__(self, server: MariaDbServer) -> None:
        self.database = f"peer_{next(NUMBERS)}"
        self._server = server
        self.run(f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4", database="")
        self._proxy = Proxy(server.port)
        self.run(f"CREATE TABLE {TABLE} CONSTRAINT sick CHECK (name <> '{POISON}'))")

    def run(self, statement: str, *, database: str | None = None) -> list[tuple[object, ...]]:
        connection = self._server.connect(self.database if database is None else database)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(statement)
            connection.commit()
            return [tuple(found) for found in cursor.fetchall()]

    def destination(self, **more: object) -> MysqlDestination:
        address = self._server.url(self.database).rpartition(":")[0]
        url = f"{address}:{self._proxy.port}/{self.database}"
        given = {"table": "odd table", "connect_timeout_s": 3, **more}
        return MysqlDestination(MysqlSettings(url=SecretStr(url), **given))  # type: ignore[arg-type]

    def rows(self) -> Mapping[int, Row]:
        found = self.run("SELECT id, name, CAST(amount AS double), at FROM `odd table`")
        rows = (dict(zip(COLUMNS.names, one, strict=True)) for one in found)
        return {int(str(one["id"])): {**one, "at": _aware(one["at"])} for one in rows}

    def names(self, number: int) -> Sequence[str | None]:
        return [str(one["name"]) for key, one in self.rows().items() if key == number]

    def heal(self) -> None:
        self.run("ALTER TABLE `odd table` DROP CONSTRAINT sick")

    def stop(self) -> None:
        self._proxy.down()

    def start(self) -> None:
        self._proxy.up()

    def close(self) -> None:
        self._proxy.close()


def _aware(at: object) -> object:
    return at.replace(tzinfo=UTC) if isinstance(at, datetime) else at


@pytest.fixture
def peer(mariadb: MariaDbServer) -> Iterator[MysqlPeer]:
    made = MysqlPeer(mariadb)
    yield made
    made.close()


class TestMysql(DestinationContract):
    """On MariaDB."""


def test_without_a_key_each_row_is_inserted_once_whenever_it_is_killed(peer: MysqlPeer, tmp_path: Path) -> None:
    peer.run(
        "CREATE TABLE events (id bigint, name text, amount double, at datetime(6), CONSTRAINT odd CHECK (id <> 13))"
    )
    sync = SyncUnderTest(tmp_path, peer.destination(table="events"), COLUMNS, batch=5)
    sync.hand([row(number) for number in range(40)])
    for call in (1, 2, 3):
        sync.run_on((call, "after"))
        sync.run_on((call, "before"))
    picture = sync.run()
    assert (picture.delivered, picture.parked) == (39, 1) and picture.holds
    assert peer.run("SELECT count(*), count(DISTINCT id) FROM events") == [(39, 39)]
    peer.run("ALTER TABLE events DROP CONSTRAINT odd")
    sync.ask("retry")
    sync.run_on((1, "after"))
    sync.run()
    assert peer.run("SELECT count(*), count(DISTINCT id) FROM events") == [(40, 40)]
    sync.close()


def test_the_table_is_made_and_texts_that_differ_in_case_alone_are_two_keys(peer: MysqlPeer, tmp_path: Path) -> None:
    columns = pa.schema([("k", pa.string()), ("d", pa.decimal128(12, 2)), ("raw", pa.binary()), ("u", pa.uint64()),
                         ("ok", pa.bool_()), ("tags", pa.list_(pa.string())), ("f", pa.float64())])  # fmt: skip
    value = {"k": "a", "d": Decimal("12.34"), "raw": b"\x00\xff'", "u": 2**64 - 1, "ok": True, "tags": ["x", None],
             "f": 0.1}  # fmt: skip
    sync = SyncUnderTest(tmp_path, peer.destination(table="made", create=True), columns, ("k",))
    sync.hand([value, {**value, "k": "A"}, {**value, "k": "a "}, {**value, "k": "inf", "f": float("inf")}])
    picture = sync.run()
    assert (picture.delivered, picture.parked) == (3, 1), sync.ledger.open
    found = peer.run("SELECT k, d, raw, u, ok, tags, f FROM made WHERE k = 'a' AND length(k) = 1")
    assert found == [("a", Decimal("12.34"), b"\x00\xff'", 2**64 - 1, 1, '["x", null]', 0.1)]
    sync.columns = columns.append(pa.field("more", pa.string()))
    sync.hand([{**value, "k": "b", "more": "new"}])
    sync.run()
    assert peer.run("SELECT more FROM made WHERE k = 'b'") == [("new",)]
    sync.close()


def test_another_unique_index_never_makes_one_record_write_over_another(peer: MysqlPeer, tmp_path: Path) -> None:
    peer.run("CREATE UNIQUE INDEX names ON `odd table` (name(50))")
    sync = SyncUnderTest(tmp_path, peer.destination(), COLUMNS, ("id",))
    sync.hand([row(1, "x"), row(2, "y")])
    sync.run()
    sync.hand([row(3, "x")])
    assert sync.run().parked == 1
    sync.hand([row(1, "y"), row(2, "z")], [row(1, "x"), row(2, "y")])
    sync.run()
    assert {key: one["name"] for key, one in peer.rows().items()} == {1: "y", 2: "z"}
    sync.close()


def test_what_a_table_lacks_is_said(peer: MysqlPeer, tmp_path: Path) -> None:
    sync = SyncUnderTest(tmp_path, peer.destination(), COLUMNS, ("id",))
    assert "equal to the model" in peer.destination().check(sync.sync)[0]
    for made, says in (
        ("(id bigint, name text, amount double, at datetime)", "no primary key"),
        ("(id bigint PRIMARY KEY, name text)", "no column 'amount', 'at'"),
        ("(id bigint PRIMARY KEY, name text, amount double, at datetime) ENGINE = Aria", "no transactions"),
        ("(id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, name text, amount double, at datetime)", "for equal"),
    ):
        peer.run(f"CREATE TABLE bare {made}")
        with pytest.raises(DestinationStopped, match=says):
            peer.destination(table="bare").check(sync.sync)
        peer.run("DROP TABLE bare")
    with pytest.raises(DestinationStopped, match="there is no table"):
        peer.destination(table="nowhere").check(sync.sync)
    sync.close()


def test_what_doctor_finds(peer: MysqlPeer, mariadb: MariaDbServer) -> None:
    sync = Sync("shop", "crm", "", "customers", COLUMNS, ("id",), clock=HourAhead())
    found = {one.check: one for one in peer.destination().diagnose(sync)}
    assert {one.check for one in found.values() if one.level != "ok"} == {"clock"} and "behind" in found[
        "clock"
    ].message
    peer.run("CREATE USER clerk@'%'")
    peer.run(f"GRANT SELECT, INSERT ON {peer.database}.* TO clerk@'%'")
    url = mariadb.url(peer.database).replace("root@", "clerk@")
    destination = MysqlDestination(MysqlSettings(url=SecretStr(url), table="odd table"))
    rights = {one.check: one for one in destination.diagnose(sync)}["rights"]
    peer.run("DROP USER clerk@'%'")
    assert rights.level == "warn" and "UPDATE, DELETE, CREATE" in rights.mend
