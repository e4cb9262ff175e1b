"""Fixtures of the tests of capture: one server for all of them, a database for each."""

import pytest
from mysql_database import MysqlDatabase
from source_database import make_database

from headwater.testing.debian import POSTGRES_15, ensure
from headwater.testing.mariadb import MariaDbServer
from headwater.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def server():
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="session")
def server_15():
    with PostgresServer(programs=ensure(POSTGRES_15)) as running:
        yield running


@pytest.fixture(params=["server", "server_15"], ids=["18", "15"], scope="session")
def each_server(request):
    """The newest server, and Debian's."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def each_db(each_server):
    """A database on each server."""
    database = make_database(each_server)
    yield database
    database.drop()


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


@pytest.fixture
def my(mariadb):
    """A database on the shared MariaDB."""
    database = MysqlDatabase(mariadb)
    database.run("CREATE TABLE marker (id int AUTO_INCREMENT PRIMARY KEY)")
    yield database
    database.drop()


@pytest.fixture
def own_mariadb():
    """A database on a MariaDB of the test's own, to be stopped, reset and started."""
    with MariaDbServer() as running:
        database = MysqlDatabase(running)
        database.run("CREATE TABLE marker (id int AUTO_INCREMENT PRIMARY KEY)")
        yield database
        database.close()
