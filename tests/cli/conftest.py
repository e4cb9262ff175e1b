"""A PostgreSQL for the commands that ask one, and a way to run the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from headwater.cli.app import main
from headwater.testing.postgres import PostgresServer

SHOP = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text, country text NOT NULL);
CREATE TABLE payments (id bigint PRIMARY KEY, amount numeric(12,2) NOT NULL, paid_at timestamptz NOT NULL);
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `headwater` with these arguments."""

    def _run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return _run


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


@pytest.fixture
def shop(server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of its own with two tables."""
    name = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower())[:60].strip("_")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
        connection.execute(f'CREATE DATABASE "{name}"')
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(SHOP)
    yield server.url(name)
