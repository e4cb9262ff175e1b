"""A reader's terminal with a PostgreSQL of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from terminal import Terminal

from headwater.testing.postgres import PostgresServer


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with PostgresServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        path = os.pathsep.join([str(Path(sys.executable).parent), str(server.bin), os.environ["PATH"]])
        folder = tmp_path / "reader"
        folder.mkdir()
        opened = Terminal(folder, {**os.environ, "PATH": path, "SHOP_URL": server.url("shop")})
        yield opened
        opened.stop()
