"""A schema migration tool changes the tables of a source under load: every mirror equals its table in the end.

24 tables and 50 migrations of Alembic at `make faults SIZE=night`; fewer in the suite.
"""

import os
import subprocess
import sys
import threading

import psycopg
from alembic import command
from alembic.config import Config
from running_project import wait_until

TABLES, MIGRATIONS = {"pr": (6, 10), "night": (24, 50), "release": (24, 200)}[os.environ.get("HEADWATER_SIZE", "pr")]
PROJECT = """
name: migrated
sources:
  app:
    type: postgres
    url: %s
    heartbeat_s: 0.5
run: {epoch_interval: 100 ms, checkpoint_interval: 500 ms}
"""
ENVIRONMENT = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
VERSION = '''"""Migration {number}."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number:04d}", {before}


def upgrade():
    {body}
'''
BODIES = (
    'op.add_column("{t}", sa.Column("c{n}", sa.Integer, server_default="7"))',
    'op.add_column("{t}", sa.Column("c{n}", sa.Text, nullable=False, server_default=sa.text("md5(random()::text)")))\n'
    '    op.alter_column("{t}", "c{n}", server_default=None, nullable=True)',
    'op.alter_column("{t}", "name", new_column_name="title")\n    op.execute("UPDATE {t} SET title = title || \'.\'")\n'
    '    op.alter_column("{t}", "title", new_column_name="name")',
    'op.alter_column("{t}", "n", type_=sa.BigInteger)',
    'op.add_column("{t}", sa.Column("d{n}", sa.Numeric(10, 2)))\n    op.execute("UPDATE {t} SET d{n} = n")\n'
    '    op.drop_column("{t}", "d{n}")',
    'op.alter_column("{t}", "price", type_=sa.Text)\n'
    '    op.alter_column("{t}", "price", type_=sa.Numeric(12, 3), postgresql_using="price::numeric")',
    'op.drop_column("{t}", "extra")\n    op.add_column("{t}", sa.Column("extra", sa.Text, server_default="again"))',
    'op.create_index("i{n}", "{t}", ["n"])\n    op.alter_column("{t}", "n", nullable=True, server_default="0")',
)


def write_migrations(folder):
    """Alembic's folder, with a migration per number; each changes two tables in one transaction."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENVIRONMENT)
    for number in range(1, MIGRATIONS + 1):
        bodies = (BODIES[(number + shift) % len(BODIES)] for shift in (0, 3))
        tables = (f"t{(number + shift) % TABLES}" for shift in (0, 1))
        body = "\n    ".join(b.format(t=t, n=f"{number}_{t}") for b, t in zip(bodies, tables, strict=True))
        text = VERSION.format(number=number, before=repr(f"{number - 1:04d}") if number > 1 else None, body=body)
        (folder / "versions" / f"{number:04d}.py").write_text(text)


class Load(threading.Thread):
    """Writes to all tables until told to stop, in columns that no migration touches."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.rounds = 0
        self.url = url

    def run(self):
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self.ended.wait(0.005):
                table, self.rounds = f"t{self.rounds % TABLES}", self.rounds + 1
                with connection.transaction():
                    connection.execute(f"INSERT INTO {table} (n) VALUES (%s)", (self.rounds,))
                    connection.execute(f"UPDATE {table} SET n = n + 1 WHERE id %% 5 = %s", (self.rounds % 5,))
                    connection.execute(f"DELETE FROM {table} WHERE id %% 17 = %s", (self.rounds % 17,))


def headwater(*arguments):
    """A command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "headwater.cli.app", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_mirrors_equal_their_tables_after_migrations_under_load(url, tmp_path):
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(TABLES):
            connection.execute(
                f"CREATE TABLE t{number} (id serial PRIMARY KEY, n int DEFAULT 1, name text DEFAULT 'x', extra text,"
                " price numeric(10,2) DEFAULT 1.5)"
            )
            connection.execute(f"INSERT INTO t{number} (n) SELECT g FROM generate_series(1, 50) g")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headwater.yml").write_text(PROJECT % url)
    write_migrations(tmp_path / "alembic")
    config = Config()
    config.set_main_option("script_location", str(tmp_path / "alembic"))
    config.set_main_option("sqlalchemy.url", url.replace("postgresql://", "postgresql+psycopg://"))
    with open(tmp_path / "run.log", "wb") as log:
        run = subprocess.Popen([sys.executable, "-m", "headwater.cli.app", "run", str(folder)], stdout=log, stderr=log)
    load = Load(url)
    try:
        wait_until(lambda: len(list((folder / "lake" / "migrated").iterdir())) == TABLES, "all tables are there")
        load.start()
        command.upgrade(config, "head")
        rounds = load.rounds
        wait_until(lambda: load.rounds > rounds + 2 * TABLES, "every table was written to once more")
        load.ended.set()
        load.join()
        names = [f"app.public.t{number}" for number in range(TABLES)]
        wait_until(lambda: headwater("verify", *names, "--folder", str(folder)).returncode == 0, "all are equal")
        verified = headwater("verify", *names, "--folder", str(folder))
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert run.poll() is None, (tmp_path / "run.log").read_text()
    finally:
        load.ended.set()
        run.terminate()
        run.wait(60)
