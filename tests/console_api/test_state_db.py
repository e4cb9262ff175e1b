"""The state store as pages read it."""

import sqlite3
from types import SimpleNamespace

from headwater.console.state_db import reading
from headwater.runtime.checkpoint_history import kept_epochs


def test_a_state_store_that_is_being_made_is_none_yet(tmp_path):
    running = SimpleNamespace(project=SimpleNamespace(state=tmp_path))
    with reading(running) as found:
        assert found is None
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with reading(running) as found:
        assert found is None
    assert kept_epochs(tmp_path) == []
