"""A database of a test's own on a running server."""

import itertools
import time

import psycopg

from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.source import PostgresSource

_numbers = itertools.count()


class Database:
    """One database: its URL, an autocommit connection, and sources made for it."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.url = server.url(name)
        self.readers = []
        self.connect()

    def connect(self):
        self.connection = psycopg.connect(self.url, autocommit=True)

    def run(self, *statements):
        for statement in statements:
            self.connection.execute(statement)

    def source(self, url=None, identity="t", **settings):
        settings = PostgresSettings(url=url or self.url, **settings)
        return PostgresSource("shop", settings, project=self.name, identity=identity)

    def open(self, source, resume=None):
        reader = source.open(resume)
        self.readers.append(reader)
        return reader

    def open_decided(self, source, resume, decision):
        reader = source.open(resume, decision)
        self.readers.append(reader)
        return reader

    def close(self):
        for reader in self.readers:
            reader.close()
        self.connection.close()

    def drop(self):
        """Closes everything and takes the database and its slots away."""
        self.close()
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            slots = "FROM pg_replication_slots WHERE database = %s"
            for (slot,) in admin.execute(f"SELECT slot_name {slots}", (self.name,)).fetchall():
                self._drop_slot(admin, slot)
            admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    def _drop_slot(self, admin, slot):
        deadline = time.monotonic() + 60
        while True:
            try:
                return admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            except psycopg.errors.ObjectInUse:
                assert time.monotonic() < deadline


def make_database(server):
    name = f"shop{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return Database(server, name)
