"""Fixtures of the runtime's tests."""

import pytest
from scripted_project import Shop


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "project")
