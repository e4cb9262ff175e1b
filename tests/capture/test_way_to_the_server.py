"""How a source reaches its server: TLS with a CA of our own, passwords by reference, and poolers, which are refused."""

import shutil
import socket
import subprocess
import threading
import time

import psycopg
import pytest
from replay import DEADLINE_S, read_snapshot, read_to_marker
from source_database import make_database

from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.source import PostgresSource
from headwater.errors import SourceStopped, SourceUnavailable
from headwater.testing import debian
from headwater.testing.postgres import PostgresServer, _server_user
from headwater.testing.proxy import Proxy

TABLES = ("CREATE TABLE orders (id int PRIMARY KEY)", "CREATE TABLE marker (id serial PRIMARY KEY)")
EXTENSIONS = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n"


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def make_ca(folder, name):
    """A CA: its key and certificate."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", f"/CN={name}", "-keyout", key,
            "-out", certificate)  # fmt: skip
    return key, certificate


def make_certificate(folder, ca):
    """A certificate of the CA for `localhost`."""
    key, request, certificate = folder / "server.key", folder / "server.csr", folder / "server.crt"
    extensions = folder / "extensions"
    extensions.write_text(EXTENSIONS)
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", ca[1], "-CAkey", ca[0], "-CAcreateserial", "-days", 2,
            "-extfile", extensions, "-out", certificate)  # fmt: skip
    return key, certificate


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that speaks TLS, with a certificate for `localhost` of a CA of ours; and the folder of the CA. It is
    Debian's, of version 15: the wheel's is built without TLS."""
    folder = tmp_path_factory.mktemp("tls")
    server = PostgresServer(programs=debian.ensure(debian.POSTGRES_15))
    server.start()
    server.pause()
    for made in make_certificate(folder, make_ca(folder, "ca")):
        there = shutil.copy(made, server.folder / "data" / made.name)
        if _server_user():
            shutil.chown(there, _server_user())
        (server.folder / "data" / made.name).chmod(0o600)
    make_ca(folder, "stranger")
    server._settings["ssl"] = "on"
    with server:
        yield server, folder


@pytest.fixture
def tls(secure):
    server, folder = secure
    database = make_database(server)
    database.run(*TABLES)
    database.way = f"postgresql://postgres@localhost:{server.port}/{database.name}?sslmode=verify-full"
    database.ca, database.stranger = folder / "ca.crt", folder / "stranger.crt"
    yield database
    database.drop()


def test_verify_full(tls):
    source = tls.source(f"{tls.way}&sslrootcert={tls.ca}")
    found = {finding.check: finding for finding in source.diagnose(None)}
    assert found["tls"].level == "ok" and "has proved" in found["tls"].message
    reader = tls.open(source)
    read_snapshot(reader)
    read_to_marker(reader, tls.connection)
    spoken = tls.connection.execute(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'headwater'"
    )
    assert spoken.fetchone() == (True,)


def test_a_server_that_proves_nothing_is_not_spoken_to(tls):
    for way in (
        f"{tls.way}&sslrootcert={tls.stranger}",
        f"{tls.way.replace('@localhost', '@127.0.0.1')}&sslrootcert={tls.ca}",
    ):
        with pytest.raises(SourceStopped, match="certificate") as caught:
            tls.source(way).check()
        assert "sslrootcert" in caught.value.hint


def test_tls_that_breaks_in_the_middle(tls):
    """TLS drop: the connection is reset inside a TLS record; the source goes on where it was."""
    with Proxy(tls.server.port) as proxy:
        way = tls.way.replace(f":{tls.server.port}/", f":{proxy.port}/") + f"&sslrootcert={tls.ca}"
        source = tls.source(way, heartbeat_s=0.2)
        reader = tls.open(source)
        groups = read_snapshot(reader)
        groups += read_to_marker(reader, tls.connection)
        proxy.reset_after(1000)
        tls.run("INSERT INTO orders SELECT generate_series(1, 5000)")
        deadline = time.monotonic() + DEADLINE_S
        with pytest.raises(SourceUnavailable):
            while time.monotonic() < deadline:
                group = reader.poll(0.1)
                groups += [group] if group else []
        reader.close()
        reader = tls.open(source, groups[-1].boundary.resume)
        groups += read_to_marker(reader, tls.connection)
        assert sum(len(batch) for g in groups for batch in g.batches if batch.stream.name == "orders") == 5000


