"""A database of a test's own on a running MariaDB."""

import itertools

from headwater.capture.mysql.settings import MysqlSettings
from headwater.capture.mysql.source import MysqlSource

_numbers = itertools.count()


class MysqlDatabase:
    """One database: its URL, an autocommit connection, and sources made for it."""

    def __init__(self, server, name=None):
        self.server, self.name = server, name or f"shop{next(_numbers)}"
        self.readers = []
        self.settings = {}
        with server.connect() as admin:
            admin.cursor().execute(f"CREATE DATABASE IF NOT EXISTS {self.name} CHARACTER SET utf8mb4")
        self.url = server.url(self.name)
        self.connect()

    def connect(self):
        self.connection = self.server.connect(self.name)

    def run(self, *statements):
        """Executes statements; the rows of the last one."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def source(self, url=None, identity="t", name="shop", **settings):
        settings = MysqlSettings(url=url or self.url, **{**self.settings, **settings})
        return MysqlSource(name, settings, project=self.name, identity=identity)

    def open(self, source, resume=None, decision=None):
        reader = source.open(resume, decision)
        self.readers.append(reader)
        return reader

    def close(self):
        for reader in self.readers:
            reader.close()
        if self.connection.open:
            self.connection.close()

    def drop(self):
        self.close()
        with self.server.connect() as admin:
            admin.cursor().execute(f"DROP DATABASE IF EXISTS {self.name}")

    def rows(self, table, key="id"):
        """The table's rows as dicts by key."""
        import pymysql

        with self.connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return {(row[key],): row for row in cursor.fetchall()}


def read_to_end(reader, database, marker="marker"):
    """Groups up to a row that is put into the table `marker` now, each confirmed."""
    from replay import read_until, rows_of

    with database.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {database.name}.{marker} VALUES ()")
        row = cursor.lastrowid
    return read_until(reader, lambda groups: any(r["id"] == row for r in rows_of(groups, marker)))
