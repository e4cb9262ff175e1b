"""Fixtures of the fault tests: a server that a test may stop, and a bank on it."""

import itertools

import psycopg
import pytest
from running_project import Bank

from headwater.testing.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server():
    with PostgresServer() as running:
        yield running


@pytest.fixture
def url(server):
    name = f"bank_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def bank(url, tmp_path):
    made = Bank(url, tmp_path / "bank")
    yield made
    made.close()
