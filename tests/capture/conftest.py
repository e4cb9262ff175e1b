"""Fixtures of the tests of capture: one server for all of them, a database for each."""

import pytest
from source_database import make_database

from headwater.testing.mariadb import MariaDbServer
from headwater.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def server():
    with PostgresServer() as running:
        yield running


@pytest.fixture
def db(server):
    database = make_database(server)
    yield database
    database.drop()


@pytest.fixture
def own_server():
    """A server of the test's own, to be stopped and started."""
    with PostgresServer() as running:
        database = make_database(running)
        yield database
        database.close()


@pytest.fixture(scope="session")
def mariadb():
    """One MariaDB for all tests of a worker; its binary log is never reset."""
    with MariaDbServer() as running:
        yield running
