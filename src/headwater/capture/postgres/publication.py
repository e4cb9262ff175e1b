"""The publication: which tables' changes the server sends. Found, judged, and made or extended where we may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.capture.postgres.catalog import Published, TableRow
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.preconditions import quoted
from headwater.errors import SourceStopped

_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot, pg_has_role(pubowner, 'USAGE')
FROM pg_publication WHERE pubname = %s"""

_TABLES_14 = (
    "SELECT schemaname || '.' || tablename, NULL::text[], NULL::text FROM pg_publication_tables WHERE pubname = %s"
)
_TABLES_15 = """
SELECT schemaname || '.' || tablename, attnames::text[], rowfilter FROM pg_publication_tables WHERE pubname = %s"""


_STAMP = "SELECT oid::text || ':' || xmin::text FROM pg_publication WHERE pubname = %s"

_ENTRIES = """
SELECT c.oid::bigint, coalesce(
  (SELECT r.oid FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid),
  {schemas}
  (SELECT min(r.oid) FROM pg_publication_rel r WHERE r.prpubid = p.oid
    AND r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))),
  CASE WHEN p.puballtables THEN p.oid END)::bigint
FROM pg_publication p, pg_class c WHERE p.pubname = %s AND c.oid = ANY (%s)"""

_SCHEMAS_15 = """
  (SELECT s.oid FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace),"""


@dataclass(frozen=True)
class Stamps:
    """What tells a publication, and a table's place in it, from ones made anew under the same names.

    Attributes:
        publication: its id and the transaction that wrote its row last.
        tables: by schema.table, the id of the entry through which it is published; None if it is not.
    """

    publication: str
    tables: Mapping[str, int | None]


def read_stamps(connection: Connection, name: str, tables: Mapping[str, int]) -> Stamps | None:
    """The stamps of a publication now; None if there is none of that name.

    Args:
        connection: to the database.
        name: the publication's.
        tables: id by schema.table; those that are there no more are left out of the answer.
    """
    row = connection.execute(_STAMP, (name,)).fetchone()
    if row is None:
        return None
    query = _ENTRIES.format(schemas=_SCHEMAS_15 if connection.info.server_version >= 150000 else "")
    found: dict[int, int | None] = dict(connection.execute(query.encode(), (name, list(tables.values()))).fetchall())
    return Stamps(str(row[0]), {table: found[oid] for table, oid in tables.items() if oid in found})


@dataclass(frozen=True)
class Publication:
    """A publication that exists.

    Attributes:
        name: its name.
        tables: what it publishes, by schema.table.
        every_change: it publishes inserts, updates, deletes and truncates.
        via_root: changes of partitions come as changes of the partitioned table.
        owned: we may change it.
    """

    name: str
    tables: Mapping[str, Published]
    every_change: bool
    via_root: bool
    owned: bool


def read_publication(connection: Connection, name: str) -> Publication | None:
    """The publication of that name; None if there is none."""
    row = connection.execute(_PUBLICATION, (name,)).fetchone()
    if row is None:
        return None
    query = _TABLES_15 if connection.info.server_version >= 150000 else _TABLES_14
    tables = {
        table: Published(None if columns is None else frozenset(columns), row_filter or "")
        for table, columns, row_filter in connection.execute(query.encode(), (name,)).fetchall()
    }
    return Publication(name, tables, *row)


def plan_publication(
    connection: Connection, name: str, existing: Publication | None, rows: Sequence[TableRow], *, ours: bool
) -> str | None:
    """The statement that makes the publication right for `rows`; None if it is right.

    Args:
        existing: the publication as it is.
        ours: its name is our default; otherwise the user's own publication is never changed.

    Raises:
        SourceStopped: it is not right, and we may not make it so; the hint holds the statement.
    """
    if existing is None:
        statement = create_statement(name, rows)
        if not _may_create(connection, rows):
            raise SourceStopped(
                f"publication {name!r} does not exist, and this role may not make it (it takes CREATE on the database "
                "and owning the tables)",
                hint=f"run as an administrator: {statement};",
            )
        return statement
    _require_shape(existing, rows)
    missing = [row for row in rows if row.qualified not in existing.tables]
    if not missing:
        return None
    statement = f"ALTER PUBLICATION {quoted(name)} ADD TABLE {_tables(missing)}"
    if not (ours and existing.owned and all(row.owned for row in missing)):
        raise SourceStopped(
            f"publication {name!r} lacks table {missing[0].qualified}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            hint=f"run as its owner: {statement}; or leave the table out: tables: [..., '!{missing[0].qualified}']",
        )
    return statement


def create_statement(name: str, rows: Sequence[TableRow]) -> str:
    """SQL that makes the publication."""
    generated = ", publish_generated_columns = stored" if any(row.generated for row in rows) else ""
    options = f"publish_via_partition_root = true{generated}"
    return f"CREATE PUBLICATION {quoted(name)} FOR TABLE {_tables(rows)} WITH ({options})"


def require_published(existing: Publication | None, name: str, rows: Sequence[TableRow]) -> Publication:
    """Refuses to read on when captured tables are not published any more: their changes would be missing in silence.

    Raises:
        SourceStopped: the publication is gone, or lacks a captured table.
    """
    again = "changes made meanwhile were not sent; begin again with an empty state folder, which takes a new snapshot"
    if existing is None:
        raise SourceStopped(f"publication {name!r} is gone", hint=f"{create_statement(name, rows)}; and since {again}")
    _require_shape(existing, rows)
    missing = [row for row in rows if row.qualified not in existing.tables]
    if missing:
        raise SourceStopped(
            f"publication {name!r} does not publish captured table {missing[0].qualified} any more",
            hint=f"ALTER PUBLICATION {quoted(name)} ADD TABLE {_tables(missing)}; and since {again}; or leave it out: "
            f"tables: [..., '!{missing[0].qualified}']",
        )
    return existing


def _require_shape(existing: Publication, rows: Sequence[TableRow]) -> None:
    if not existing.every_change:
        raise SourceStopped(
            f"publication {existing.name!r} leaves out some kinds of change",
            hint=f"ALTER PUBLICATION {quoted(existing.name)} SET (publish = 'insert, update, delete, truncate');",
        )
    if not existing.via_root and any(row.partitioned for row in rows):
        raise SourceStopped(
            f"publication {existing.name!r} publishes partitions one by one",
            hint=f"ALTER PUBLICATION {quoted(existing.name)} SET (publish_via_partition_root = true);",
        )


def _may_create(connection: Connection, rows: Sequence[TableRow]) -> bool:
    row = connection.execute("SELECT has_database_privilege(current_database(), 'CREATE')").fetchone()
    return bool(row and row[0]) and all(table.owned for table in rows)


def _tables(rows: Sequence[TableRow]) -> str:
    return ", ".join(f"ONLY {quoted(row.schema, row.name)}" for row in rows)
