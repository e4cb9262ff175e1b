"""One real PostgreSQL for the room's tests, and a shop in a database of its own for each test that asks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from headwater.demo import shop
from headwater.testing.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer) -> str:
    """URL of a new, empty database."""
    name = f"demo_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def shop_url(database: str) -> str:
    """URL of a database with a small shop in it."""
    shop.create(database, customers=40, products=20, orders=120)
    return database
