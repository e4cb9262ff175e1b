"""One project under attack for all tests here."""

import pytest
from attacked import Attacked


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project under attack: one for all attacks, as in earnest."""
    made = Attacked(tmp_path_factory.mktemp("attacks"))
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made._stop.set()
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@pytest.fixture(autouse=True)
def attacked(project):
    """The project; after the test it must be unharmed."""
    yield project
    project.require_unharmed()
