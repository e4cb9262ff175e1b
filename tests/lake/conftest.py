from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_model import FORMATS, open_any

from headwater.lake.table_format import Lake
from headwater.testing.lake_servers import LakeServers
from headwater.testing.postgres import PostgresServer


@pytest.fixture
def lake(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    """An Iceberg lake; in the contract suite one of each format."""
    opened = open_any(getattr(request, "param", "iceberg"), tmp_path / "lake")
    yield opened
    opened.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The contract suite runs over every format."""
    if metafunc.module.__name__.rpartition(".")[2].startswith("test_contract"):
        for name in {"lake", "format"} & set(metafunc.fixturenames):
            metafunc.parametrize(name, FORMATS, indirect=name == "lake")


@pytest.fixture(scope="session")
def lake_servers() -> Iterator[LakeServers]:
    with LakeServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def catalog_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server
