"""A few thousand of the inputs that `make fuzz-formats` has by the million."""

import pytest
from tests.fuzz import formats


@pytest.mark.parametrize("form", formats.FORMATS)
def test_mutated_messages_have_declared_outcomes(form):
    bad = formats.run(form, 4000, seed=1)
    assert bad < 4000 and (bad or form == "raw")
