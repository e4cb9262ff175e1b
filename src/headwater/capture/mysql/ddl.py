"""What a statement of the binlog does to tables: CREATE, ALTER, RENAME, DROP and TRUNCATE are followed, statements that
change no table's shape or rows are known by their first words, and anything else is not passed over in silence."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.capture.mysql.definition import TableDefinition, TableName
from headwater.capture.mysql.shape import Shape
from headwater.capture.mysql.statement import NotUnderstood, Reading, Token, split, tokens

_HARMLESS = frozenset(
    {
        "GRANT",
        "REVOKE",
        "SET",
        "FLUSH",
        "ANALYZE",
        "OPTIMIZE",
        "CHECK",
        "REPAIR",
        "INSTALL",
        "UNINSTALL",
        "KILL",
        "SHOW",
        "USE",
        "RESET",
        "CHANGE",
        "PURGE",
        "START",
        "STOP",
        "SIGNAL",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT",
        "RELEASE",
        "LOCK",
        "UNLOCK",
        "DELIMITER",
    }
)
_NO_TABLE = frozenset(
    {
        "VIEW",
        "TRIGGER",
        "PROCEDURE",
        "FUNCTION",
        "EVENT",
        "USER",
        "ROLE",
        "SERVER",
        "TABLESPACE",
        "LOGFILE",
        "UNDO",
        "RESOURCE",
        "AGGREGATE",
        "DEFINER",
        "SQL",
        "ALGORITHM",
        "PACKAGE",
        "INSTANCE",
        "SPATIAL_REFERENCE",
    }
)
_DATA = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "HANDLER"})


@dataclass(frozen=True)
class Change:
    """Something that a statement does.

    Attributes:
        kind: create, alter, drop, rename, truncate; unclear: the table changed and it cannot be followed how; data:
            rows were changed by a statement that the binlog holds instead of the rows.
        table: whose; ("database", "") for all tables of a database.
        to: the new name of a rename.
        like: the table of which a create makes a copy.
        definition: what a create makes, if it says so.
        parts: what an alter does, the tokens of each part.
        keep: a create does nothing if the table is there, a drop nothing if it is not.
        reason: why it is unclear.
    """

    kind: str
    table: TableName
    to: TableName = ("", "")
    like: TableName = ("", "")
    definition: TableDefinition | None = None
    parts: tuple[tuple[Token, ...], ...] = ()
    keep: bool = False
    reason: str = ""


def read_statement(sql: str, database: str) -> list[Change]:
    """What a statement does to tables, in order; empty if nothing.

    Args:
        database: the session's default database.
    """
    found = tokens(sql)
    reading = Reading(found)
    verb = reading.next().upper
    if verb in _HARMLESS or not found:
        return []
    if verb in ("CREATE", "ALTER", "DROP"):
        return _define(verb, reading, database)
    if verb == "RENAME":
        return [] if reading.take("USER") else _rename(reading, database)
    if verb == "TRUNCATE":
        reading.take("TABLE")
        return [Change("truncate", reading.table(database))]
    if verb == "XA":
        return []
    if [token.upper for token in found[:2]] == ["DELETE", "FROM"]:
        everything = _emptied(Reading(found[2:]), database)
        if everything:
            return [everything]
    kind = "data" if verb in _DATA else "unclear"
    return [Change(kind, (database, ""), reason=f"the statement begins with {verb or found[0].text!r}")]


def _emptied(reading: Reading, database: str) -> Change | None:
    """DELETE FROM a table, all of it: so the server says that it lost a MEMORY table's rows in a restart."""
    table = reading.table(database)
    return Change("truncate", table) if reading.over else None


def _define(verb: str, reading: Reading, database: str) -> list[Change]:
    replaced = reading.take("OR", "REPLACE")
    while reading.take_any("ONLINE", "OFFLINE", "IGNORE", "UNIQUE", "FULLTEXT", "SPATIAL", "EXTERNAL", "TEMPORARY"):
        if reading.peek(-1).upper == "TEMPORARY":
            return []
    word = reading.peek().upper
    if word in _NO_TABLE:
        return []
    reading.next()
    if word in ("INDEX", "KEY"):
        return _index(verb, reading, database)
    if word == "SEQUENCE":
        return _sequence(verb, reading, database)
    if word in ("DATABASE", "SCHEMA"):
        reading.take("IF", "EXISTS")
        return [Change("drop", (reading.name(), ""), keep=True)] if verb == "DROP" else []
    if word not in ("TABLE", "TABLES"):
        return [Change("unclear", (database, ""), reason=f"{verb} {word}")]
    keep = reading.take("IF", "NOT", "EXISTS") or reading.take("IF", "EXISTS")
    if verb == "DROP":
        return _drop(reading, database, keep)
    table = reading.table(database)
    if verb == "ALTER":
        _skip_wait(reading)
        return [Change("alter", table, parts=tuple(map(tuple, split(reading.rest()))))]
    return _create(reading, table, database, keep and not replaced)


