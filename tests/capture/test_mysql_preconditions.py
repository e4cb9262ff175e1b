"""What a server and a user must be like: every refusal names the statement that mends it, and running it does."""

import pytest
from mysql_database import MysqlDatabase

from headwater.errors import SourceStopped, SourceUnavailable
from headwater.mysql_url import parse_url
from headwater.project.connectors import connector_of_url
from headwater.testing.clocks import HourAhead
from headwater.testing.mariadb import MariaDbServer


@pytest.fixture
def table(my):
    my.run("CREATE TABLE t (id int PRIMARY KEY)", "DROP USER IF EXISTS reader@'%'")
    my.run("CREATE USER reader@'%' IDENTIFIED BY 'p@ss/word'")
    yield my.url.replace("root@", "reader:p%40ss%2Fword@")
    my.run("DROP USER reader@'%'")


def refused(my, **settings):
    with pytest.raises(SourceStopped) as caught:
        my.source(**settings).check()
    assert "p@ss" not in str(caught.value) + caught.value.hint
    return caught.value


def test_rights_one_after_the_other(my, table):
    assert "GRANT SELECT ON" in refused(my, url=table).hint
    my.run(f"GRANT SELECT ON {my.name}.* TO reader@'%'")
    error = refused(my, url=table)
    assert "lacks the right REPLICATION SLAVE" in str(error)
    statement = error.hint.removeprefix("run as an administrator: ")
    my.run(statement)
    told = my.source(url=table).check()
    assert told[0] == f"captures 2 tables: {my.name}.marker, {my.name}.t"
    assert "GTID" in told[1]
    reader = my.open(my.source(url=table))
    assert reader.poll(1.0) is not None


def test_the_wrong_password(my, table):
    error = refused(my, url=table.replace("word", "wrong"))
    assert "check user and password" in error.hint


@pytest.mark.parametrize(
    ("setting", "value", "said", "mend"),
    [
        ("binlog_format", "STATEMENT", "binlog_format is STATEMENT", "SET GLOBAL binlog_format = 'ROW';"),
        ("binlog_format", "MIXED", "binlog_format is MIXED", "SET GLOBAL binlog_format = 'ROW';"),
    ],
)
def test_the_form_of_the_binary_log(my, table, setting, value, said, mend):
    my.run(f"SET GLOBAL {setting} = '{value}'")
    try:
        error = refused(my)
        assert said in str(error)
        assert mend in error.hint
    finally:
        my.run(mend)
    my.source().check()


def test_what_is_worth_knowing_is_said(my, table):
    my.run("SET GLOBAL binlog_row_image = 'MINIMAL'", "SET GLOBAL binlog_row_metadata = 'MINIMAL'")
    my.run("SET GLOBAL gtid_strict_mode = OFF", "CREATE TABLE slow (id int PRIMARY KEY) ENGINE = MyISAM")
    try:
        told = " ".join(my.source().check())
    finally:
        my.run("SET GLOBAL binlog_row_image = 'FULL'", "SET GLOBAL binlog_row_metadata = 'FULL'")
        my.run("SET GLOBAL gtid_strict_mode = ON")
    for sign in ("binlog_row_image is MINIMAL", "binlog_row_metadata", "gtid_strict_mode", f"{my.name}.slow"):
        assert sign in told


def test_a_server_without_a_binary_log():
    with MariaDbServer(settings={"skip-log-bin": "ON"}) as server:
        my = MysqlDatabase(server)
        my.run("CREATE TABLE t (id int PRIMARY KEY)")
        assert "log_bin = binlog" in refused(my).hint
        my.close()


def test_a_server_id_that_is_the_servers_own(my, table):
    assert "server_id: N" in refused(my, server_id=1).hint


def test_tables_that_are_not_there(my, table):
    assert "did you mean" in refused(my, tables=["tt"]).hint
    assert "name the database" in refused(my, url=my.server.url(), tables=["t"]).hint


def test_a_table_without_a_key_needs_its_rows(my, table):
    my.run("CREATE TABLE bag (n int)")
    assert "snapshot: initial" in refused(my, snapshot="never").hint


def test_xa_transactions_that_are_undecided(my, table):
    with my.server.connect(my.name) as other, other.cursor() as cursor:
        for statement in ("XA START 'w'", "INSERT INTO t VALUES (1)", "XA END 'w'", "XA PREPARE 'w'"):
            cursor.execute(statement)
    try:
        with pytest.raises(SourceStopped, match="prepared and undecided"):
            my.source().open(None)
    finally:
        my.run("XA ROLLBACK 'w'")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://h/d", "does not begin with mysql://"),
        ("mysql://h/d?sslmode=require", "no option 'sslmode'"),
        ("mysql://h/d?ssl=maybe", "ssl is one of"),
        ("mysql://h:port/d", "cannot be read"),
    ],
)
def test_urls_that_are_none(url, said):
    with pytest.raises(SourceStopped, match=said):
        parse_url(url)


def test_urls():
    address = parse_url("mariadb://us%40er:p%2Fw@db.example:3307/shop?ssl=verify_identity&socket=/run/my.sock")
    assert (address.user, address.password, address.host, address.port) == ("us@er", "p/w", "db.example", 3307)
    assert address.arguments()["unix_socket"] == "/run/my.sock"
    assert address.arguments()["ssl"].check_hostname
    assert "p/w" not in repr(address)
    assert parse_url("mysql://h/d?ssl=disabled").arguments()["ssl_disabled"] is True
    assert connector_of_url("mysql://h/d").type == connector_of_url("mariadb://h/d").type == "mysql"


def test_a_server_that_is_away(my):
    source = my.source(url=f"mysql://root@127.0.0.1:1/{my.name}")
    with pytest.raises(SourceUnavailable, match="does not answer"):
        source.check()


def test_a_server_without_tls_is_refused_when_it_is_wanted(my, table):
    assert "check ssl" in refused(my, url=my.url + "?ssl=required").hint


def test_what_doctor_finds(my):
    my.run("CREATE TABLE looked (id int PRIMARY KEY)")
    source = my.source()
    source._clock = HourAhead()
    found = {one.check: one for one in source.diagnose(None)}
    assert {name for name, one in found.items() if one.level != "ok"} == {"clock"}
    assert found.keys() >= {"version", "tls", "round trip", "retention", "capture"}
    reader = my.open(my.source())
    resume = None
    while resume is None:
        group = reader.poll(1.0)
        resume = group.boundary.resume if group is not None and not group.more else None
    reader.close()
    after = {one.check: one.level for one in my.source().diagnose(resume)}
    assert (after["position"], after["log kept"]) == ("ok", "ok")
