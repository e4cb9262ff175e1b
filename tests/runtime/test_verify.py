"""`headwater verify` on a real server: equal while everything runs, and every planted difference found."""

import io
import json
import math
import threading
from contextlib import contextmanager

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scripted_project import DEADLINE_S, wait_until
from source_database import make_database
from type_values import prepare

from headwater.cli.app import main
from headwater.clock import SystemClock
from headwater.errors import UserError
from headwater.lake.iceberg.table import IcebergTable
from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.runtime.verify import verify
from headwater.serve.query import open_lake
from headwater.testing.debian import POSTGRES_15, ensure
from headwater.testing.postgres import PostgresServer

PROJECT = """
name: shop
sources:
  shop: {{type: postgres, url: {url}, tables: ['public.*'], heartbeat_s: 0.2}}
run: {{epoch_interval: 50 ms, checkpoint_interval: 500 ms}}
"""


@pytest.fixture(scope="module", params=["18", "15"])
def database_server(request):
    with PostgresServer(programs=ensure(POSTGRES_15) if request.param == "15" else None) as running:
        yield running


class Mirror:
    """A database and the project that mirrors it."""

    def __init__(self, db, folder):
        self.db, self.folder = db, folder
        (folder / "headwater.yml").write_text(PROJECT.format(url=db.url))
        self.project = load(folder, environment={})

    @contextmanager
    def running(self):
        log, ended = io.StringIO(), []
        supervisor = Supervisor(self.project, Journal(log, as_json=True))
        thread = threading.Thread(target=lambda: ended.append(supervisor.run()))
        thread.start()
        try:
            wait_until(lambda: not thread.is_alive() or self.verify("marker"), "the first snapshot")
            assert thread.is_alive(), log.getvalue()
            yield self
        finally:
            supervisor.stop()
            thread.join(DEADLINE_S)
        assert ended == [None]

    def verify(self, table, **options):
        try:
            lake = open_lake(self.project)
        except UserError:
            return None
        try:
            return verify(self.project, lake, f"shop.{table}", SystemClock(), **options)
        except UserError as error:
            if "in the lake" not in error.message:
                raise
            return None
        finally:
            lake.close()

    @contextmanager
    def altered(self, alter):
        """The lake's rows are others than what was written, as after a fault of the disk or of ours."""
        read = IcebergTable.read
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(IcebergTable, "read", lambda table, epoch=None: alter(read(table, epoch)))
            yield


def flipped(rows, column, at):
    """The rows with the last bit of one number turned round."""
    return with_value(rows, column, at, math.nextafter(rows[column][at].as_py(), 1))


def with_value(rows, column, at, value):
    """The rows with another value in one place."""
    values = rows[column].to_pylist()
    values[at] = value
    return rows.set_column(
        rows.column_names.index(column), rows.schema.field(column), [pa.array(values, rows[column].type)]
    )


@pytest.fixture
def mirror(database_server, tmp_path):
    db = make_database(database_server)
    db.run("CREATE TABLE marker (id serial PRIMARY KEY)")
    yield Mirror(db, tmp_path)
    db.drop()


def told(certificate):
    return [(row.key, row.what, row.columns) for row in certificate.listed]


def test_every_type_is_equal_and_one_bit_is_found(mirror):
    db = mirror.db
    kinds = prepare(db)
    db.run(f"CREATE TABLE t (id serial PRIMARY KEY, {', '.join(f'c{i} {kind.sql}' for i, kind in enumerate(kinds))})")
    depth = max(len(kind.edges) for kind in kinds)
    marks = ", ".join(f"%s::text::{kind.sql}" for kind in kinds)
    for at in range(depth):
        row = [kind.edges[at] if at < len(kind.edges) else None for kind in kinds]
        db.connection.execute(f"INSERT INTO t VALUES (DEFAULT, {marks})", row)
    real = next(f"c{i}" for i, kind in enumerate(kinds) if kind.sql == "double precision")
    with mirror.running():
        found = mirror.verify("t")
        assert (found.verdict, found.rows, found.rows_here) == ("equal", depth, depth)
        assert found.checksum == found.checksum_here
        with mirror.altered(lambda rows: flipped(rows.sort_by("id"), real, 5)):
            found = mirror.verify("t")
        assert (found.verdict, found.buckets_differing, found.differences) == ("different", 1, 1)
        assert told(found) == [('["6"]', "differs", (real,))]


