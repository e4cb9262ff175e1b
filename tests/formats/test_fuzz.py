"""A few thousand of the inputs that `make fuzz-formats` has by the million."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("fuzz_formats", Path(__file__).with_name("fuzz_formats.py"))
fuzz_formats = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fuzz_formats)


@pytest.mark.parametrize("form", fuzz_formats.FORMATS)
def test_mutated_messages_have_declared_outcomes(form):
    assert 0 < fuzz_formats.fuzz(form, 4000, 1) < 4000
