"""Programs that come as Debian packages."""

from pathlib import Path

import pytest

from headwater.errors import UserError
from headwater.testing.debian import MARIADB, Programs, ensure


def test_what_is_installed_is_found():
    assert (ensure(MARIADB) / "mariadbd").exists()


def test_what_cannot_be_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError) as caught:
        ensure(Programs("mariadb-server-core", Path("/nowhere"), ("mariadbd",)))
    assert "sudo apt-get install --yes --no-install-recommends mariadb-server-core" in caught.value.hint


def test_a_server_writes_a_binary_log(mariadb):
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        assert cursor.fetchall()
