"""A few thousand of the inputs that `make fuzz-formats` has by the million."""

import pytest
from tests.fuzz import containers, formats


@pytest.mark.parametrize("form", formats.FORMATS)
def test_mutated_messages_have_declared_outcomes(form):
    bad = formats.run(form, 4000, seed=1)
    assert bad < 4000 and (bad or form == "raw")


def test_mutated_containers_have_declared_outcomes():
    whole, refused = containers.run(400, seed=1)
    assert whole > 50 and refused > 50