def test_plaintext_to_another_machine_is_a_warning(db):
    """An address of this machine that is not loopback stands for another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        host = probe.getsockname()[0]
    with PostgresServer(settings={"listen_addresses": "*"}) as server:
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all all {host}/32 trust\nhost replication all {host}/32 trust\n" + rules.read_text())
        database = make_database(server)
        database.run("SELECT pg_reload_conf()", *TABLES)
        source = database.source(database.url.replace("127.0.0.1", host))
        found = {finding.check: finding for finding in source.diagnose(None)}
        assert found["tls"].level == "warn" and "verify-full" in found["tls"].mend
        database.close()


@pytest.fixture(scope="module")
def locked():
    """A server that asks the role `capture` for its password, `s3cr3t word`."""
    with PostgresServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("CREATE ROLE capture LOGIN REPLICATION SUPERUSER PASSWORD 's3cr3t word'")
            rules = server.folder / "data" / "pg_hba.conf"
            rules.write_text("host all capture 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
            admin.execute("SELECT pg_reload_conf()")
        yield server


def test_a_password_from_a_pgpass_file_and_a_service_file(locked, tmp_path, monkeypatch):
    database = make_database(locked)
    database.run(*TABLES)
    passwords, services = tmp_path / "pgpass", tmp_path / "services"
    passwords.write_text("127.0.0.1:*:*:capture:s3cr3t word\n")
    passwords.chmod(0o600)
    services.write_text(f"[shop]\nhost=127.0.0.1\nport={locked.port}\ndbname={database.name}\nuser=capture\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    for way in (
        f"postgresql://capture@127.0.0.1:{locked.port}/{database.name}?passfile={passwords}",
        f"postgresql://?service=shop&passfile={passwords}",
    ):
        assert database.source(way).check()
    with pytest.raises(SourceStopped, match="password") as caught:
        database.source("postgresql://capture:wr0ng%20word@127.0.0.1:" + f"{locked.port}/{database.name}").check()
    assert "wr0ng" not in caught.value.message + caught.value.hint
    database.drop()


class Pooler:
    """PgBouncer before a server, in a folder of its own.

    Args:
        ignored: startup parameters that it lets pass without heeding them.
    """

    def __init__(self, server, ignored=""):
        programs = debian.ensure(debian.PGBOUNCER)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder = server.folder / f"pooler-{self.port}"
        folder.mkdir()
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
            f"ignore_startup_parameters = {ignored}\n[users]\n".replace("* = host", "* = user=postgres host")
        )
        self.process = subprocess.Popen(
            [str(programs / "pgbouncer"), str(settings)],
            user=_server_user(), stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"),
        )  # fmt: skip
        deadline, never = time.monotonic() + DEADLINE_S, threading.Event()
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self.process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            never.wait(0.02)

    def close(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.mark.parametrize("ignored", ["", "options,extra_float_digits"], ids=["strict", "lenient"])
def test_a_pooler_is_refused_with_the_reason(db, ignored):
    """A strict pooler refuses us; a lenient one lets us in and drops our settings: both are told, as what they are."""
    db.run(*TABLES)
    pooler = Pooler(db.server, ignored)
    try:
        settings = PostgresSettings(url=f"postgresql://postgres@127.0.0.1:{pooler.port}/{db.name}")
        source = PostgresSource("shop", settings, project="shop", identity="t")
        with pytest.raises(SourceStopped) as caught:
            source.check()
        assert "pooler" in caught.value.message + caught.value.hint
        assert "let it lead" in caught.value.hint or "let the url lead" in caught.value.hint
        if ignored:
            found = {finding.check: finding for finding in source.diagnose(None)}
            assert found["pooler"].level == "fail", "seen by the server process, not only by a refusal"
    finally:
        pooler.close()
