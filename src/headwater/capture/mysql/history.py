"""The schema history: what every table looks like at the place of the log that is being read, statement by statement.

information_schema says what is now, the binlog speaks of then. So the definitions are read once, when nothing can
change them, and followed from there; they stand in every resume point. Every table map is held against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headwater.capture.incremental import FIRST, WHOLE
from headwater.capture.mysql.binlog import Query
from headwater.capture.mysql.ddl import Change, read_statement
from headwater.capture.mysql.definition import TableDefinition, TableName
from headwater.capture.mysql.layout import make_layout, make_table, reconciled
from headwater.capture.mysql.redefinition import changes, is_known_after
from headwater.capture.mysql.selection import SERVER_DATABASES, Selection
from headwater.capture.mysql.shape import Altered, altered
from headwater.capture.mysql.statement import NotUnderstood, tokens
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.table_map import TableMap
from headwater.capture.schema_policy import Change as SchemaChange
from headwater.capture.schema_policy import SchemaGuard
from headwater.errors import SourceStopped

_SHOWN = 120
_CHARSETS = ("CHARSET", "CHARACTER", "COLLATE", "CONVERT")
"""Words of an ALTER TABLE after which the table's default for texts is not known."""


@dataclass(frozen=True)
class Effect:
    """What a statement did to the streams.

    Attributes:
        emptied: captured tables without any rows from here on.
        changed: definitions are not what they were: table maps must be looked at anew.
        unread: captured tables, database.table, that must be read: `FIRST`, for they have rows of which the log does
            not speak; or `WHOLE`, for their rows are not known any more.
    """

    emptied: tuple[Table, ...] = ()
    changed: bool = False
    unread: tuple[tuple[str, int], ...] = ()


