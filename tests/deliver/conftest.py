"""Servers for the tests of destinations: one of each for all of a worker's tests."""

import pytest

from headwater.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres():
    with PostgresServer() as running:
        yield running
