"""A little of `make fuzz-formats`, with every decoder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import formats


@pytest.mark.parametrize("name", formats.FORMATS)
def test_mutated_messages_do_no_harm(name):
    assert formats.run(name, 20_000, tell=lambda *_, **__: None) > 1000
