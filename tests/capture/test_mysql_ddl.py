"""Statements that change tables: followed through their text, they end where the server's own catalog ends."""

import pytest

from headwater.capture.mysql.binlog import Query
from headwater.capture.mysql.catalog import list_tables, read_definitions
from headwater.capture.mysql.connection import connect
from headwater.capture.mysql.ddl import read_statement
from headwater.capture.mysql.definition import from_json, to_json
from headwater.capture.mysql.history import History
from headwater.capture.mysql.selection import Selection
from headwater.capture.mysql.settings import MysqlSettings
from headwater.errors import SourceStopped

CREATES = [
    """CREATE TABLE t (
        id int unsigned NOT NULL AUTO_INCREMENT COMMENT 'a, b) "c"', `odd 'name` varchar(20) DEFAULT 'it''s',
        price DECIMAL(12,2) NOT NULL DEFAULT -1.50, n numeric(5), ok BOOLEAN,
        at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
        e ENUM('a','b,c','d''e') CHARACTER SET latin1, s SET('x','y'),
        f FLOAT, g DOUBLE PRECISION, r REAL, bits BIT(5), y YEAR, c CHARACTER VARYING(7), nc NATIONAL CHAR(3),
        b BINARY(4), v VARBINARY(9), tx TEXT, lb LONGBLOB, gen int AS (n + 1) STORED, virt int GENERATED ALWAYS AS
        (n * 2) VIRTUAL, /* a comment, with (parens */ i1 INT1, i2 INTEGER(4) ZEROFILL, i8 BIGINT,
        PRIMARY KEY (id), UNIQUE KEY uq (price, n), KEY k (c), CONSTRAINT chk CHECK (n > 0)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='table, with (parens)'""",
    "CREATE TABLE IF NOT EXISTS t (a int PRIMARY KEY, b varchar(3) UNIQUE, c char(2) NOT NULL UNIQUE KEY)",
    "CREATE TABLE t (a int NOT NULL, b int NOT NULL, CONSTRAINT pk PRIMARY KEY USING BTREE (b, a), UNIQUE (a))",
    "CREATE TABLE t (a int, b int) PARTITION BY HASH (a) PARTITIONS 2",
    "CREATE TABLE t (a serial, b uuid, c inet6 NOT NULL DEFAULT '::', g geometry NOT NULL, p point, t3 time(3))",
    "CREATE TABLE t (a int, b text, UNIQUE KEY part (b(10)))",
]

ALTERS = [
    "ALTER TABLE t ADD x int",
    "ALTER TABLE t ADD COLUMN x varchar(10) NOT NULL DEFAULT 'q' AFTER a, ADD COLUMN (y int, z decimal(3,1))",
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int, ADD x int FIRST",
    "ALTER TABLE t DROP COLUMN b",
    "ALTER TABLE t DROP COLUMN c",
    "ALTER TABLE t DROP b, ADD b2 bigint FIRST",
    "ALTER TABLE t MODIFY b bigint unsigned NOT NULL FIRST",
    "ALTER TABLE t CHANGE COLUMN b bb mediumtext AFTER c",
    "ALTER TABLE t RENAME COLUMN b TO bbb",
    "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, c)",
    "ALTER TABLE t ADD UNIQUE INDEX u2 (c, a), ADD INDEX plain (c), ALGORITHM=INPLACE, LOCK=NONE",
    "ALTER TABLE t ADD CONSTRAINT named UNIQUE (c), DROP INDEX u1",
    "CREATE UNIQUE INDEX u3 ON t (c)",
    "DROP INDEX u1 ON t",
    "ALTER TABLE t ALTER COLUMN b SET DEFAULT 5, COMMENT = 'x, y', ENGINE=InnoDB, ORDER BY a",
    "ALTER TABLE t CONVERT TO CHARACTER SET latin1",
    "ALTER TABLE t ADD j json, ADD bo bool NOT NULL DEFAULT TRUE",
    "alter table `t` modify column `c` enum('p','q') not null",
    "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES other (id), ADD CHECK (a > 0)",
    "/* hello */ ALTER /*!50000 TABLE */ t ADD x int -- trailing",
    "RENAME TABLE t TO other_name",
    "ALTER TABLE t RENAME TO other_name, ADD x int",
    "DROP TABLE IF EXISTS t, nothing",
]


@pytest.fixture
def catalog(my):
    connection = connect(MysqlSettings(url=my.url))

    def read():
        entries = [entry for entry in list_tables(connection) if entry.database == my.name]
        return {one.name: one for one in read_definitions(connection, entries)}

    yield read
    connection.close()


