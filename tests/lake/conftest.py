from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_model import open_lake

from headwater.lake.iceberg import IcebergLake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[IcebergLake]:
    opened = open_lake(tmp_path / "lake")
    yield opened
    opened.close()