def test_equal_at_an_exact_position_while_everything_changes(mirror):
    db = mirror.db
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "CREATE TABLE f (a int, b text)",
        "ALTER TABLE f REPLICA IDENTITY FULL",
        "CREATE TABLE p (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part)",
        "CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE a (n int)",
        "INSERT INTO t SELECT g, 'x', repeat(md5(g::text), 100) FROM generate_series(1, 2000) g",
        "INSERT INTO f SELECT g % 10, 'same' FROM generate_series(1, 1000) g",
        "INSERT INTO p SELECT g, g % 2 FROM generate_series(1, 1000) g",
        "INSERT INTO a SELECT g % 3 FROM generate_series(1, 100) g",
    )
    stop = threading.Event()

    def write(number):
        with psycopg.connect(db.url, autocommit=True) as connection:
            at = number
            while not stop.is_set():
                at += 7
                connection.execute(
                    f"UPDATE t SET v = 'v{at}', id = id + (id % 5 = 0)::int * 10000 WHERE id % 97 = {at % 97}"
                )
                connection.execute(f"DELETE FROM t WHERE id % 499 = {at % 499}")
                connection.execute(
                    f"INSERT INTO t VALUES ({at + 100_000 * number}, 'new', repeat('y', 3000)) ON CONFLICT DO NOTHING"
                )
                connection.execute("DELETE FROM f WHERE ctid IN (SELECT ctid FROM f LIMIT 3)")
                connection.execute(f"INSERT INTO f VALUES ({at % 10}, 'same'), ({at % 10}, 'same')")
                connection.execute(f"UPDATE p SET part = 1 - part WHERE id % 101 = {at % 101}")
                connection.execute(f"INSERT INTO a VALUES ({at % 3})")
                if at % 50 == 0:
                    connection.execute("TRUNCATE p")

    with mirror.running():
        writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
        for writer in writers:
            writer.start()
        try:
            found = [mirror.verify(table) for table in ("t", "f", "p", "a")]
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert [(c.table, c.verdict, c.listed) for c in found] == [(c.table, "equal", ()) for c in found]
        assert len({c.commit for c in found}) == len(found)


def test_lost_and_ghost_rows_are_listed_and_a_certificate_is_kept(mirror, capsys):
    db = mirror.db
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 300) g",
        "CREATE TABLE f (a int, b text)",
        "ALTER TABLE f REPLICA IDENTITY FULL",
        "INSERT INTO f VALUES (1, 'x'), (1, 'x'), (2, 'y')",
    )
    with mirror.running():

        def alter(rows):
            if "id" in rows.column_names:
                rows = with_value(rows.sort_by("id"), "v", 8, "X")
                return pa.concat_tables([rows.filter(pc.not_equal(rows["id"], 99)), with_value(rows[:1], "id", 0, 999)])
            rows = rows.sort_by("a")
            return pa.concat_tables([rows[:1], rows[1:2], rows[:1], rows[:1]])

        with mirror.altered(alter):
            code = main(["verify", "shop.t", "shop.f", "--folder", str(mirror.folder), "--json"])
        t, f = json.loads(capsys.readouterr().out)["certificates"]
        assert code == 5
        rows = [(row["key"], row["what"], row["columns"]) for row in t["listed"]]
        assert rows == [('["9"]', "differs", ["v"]), ('["99"]', "missing", []), ('["999"]', "extra", [])]
        assert sorted((row["what"], row["count"]) for row in f["listed"]) == [("extra", 2), ("missing", 1)]
        assert main(["verify", "shop.marker", "--folder", str(mirror.folder)]) == 0
    assert main(["verify", "--list", "--folder", str(mirror.folder), "--json"]) == 0
    kept = json.loads(capsys.readouterr().out.splitlines()[-1])["certificates"]
    assert [(c["stream"], c["verdict"]) for c in kept] == [("f", "different"), ("marker", "equal"), ("t", "different")]
    with pytest.raises(UserError, match="has not reached"):
        mirror.verify("t", wait_s=0.0)
    with pytest.raises(UserError, match="not captured"):
        mirror.verify("nothing")


def test_rows_that_the_ledger_holds_are_told_apart(mirror, capsys):
    db = mirror.db
    db.run("CREATE TABLE t (id int PRIMARY KEY, d time, big text)", "ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    db.run("INSERT INTO t SELECT g, '10:00', repeat('x', 3000) FROM generate_series(1, 50) g")
    db.run("INSERT INTO t VALUES (100, '24:00', repeat('y', 3000))")
    with mirror.running():
        found = mirror.verify("t")
        assert (found.verdict, found.rejected, found.differences, found.rejects_open) == ("rejected", 1, 0, 1)
        db.run("UPDATE t SET d = '24:00' WHERE id = 5")
        found = mirror.verify("t")
        assert (found.verdict, found.rows, found.rows_here, found.rejected) == ("rejected", 51, 49, 2)
        assert main(["verify", "shop.t", "--folder", str(mirror.folder)]) == 1
        db.run("UPDATE t SET d = '23:00' WHERE id IN (5, 100)")
        wait_until(lambda: mirror.verify("t").verdict == "equal", "the healed rows")
        assert mirror.verify("t").rejects_open == 0