def shape(table):
    """What must be equal: names, types, nullability and key; widths of integers are a matter of taste."""
    columns = []
    for column in table.columns:
        kind = column.type.replace("longtext", "json") if column.name == "j" else column.type
        plain = kind.split("(")[0] if "int" in kind else kind
        sign = " unsigned" if "unsigned" in kind else ""
        columns.append(
            (column.name, plain.split()[0] + sign if "int" in kind else kind, column.nullable, column.default)
        )
    return columns, table.key


def history(my, tables=()):
    return History(tables, Selection(("*", "!other*"), (), my.name))


@pytest.mark.parametrize("statement", CREATES, ids=range(len(CREATES)))
def test_create(my, catalog, statement):
    my.run(statement)
    followed = history(my)
    assert followed.apply(Query(my.name, statement, 0, 0)).changed
    (table,) = [one for one in followed.tables if one.name == "t"]
    assert shape(table) == shape(catalog()["t"])
    assert from_json(to_json([table])) == [table]


@pytest.mark.parametrize("statement", ALTERS, ids=[one[:40] for one in ALTERS])
def test_alter(my, catalog, statement):
    my.run(
        "CREATE TABLE other (id int PRIMARY KEY)",
        "CREATE TABLE t (a int PRIMARY KEY, b int, c char(4) NOT NULL, UNIQUE KEY u1 (c))",
    )
    followed = history(my, catalog().values())
    my.run(statement)
    followed.apply(Query(my.name, statement, 0, 0))
    server = {name: shape(table) for name, table in catalog().items()}
    assert {table.name: shape(table) for table in followed.tables} == server


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE t DROP PARTITION p1", "DROP PARTITION"),
        ("ALTER TABLE t EXCHANGE PARTITION p1 WITH TABLE u", "EXCHANGE PARTITION"),
        ("ALTER TABLE t ADD SYSTEM VERSIONING", "ADD SYSTEM"),
        ("ALTER TABLE t DROP COLUMN nothing", "no column"),
        ("INSERT INTO t VALUES (1)", "statement that the binlog holds instead"),
        ("FROBNICATE t", "FROBNICATE"),
        ("CREATE TABLE u LIKE unheard_of", "not known here"),
        ("RENAME TABLE x TO t", "which is not known here"),
        ("CREATE TABLE t AS SELECT 1", "made from a query"),
    ],
)
def test_what_cannot_be_followed_stops_with_the_statement(my, catalog, statement, said):
    my.run("CREATE TABLE t (a int PRIMARY KEY, b int)")
    followed = history(my, catalog().values())
    with pytest.raises(SourceStopped, match=said) as stopped:
        followed.apply(Query(my.name, statement, 0, 0))
    assert stopped.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON *.* TO someone",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY DEFINER VIEW v AS SELECT 1",
        "CREATE DEFINER=`root`@`localhost` TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        "CREATE TEMPORARY TABLE t (z int)",
        "DROP TEMPORARY TABLE IF EXISTS t",
        "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`",
        "ANALYZE TABLE t",
        "CREATE USER u IDENTIFIED BY 'DROP TABLE t'",
        "FLUSH TABLES",
        "ALTER TABLE elsewhere.t ADD x int",
        "# only a comment",
    ],
)
def test_what_changes_no_table_changes_nothing(my, catalog, statement):
    my.run("CREATE TABLE t (a int PRIMARY KEY, b int)")
    before = tuple(catalog().values())
    followed = history(my, before)
    effect = followed.apply(Query(my.name, statement, 0, 0))
    assert (effect.changed, effect.emptied) == (False, ())
    assert set(followed.tables) == set(before)


@pytest.mark.parametrize(
    ("statement", "emptied"),
    [
        ("TRUNCATE t", ["t"]),
        ("TRUNCATE TABLE `t`", ["t"]),
        ("DELETE FROM `DB`.`t`", ["t"]),
        ("DROP TABLE t", ["t"]),
        ("DROP DATABASE DB", ["marker", "t"]),
        ("CREATE OR REPLACE TABLE t (x int)", ["t"]),
        ("CREATE TABLE IF NOT EXISTS t (x int)", []),
        ("RENAME TABLE t TO other_t", ["t"]),
    ],
)
def test_rows_that_go_at_once(my, catalog, statement, emptied):
    my.run("CREATE TABLE t (a int PRIMARY KEY, b int)")
    followed = history(my, catalog().values())
    effect = followed.apply(Query(my.name, statement.replace("DB", my.name), 0, 0))
    assert sorted(table.name for table in effect.emptied) == emptied


def test_statements_of_every_kind_are_told_apart():
    assert [change.kind for change in read_statement("RENAME TABLE a TO b, c TO d", "x")] == ["rename", "rename"]
    assert read_statement("ALTER TABLE x.y ADD z int", "w")[0].table == ("x", "y")
    assert read_statement("CREATE SEQUENCE s START WITH 1", "x")[0].definition.columns == ()