def _sequence(verb: str, reading: Reading, database: str) -> list[Change]:
    """A sequence of MariaDB is a table to the binlog, and none to us: one without columns."""
    reading.take("IF", "NOT", "EXISTS")
    reading.take("IF", "EXISTS")
    if verb == "DROP":
        return _drop(reading, database, keep=True)
    name = reading.table(database)
    made = Change("create", name, definition=TableDefinition(*name, ()), keep=True)
    return [made] if verb == "CREATE" else []


def _skip_wait(reading: Reading) -> None:
    if reading.take("WAIT"):
        reading.next()
    reading.take("NOWAIT")


def _index(verb: str, reading: Reading, database: str) -> list[Change]:
    """CREATE [UNIQUE] INDEX name ON table (...), DROP INDEX name ON table: as a part of an ALTER."""
    unique = verb == "CREATE" and reading.peek(-2).upper == "UNIQUE"
    reading.take("IF", "NOT", "EXISTS")
    reading.take("IF", "EXISTS")
    name = reading.next()
    if reading.take("USING"):
        reading.next()
    reading.expect("ON")
    table = reading.table(database)
    _skip_wait(reading)
    words = [Token("word", word, word) for word in (("ADD", "UNIQUE") if unique else ("DROP", "INDEX"))]
    if verb == "CREATE":
        columns = [Token("sign", "("), *reading.group(), Token("sign", ")")] if unique else []
        return [Change("alter", table, parts=((*words, name, *columns),))] if unique else []
    return [Change("alter", table, parts=((*words, name),))]


def _drop(reading: Reading, database: str, keep: bool) -> list[Change]:
    _skip_wait(reading)
    dropped = [reading.table(database)]
    while reading.take(","):
        dropped.append(reading.table(database))
    return [Change("drop", table, keep=keep) for table in dropped]


def _rename(reading: Reading, database: str) -> list[Change]:
    reading.take_any("TABLE", "TABLES")
    reading.take("IF", "EXISTS")
    changes = []
    while True:
        old = reading.table(database)
        _skip_wait(reading)
        reading.expect("TO")
        changes.append(Change("rename", old, reading.table(database)))
        if not reading.take(","):
            return changes


def _create(reading: Reading, table: TableName, database: str, keep: bool) -> list[Change]:
    if reading.take("LIKE"):
        return [Change("create", table, like=reading.table(database), keep=keep)]
    if reading.peek().text == "(" and reading.peek(1).upper == "LIKE":
        reading.next()
        reading.next()
        return [Change("create", table, like=reading.table(database), keep=keep)]
    try:
        definition = _definition(reading, table)
    except NotUnderstood as error:
        return [Change("unclear", table, reason=str(error))]
    return [Change("create", table, definition=definition, keep=keep)]


def _definition(reading: Reading, table: TableName) -> TableDefinition:
    if reading.peek().text != "(":
        raise NotUnderstood("a table made from a query has no columns in the statement")
    shape = Shape(TableDefinition(table[0], table[1], ()))
    keys = []
    for part in split(reading.group()):
        if is_index(part[0]):
            keys.append(part)
        else:
            shape.add(part)
    for part in keys:
        shape.add_index(Reading(part))
    rest = Reading(reading.rest())
    while not rest.over:
        word = rest.next().upper
        if word in ("SELECT", "AS", "WITH") and word == "SELECT":
            raise NotUnderstood("a table made from a query may have more columns than the statement says")
        if word == "CHARSET" or (word == "CHARACTER" and rest.take("SET")):
            rest.take("=")
            shape.charset = rest.name().lower()
    return shape.finished()


def is_index(token: Token) -> bool:
    """Whether a part of CREATE TABLE that begins so is no column."""
    words = ("PRIMARY", "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK", "PERIOD")
    return token.kind == "word" and token.upper in words
