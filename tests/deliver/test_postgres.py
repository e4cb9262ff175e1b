"""The contract suite on a real PostgreSQL, and what is PostgreSQL's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from headwater.deliver.destination import Sync
from headwater.deliver.postgres import PostgresDestination
from headwater.deliver.postgres_settings import PostgresSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.testing.clocks import HourAhead
from headwater.testing.delivering import SyncUnderTest
from headwater.testing.destination_contract import COLUMNS, POISON, DestinationContract, Row, row
from headwater.testing.postgres import PostgresServer
from headwater.testing.proxy import Proxy

NUMBERS = itertools.count(1)


class PostgresPeer:
    """A table in a database of its own, behind a proxy that can be cut."""

    appends, poisons, stoppable = False, True, True

    def __init__(self, server: PostgresServer, *, create: bool = False) -> None:
        self.database = f"peer_{next(NUMBERS)}"
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.database}")
        self._proxy = Proxy(server.port)
        self._url = server.url(self.database)
        self.create = create
        if not create:
            self.run(
                'CREATE TABLE "Odd table" (id bigint PRIMARY KEY, name text, amount numeric, at timestamptz,'
                f" CONSTRAINT sick CHECK (name <> '{POISON}'))"
            )

    def run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def destination(self, **more: object) -> PostgresDestination:
        url = f"postgresql://postgres@127.0.0.1:{self._proxy.port}/{self.database}"
        given = {"table": "Odd table", "create": self.create, "connect_timeout_s": 3, **more}
        return PostgresDestination(PostgresSettings(url=SecretStr(url), **given))  # type: ignore[arg-type]

    def rows(self) -> Mapping[int, Row]:
        found = self.run('SELECT id, name, amount::float8, at FROM "Odd table"')
        return {int(str(one[0])): dict(zip(COLUMNS.names, one, strict=True)) for one in found}

    def names(self, number: int) -> Sequence[str | None]:
        return [str(one["name"]) for key, one in self.rows().items() if key == number]

    def heal(self) -> None:
        self.run('ALTER TABLE "Odd table" DROP CONSTRAINT sick')

    def stop(self) -> None:
        self._proxy.down()

    def start(self) -> None:
        self._proxy.up()

    def close(self) -> None:
        self._proxy.close()


class TestPostgres(DestinationContract):
    @pytest.fixture
    def peer(self, postgres: PostgresServer) -> Iterator[PostgresPeer]:
        made = PostgresPeer(postgres)
        yield made
        made.close()


@pytest.fixture
def peer(postgres: PostgresServer) -> Iterator[PostgresPeer]:
    made = PostgresPeer(postgres)
    yield made
    made.close()


def test_without_a_key_each_row_is_inserted_once_whenever_it_is_killed(peer: PostgresPeer, tmp_path: Path) -> None:
    peer.run("CREATE TABLE events (id bigint, name text, amount float8, at timestamptz, CHECK (id <> 13))")
    sync = SyncUnderTest(tmp_path, peer.destination(table="events"), COLUMNS, batch=5)
    sync.hand([row(number) for number in range(40)])
    for call in (1, 2, 3):
        sync.run_on((call, "after"))
        sync.run_on((call, "before"))
    picture = sync.run()
    assert (picture.delivered, picture.parked) == (39, 1) and picture.holds
    assert peer.run("SELECT count(*), count(DISTINCT id) FROM events") == [(39, 39)]
    peer.run("ALTER TABLE events DROP CONSTRAINT events_id_check")
    sync.ask("retry")
    sync.run_on((1, "after"))
    sync.run()
    assert peer.run("SELECT count(*), count(DISTINCT id) FROM events") == [(40, 40)]
    sync.close()


def test_the_table_is_made_with_types_and_grows_with_the_model(postgres: PostgresServer, tmp_path: Path) -> None:
    peer = PostgresPeer(postgres, create=True)
    columns = pa.schema(
        [("id", pa.int64()), ("d", pa.decimal128(12, 2)), ("day", pa.date32()), ("raw", pa.binary()),
         ("u", pa.uint64()), ("ok", pa.bool_()), ("tags", pa.list_(pa.string())), ("local", pa.timestamp("us")),
         ("f", pa.float64())]
    )  # fmt: skip
    value = {"id": 1, "d": Decimal("12.34"), "day": date(2026, 2, 3), "raw": b"\x00\xff'", "u": 2**64 - 1, "ok": True,
             "tags": ["a", 'b"', None], "local": datetime(2026, 1, 2, 3, 4, 5, 6), "f": float("inf")}  # fmt: skip
    sync = SyncUnderTest(tmp_path, peer.destination(), columns, ("id",))
    sync.hand([value])
    assert sync.run().delivered == 1
    found = peer.run('SELECT id, d, day, raw, u, ok, tags, local, f FROM "Odd table"')
    assert dict(zip(columns.names, found[0], strict=True)) == {**value, "u": Decimal(2**64 - 1)}
    sync.columns = columns.append(pa.field("more", pa.string()))
    sync.hand([{**value, "id": 2, "more": "new"}])
    sync.run()
    assert peer.run('SELECT id, more FROM "Odd table" ORDER BY id') == [(1, None), (2, "new")]
    sync.close()
    peer.close()


def test_what_a_table_lacks_is_said(peer: PostgresPeer, tmp_path: Path) -> None:
    sync = SyncUnderTest(tmp_path, peer.destination(), COLUMNS, ("id",))
    assert peer.destination().check(sync.sync) == ["keeps the table public.Odd table equal to the model model"]
    with pytest.raises(DestinationStopped, match="there is no table"):
        peer.destination(table="nowhere").check(sync.sync)
    peer.run("CREATE TABLE bare (id bigint, name text)")
    with pytest.raises(DestinationStopped, match="no column 'amount', 'at'"):
        peer.destination(table="bare").check(sync.sync)
    peer.run("ALTER TABLE bare ADD COLUMN amount float8, ADD COLUMN at timestamptz")
    with pytest.raises(DestinationStopped, match="unique index"):
        peer.destination(table="bare").check(sync.sync)
    with pytest.raises(DestinationStopped, match="refuses the connection") as raised:
        PostgresDestination(
            PostgresSettings(url=SecretStr("postgresql://nobody:hunter22@" + peer._url.partition("@")[2]), table="bare")
        ).check(sync.sync)
    assert "hunter22" not in str(raised.value)
    sync.close()


def test_a_unique_value_that_is_handed_on_is_not_refused(peer: PostgresPeer, tmp_path: Path) -> None:
    peer.run('CREATE UNIQUE INDEX ON "Odd table" (name)')
    sync = SyncUnderTest(tmp_path, peer.destination(), COLUMNS, ("id",))
    sync.hand([row(1, "x"), row(2, "y")])
    sync.run()
    sync.hand([row(1, "y"), row(2, "z")], [row(1, "x"), row(2, "y")])
    picture = sync.run()
    assert picture.parked == 0 and {key: one["name"] for key, one in peer.rows().items()} == {1: "y", 2: "z"}
    sync.close()


def test_a_null_in_the_key_and_text_that_postgresql_cannot_hold_are_refused(peer: PostgresPeer, tmp_path: Path) -> None:
    sync = SyncUnderTest(tmp_path, peer.destination(), COLUMNS, ("id",))
    sync.hand([row(1), {**row(2), "id": None}, row(3, "nul\x00"), row(4)])
    picture = sync.run()
    assert (picture.delivered, picture.parked) == (2, 2) and set(peer.rows()) == {1, 4}
    assert sorted(one.message for one in sync.ledger.open.values())[0] == "a column of the key is null"
    sync.close()


def test_a_lock_that_stays_passes_and_nothing_is_parked(peer: PostgresPeer, tmp_path: Path) -> None:
    sync = SyncUnderTest(tmp_path, peer.destination(statement_timeout_s=1), COLUMNS, ("id",))
    sync.hand([row(1)])
    with psycopg.connect(peer._url) as other:
        other.execute('LOCK TABLE "Odd table"')
        picture = sync.run(until_trouble=True)
        assert picture.parked == 0 and "57014" in picture.trouble
    assert sync.run().delivered == 1
    sync.close()


def test_a_commit_without_an_answer_is_asked_for(peer: PostgresPeer, tmp_path: Path) -> None:
    destination = peer.destination()
    sync = SyncUnderTest(tmp_path, destination, COLUMNS, ("id",))
    session = destination.open(sync.sync)
    session._connection.commit = lambda: (_ for _ in ()).throw(psycopg.OperationalError("gone"))  # type: ignore[method-assign]
    sync.hand([row(1)])
    from headwater.deliver.destination import Batch

    handed = sync.outbox.read(0, 10)
    assert handed is not None
    with pytest.raises(DestinationUnavailable, match="no answer"):
        session.deliver(Batch(1, handed.rows, handed.op, handed.seq, handed.epoch))
    session.close()
    assert sync.run().delivered == 1 and set(peer.rows()) == {1}
    assert datetime.now(UTC) > row(1)["at"]  # type: ignore[operator]
    sync.close()


def test_what_doctor_finds(peer: PostgresPeer, postgres: PostgresServer) -> None:
    sync = Sync("shop", "crm", "", "customers", COLUMNS, ("id",), clock=HourAhead())
    found = {one.check: one for one in peer.destination().diagnose(sync)}
    assert {one.check for one in found.values() if one.level != "ok"} == {"clock"} and "behind" in found[
        "clock"
    ].message
    peer.run("CREATE ROLE clerk LOGIN")
    peer.run('GRANT SELECT ON "Odd table" TO clerk')
    destination = PostgresDestination(
        PostgresSettings(url=SecretStr(postgres.url(peer.database).replace("postgres@", "clerk@")), table="Odd table")
    )
    try:
        lacks = {one.check: one for one in destination.diagnose(sync)}["rights"]
        assert lacks.level == "fail"
        peer.run(lacks.mend.removeprefix("run as an administrator: "))
        assert {one.check: one.level for one in destination.diagnose(sync)}["rights"] == "ok"
    finally:
        peer.run("DROP OWNED BY clerk")
        peer.run("DROP ROLE clerk")