class History:
    """The definitions in force; they change as statements are applied.

    Args:
        tables: what is known at the place where reading begins.
        selection: the user's patterns.
        folded: names of tables are the same in capitals (lower_case_table_names is not 0).
        guard: says what may be followed; everything if None.
    """

    def __init__(
        self,
        tables: Iterable[TableDefinition],
        selection: Selection,
        *,
        folded: bool = False,
        guard: SchemaGuard | None = None,
    ) -> None:
        self._tables = {table.full_name: table for table in tables}
        self._selection = selection
        self._folded = folded
        self._unread: list[tuple[str, int]] = []
        self._guard = guard or SchemaGuard()
        self._judges = True

    @property
    def tables(self) -> tuple[TableDefinition, ...]:
        """The definitions, in order of their names."""
        return tuple(self._tables[name] for name in sorted(self._tables))

    @property
    def accepted(self) -> tuple[str, ...]:
        """Tables, database.table, of which the next change is accepted, whatever it is."""
        return tuple(self._guard.accepted)

    def captured(self) -> list[Table]:
        """The captured tables as they are now."""
        return [make_table(one, self._selection) for one in self.tables if self._wanted(one)]

    def captured_as(self, qualified: str) -> tuple[TableDefinition, Table] | None:
        """A captured table, database.table, as it is now; None if there is none of that name."""
        for one in self._tables.values():
            if one.qualified == qualified and self._wanted(one):
                return one, make_table(one, self._selection)
        return None

    def layout(self, table_map: TableMap) -> Layout | None:
        """How rows after a table map are read; None if the table is not captured.

        Raises:
            SourceStopped: the table is not what we believe it to be.
        """
        name = (table_map.database, table_map.table)
        if not self._selection.wants(*name):
            return None
        definition = self._tables.get(name)
        if definition is None:
            raise _unknown(name, "rows of it come, and no statement in the binlog has made it (sql_log_bin=0?)")
        if not definition.columns:
            return None
        self._tables[name] = reconciled(definition, table_map)
        return make_layout(self._tables[name], table_map, self._selection)

    def apply(self, query: Query, *, new: bool = True) -> Effect:
        """Follows a statement.

        Args:
            query: the statement.
            new: its effect is not in the log already; what is, was judged before.

        Raises:
            SchemaChanged: the user is to decide.
            SourceStopped: it does to a captured table what cannot be followed.
        """
        self._judges = new
        try:
            changes = read_statement(query.sql, query.database)
        except NotUnderstood as error:
            changes = [Change("unclear", (query.database, ""), reason=str(error))]
        emptied: list[Table] = []
        changed, self._unread = False, []
        for change in changes:
            now, gone = self._one(change, query)
            changed, emptied = changed or now, [*emptied, *gone]
        return Effect(tuple(emptied), changed, tuple(self._unread))

    def _one(self, change: Change, query: Query) -> tuple[bool, list[Table]]:
        """Follows one change: whether definitions changed, and tables that were emptied."""
        name = self._known(change.table)
        if change.kind == "create":
            return self._create(change, name)
        if change.kind == "drop":
            return self._drop(name, change)
        if change.kind == "truncate":
            return False, self._as_tables([name])
        if change.kind == "rename":
            return self._rename(name, change.to, query)
        if change.kind == "alter":
            return self._alter(change, name, query)
        self._refuse(change, query)
        return False, []

    def _create(self, change: Change, name: TableName) -> tuple[bool, list[Table]]:
        if not self._tracked(name[0]) or (change.keep and name in self._tables):
            return False, []
        definition = change.definition
        if change.like[1]:
            like = self._tables.get(self._known(change.like))
            definition = like.renamed(name) if like else None
        emptied = self._as_tables([name])
        if definition is None:
            if self._selection.wants(*name):
                raise _unknown(name, f"it was made like {'.'.join(change.like)}, which is not known here")
            self._tables.pop(name, None)
        else:
            self._tables[name] = definition
        return True, emptied

    def _drop(self, name: TableName, change: Change) -> tuple[bool, list[Table]]:
        gone = [known for known in self._tables if known == name or (not name[1] and known[0] == name[0])]
        emptied = self._as_tables(gone)
        for table in emptied:
            self._judge(table.qualified, [SchemaChange("other", "was dropped")], known=True)
        for known in gone:
            del self._tables[known]
        return bool(gone), emptied

    def _rename(self, name: TableName, to: TableName, query: Query) -> tuple[bool, list[Table]]:
        """A table that is captured under its new name brings rows that the stream does not have: that is how online
        schema changes end (gh-ost, pt-online-schema-change)."""
        definition = self._tables.pop(name, None)
        emptied = [] if definition is None else self._captured_of([definition])
        for table in emptied:
            self._judge(table.qualified, [SchemaChange("other", f"was renamed to {'.'.join(to)}")], known=True)
        if self._selection.wants(*to):
            if definition is None:
                raise _unknown(to, f"{'.'.join(name)} was renamed to it, which is not known here ({_shown(query.sql)})")
            emptied += self._as_tables([to])
            if definition.columns:
                self._unread.append((".".join(to), FIRST))
        if definition is not None and self._tracked(to[0]):
            self._tables[to] = definition.renamed(to)
        return True, emptied

    def _alter(self, change: Change, name: TableName, query: Query) -> tuple[bool, list[Table]]:
        before = self._tables.get(name)
        if before is None or not before.columns:
            return False, []
        try:
            made = altered(before, change.parts, query.database)
        except NotUnderstood as error:
            if not self._wanted(before):
                del self._tables[name]
                return True, []
            raise _not_followed(before.qualified, str(error), query) from error
        if self._wanted(before):
            self._compare(before, made, change, query)
        self._tables[name] = made.table
        if made.name != name:
            return self._rename(name, made.name, query)
        return made.table != before, []

    def _compare(self, before: TableDefinition, made: Altered, change: Change, query: Query) -> None:
        """Judges a captured table's new definition, and puts it down to be read if its rows are not known any more."""
        one, other = (make_table(definition, self._selection) for definition in (before, made.table))
        words = {token.upper for part in change.parts for token in part}
        charset = None if words.intersection(_CHARSETS) else before.charset
        found = changes(one, other, made.origins, charset)
        ignore = "IGNORE" in [token.upper for token in tokens(query.sql)[:4]]  # rows that do not fit go
        known = not ignore and is_known_after(one, other, made.origins, charset, before.gone)
        self._judge(before.qualified, found, known=known)
        if not known:
            self._unread.append((before.qualified, WHOLE))

    def _judge(self, table: str, found: list[SchemaChange], *, known: bool) -> None:
        if self._judges and (found or not known):
            self._guard.judge(table, found, known=known)

    def _refuse(self, change: Change, query: Query) -> None:
        """A statement that may have changed rows or tables in a way that the binlog does not show.

        Raises:
            SourceStopped: it concerns a captured table.
        """
        words = {token.text.lower() for token in tokens(query.sql)}
        concerned = [one for one in self.tables if self._wanted(one) and one.name.lower() in words]
        if change.table[1] and self._selection.wants(*change.table):
            raise _not_followed(".".join(change.table), change.reason, query)
        if change.kind == "data" and concerned:
            raise SourceStopped(
                f"rows of {concerned[0].qualified} were changed by a statement that the binlog holds instead of the "
                f"rows: {_shown(query.sql)}",
                hint="SET GLOBAL binlog_format = 'ROW'; let sessions connect anew, then take a new snapshot: "
                "headwater source resnapshot",
            )
        if change.kind != "data" and concerned:
            raise _not_followed(concerned[0].qualified, change.reason, query)

    def _as_tables(self, names: Iterable[TableName]) -> list[Table]:
        return self._captured_of(self._tables[name] for name in names if name in self._tables)

    def _captured_of(self, definitions: Iterable[TableDefinition]) -> list[Table]:
        return [make_table(one, self._selection) for one in definitions if self._wanted(one)]

    def _wanted(self, definition: TableDefinition) -> bool:
        return bool(definition.columns) and self._selection.wants(*definition.full_name)

    def _tracked(self, database: str) -> bool:
        """Whether tables of a database may be captured, or renamed to one that is."""
        return database.lower() not in SERVER_DATABASES and self._selection.may_want(database)

    def _known(self, name: TableName) -> TableName:
        """A name as the server stores it."""
        if not self._folded or name in self._tables:
            return name
        folded = (name[0].lower(), name[1].lower())
        return next((one for one in self._tables if (one[0].lower(), one[1].lower()) == folded), folded)


def _shown(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _unknown(name: TableName, reason: str) -> SourceStopped:
    qualified = ".".join(name)
    return SourceStopped(
        f"table {qualified} is not in the schema history: {reason}",
        hint=f"leave it out: tables: [..., '!{qualified}'], or begin anew: headwater source resnapshot",
    )


def _not_followed(qualified: str, reason: str, query: Query) -> SourceStopped:
    return SourceStopped(
        f"table {qualified} was changed in a way that cannot be followed, {reason}: {_shown(query.sql)}",
        hint=f"leave it out: tables: [..., '!{qualified}'], or read it anew: headwater source resnapshot",
    )
