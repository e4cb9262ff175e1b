from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_model import open_lake

from headwater.lake.iceberg import IcebergLake
from headwater.testing.lake_servers import LakeServers
from headwater.testing.postgres import PostgresServer


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[IcebergLake]:
    opened = open_lake(tmp_path / "lake")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def lake_servers() -> Iterator[LakeServers]:
    with LakeServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def catalog_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server
