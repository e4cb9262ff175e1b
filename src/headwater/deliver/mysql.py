"""MySQL and MariaDB as a destination: a table kept equal to a model, each change exactly once.

    headwater_deliveries    beside the table, a row per sync: the last call's receipt, and whose turn it is (`fence`)

Each call is one transaction, as `headwater.deliver.postgres` has it. ON DUPLICATE KEY UPDATE changes whatever row is in
the way of any unique index, so it is only used where the key is the table's only one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pymysql

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.isolation import Places, isolate
from headwater.deliver.mysql_settings import MysqlSettings
from headwater.deliver.mysql_table import (
    PASSES,
    REFUSES,
    Connection,
    Target,
    add_columns,
    ask,
    find,
    lacking,
    make,
    misfit,
    place_of,
    quoted,
    sql_type,
    values_of,
)
from headwater.deliver.sql_table import no_table, preview, taken_over
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError, SourceStopped
from headwater.finding import Finding, distance, sentences, way
from headwater.mysql_url import Address, parse_url

RECORDS = "headwater_deliveries"
_SESSION = (
    "SET SESSION time_zone = '+00:00', SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', SESSION innodb_lock_wait_timeout = {seconds}"
)
"""Nothing is cut or bent to fit: what does not is refused."""
_CLOCK = "SELECT UNIX_TIMESTAMP(NOW(6)) * 1000000"
_PERMANENT = (1044, 1045, 1049, 1130, 1251, 1698, 1820, 1862, 2026, 2054, 3118, 4151)
STATEMENT_BYTES = 1 << 20
"""About how long one INSERT may be."""


class MysqlDestination:
    """A destination of type `mysql`."""

    exactly_once = True
    wants_before = False
    repeats_keys = False
    send: Send = "newest"

    def __init__(self, settings: MysqlSettings) -> None:
        self._settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        connection, place = _connect(self._settings)
        try:
            with _errors(f"looking at {'.'.join(place)}"):
                target = find(connection, *place)
        finally:
            connection.close()
        table = ".".join(place)
        if target is not None:
            wrong = misfit(target, sync, sync.columns.names if not self._settings.create else ())
            if wrong is not None:
                raise wrong
            return [f"keeps the table {table} equal to the model {sync.model}"]
        if not self._settings.create:
            raise no_table(sync, table)
        columns = ", ".join(f"{one.name} {sql_type(one.type, key=one.name in sync.key)}" for one in sync.columns)
        return [f"makes the table {table} ({columns})", f"keeps it equal to the model {sync.model}"]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        connection, place = _connect(self._settings)
        try:
            with _errors("asking the server about itself"):
                cipher = ask(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
                lacks = lacking(connection, *place)
                found = [
                    way(str(connection.host), encrypted=bool(cipher and cipher[0][1]), mend="ssl_ca=... in the url"),
                    Finding(
                        "rights", "warn" if lacks else "ok",
                        f"no grant to us names {', '.join(lacks)}" if lacks else "all that writing takes",
                        f"unless a role gives it: GRANT {', '.join(lacks)} ON {quoted(place[0])}.* TO ..." if lacks
                        else "",
                    ),
                    *distance(lambda: int(ask(connection, _CLOCK)[0][0]), sync.clock),
                ]  # fmt: skip
        finally:
            connection.close()
        return [*found, *sentences("table", lambda: self.check(sync))]

    def open(self, sync: Sync) -> MysqlSession:
        """See `Destination.open`."""
        connection, place = _connect(self._settings)
        try:
            return MysqlSession(connection, place, sync, self._settings)
        except BaseException:
            connection.close()
            raise

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        return preview(sync, batch, self._settings.table)


class MysqlSession:
    """One connection; see `Session`."""

    def __init__(self, connection: Connection, place: tuple[str, str], sync: Sync, settings: MysqlSettings) -> None:
        self._connection, self._place, self._sync, self._settings = connection, place, sync, settings
        self._records = quoted(place[0], RECORDS)
        self._columns: pa.Schema | None = None
        self._target: Target | None = None
        self._most = 0
        with _errors(f"opening the sync {sync.name!r}"):
            self._prepare()
            self._fence, self._receipt = self._take_over()

    def held(self) -> str | None:
        """See `Session.held`."""
        return self._receipt

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        with _errors("delivering"):
            try:
                self._fit(batch)
                self._connection.begin()
                self._require_turn()
                values = values_of(batch.rows)
                refused = self._not_to_be_sent(batch, values)
                sound = np.array([at for at in range(len(batch)) if at not in refused], np.int64)
                found = isolate(len(sound), lambda places: self._apply(batch, values, sound[places]))
                refused |= {int(sound[at]): why for at, why in found.items()}
                outcomes = Outcomes.of(len(batch), refused)
                query = f"UPDATE {self._records} SET receipt = %s, delivered_at = UTC_TIMESTAMP(6) WHERE sync = %s"
                ask(self._connection, query, (batch.receipt(outcomes), self._sync.id))
                self._connection.commit()
            except BaseException:
                with suppress(pymysql.MySQLError, OSError):
                    self._connection.rollback()
                raise
        return outcomes

    def close(self) -> None:
        """See `Session.close`."""
        if self._connection.open:
            self._connection.close()

    def _prepare(self) -> None:
        """Makes our table, and the target if that was asked for."""
        ask(
            self._connection,
            f"CREATE TABLE IF NOT EXISTS {self._records} (sync varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            " PRIMARY KEY, outbox varchar(64) NOT NULL, fence bigint NOT NULL, receipt longtext NOT NULL,"
            " delivered_at datetime(6) NOT NULL) ENGINE = InnoDB",
        )
        if self._settings.create and find(self._connection, *self._place) is None:
            make(self._connection, *self._place, self._sync.columns, self._sync.key)
        self._most = int(ask(self._connection, "SELECT @@max_allowed_packet")[0][0])

    def _take_over(self) -> tuple[int, str]:
        """From now on only we may write; a receipt of another outbox is none."""
        who, outbox, connection = self._sync.id, self._sync.outbox, self._connection
        connection.begin()
        ask(
            connection,
            f"INSERT INTO {self._records} (sync, outbox, fence, receipt, delivered_at)"
            " VALUES (%s, %s, 1, '', UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE fence = fence + 1,"
            " receipt = IF(outbox = VALUES(outbox), receipt, ''), outbox = VALUES(outbox)",
            (who, outbox),
        )
        row = ask(connection, f"SELECT fence, receipt FROM {self._records} WHERE sync = %s", (who,))[0]
        connection.commit()
        return int(row[0]), str(row[1])

    def _require_turn(self) -> None:
        rows = ask(self._connection, f"SELECT fence FROM {self._records} WHERE sync = %s FOR UPDATE", (self._sync.id,))
        if not rows or int(rows[0][0]) != self._fence:
            raise taken_over(self._sync)

    def _fit(self, batch: Batch) -> None:
        """Holds the table against the batch's columns when they are others than before."""
        if self._columns is not None and batch.rows.schema.equals(self._columns):
            return
        target = find(self._connection, *self._place)
        if target is None:
            raise no_table(self._sync, ".".join(self._place))
        if self._settings.create:
            add_columns(self._connection, target, batch.rows.schema)
            target = find(self._connection, *self._place) or target
        wrong = misfit(target, self._sync, batch.rows.column_names)
        if wrong is not None:
            raise wrong
        self._columns, self._target = batch.rows.schema, target

    def _not_to_be_sent(self, batch: Batch, values: list[tuple[object, ...]]) -> dict[int, str]:
        """Records that no statement could say."""
        key = [batch.rows.column_names.index(name) for name in self._sync.key]
        refused = {
            at: "a column of the key is null" for at, row in enumerate(values) if any(row[one] is None for one in key)
        }
        padded = [
            one for one in key if self._target is not None and batch.rows.column_names[one] in self._target.padded
        ]
        for at, row in enumerate(values):
            if any(isinstance(value, float) and not math.isfinite(value) for value in row):
                refused[at] = "infinity and NaN are no values of MySQL"
            if any(str(row[one]).endswith(" ") for one in padded):
                refused[at] = "the key ends with a space, which the column's collation does not tell from one without"
            if 2 * _size(row) + 4096 > self._most:
                refused[at] = f"the row is too large for the server's max_allowed_packet of {self._most} bytes"
        return refused

    def _apply(self, batch: Batch, values: list[tuple[object, ...]], places: Places) -> str | None:
        """Applies some records in a savepoint; why one of them is refused, if so."""
        connection = self._connection
        ask(connection, "SAVEPOINT headwater")
        try:
            self._merge(batch, values, places)
        except pymysql.MySQLError as error:
            if error.args and error.args[0] in REFUSES:
                ask(connection, "ROLLBACK TO SAVEPOINT headwater")
                return _said(error)
            raise
        ask(connection, "RELEASE SAVEPOINT headwater")
        return None

    def _merge(self, batch: Batch, values: list[tuple[object, ...]], places: Places) -> None:
        assert self._target is not None
        names = batch.rows.column_names
        key = [names.index(name) for name in self._sync.key]
        gone = [values[at] for at in places if batch.op[at] == Op.DELETE]
        come = [values[at] for at in places if batch.op[at] != Op.DELETE]
        for rows in _chunked([tuple(row[one] for one in key) for row in gone]):
            marks = ", ".join(["(" + ", ".join(["%s"] * len(key)) + ")"] * len(rows))
            where = ", ".join(quoted(name) for name in self._sync.key)
            ask(
                self._connection, f"DELETE FROM {self._target.quoted} WHERE ({where}) IN ({marks})",
                [value for row in rows for value in row],
            )  # fmt: skip
        if not key:
            self._insert(names, come)
        elif len(self._target.unique) == 1:
            others = [name for name in names if name not in self._sync.key] or [self._sync.key[0]]
            sets = ", ".join(f"{quoted(name)} = VALUES({quoted(name)})" for name in others)
            self._insert(names, come, f" ON DUPLICATE KEY UPDATE {sets}")
        else:
            self._update_or_insert(names, key, come)

    def _update_or_insert(self, names: Sequence[str], key: list[int], rows: list[tuple[object, ...]]) -> None:
        """Row by row, where another unique index than the key's could be in the way."""
        assert self._target is not None
        others = [at for at in range(len(names)) if at not in key] or key[:1]
        where = " AND ".join(f"{quoted(names[at])} = %s" for at in key)
        sets = ", ".join(f"{quoted(names[at])} = %s" for at in others)
        for row in rows:
            keys = [row[at] for at in key]
            there = ask(self._connection, f"SELECT 1 FROM {self._target.quoted} WHERE {where} FOR UPDATE", keys)
            if there:
                ask(self._connection, f"UPDATE {self._target.quoted} SET {sets} WHERE {where}",
                    [*(row[at] for at in others), *keys])  # fmt: skip
            else:
                self._insert(names, [row])

    def _insert(self, names: Sequence[str], rows: list[tuple[object, ...]], more: str = "") -> None:
        assert self._target is not None
        columns, marks = ", ".join(map(quoted, names)), "(" + ", ".join(["%s"] * len(names)) + ")"
        for some in _chunked(rows):
            query = f"INSERT INTO {self._target.quoted} ({columns}) VALUES {', '.join([marks] * len(some))}{more}"
            ask(self._connection, query, [value for row in some for value in row])


def _chunked(rows: list[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    """The rows in pieces that go into one statement."""
    piece: list[tuple[object, ...]] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += _size(row)
        if size >= STATEMENT_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _size(row: tuple[object, ...]) -> int:
    return sum(4 * len(value) if isinstance(value, str | bytes) else 24 for value in row)


def _connect(settings: MysqlSettings) -> tuple[Connection, tuple[str, str]]:
    """A connection in autocommit, and where the table is."""
    try:
        address = parse_url(settings.url.get_secret_value())
        arguments = address.arguments()
    except SourceStopped as error:
        raise DestinationStopped(
            error.message.replace("the source's", "the sync's"), hint=error.hint.replace("the source's", "the sync's")
        ) from None
    place = place_of(settings.table, address.database)
    if not place[0]:
        raise DestinationStopped("which database the table is in is not said", hint="write table: DATABASE.TABLE")
    options: dict[str, Any] = {
        "charset": "utf8mb4", "autocommit": True, "connect_timeout": settings.connect_timeout_s,
        "read_timeout": settings.statement_timeout_s + 30, "program_name": "headwater",
    }  # fmt: skip
    try:
        connection: Connection = pymysql.connect(**arguments, **options)
    except (pymysql.MySQLError, OSError) as error:
        raise _refused(error, address) from None
    with _errors("setting up the connection"):
        ask(connection, _SESSION.format(seconds=settings.statement_timeout_s))
    return connection, place


def _refused(error: Exception, address: Address) -> HeadwaterError:
    text = " ".join(str(error).split())
    text = text.replace(address.password, "***") if address.password else text
    if error.args and error.args[0] in _PERMANENT:
        return DestinationStopped(f"the server refuses the connection: {text}", hint="check the sync's url")
    return DestinationUnavailable(f"the server does not answer: {text}", hint="is it running and reachable?")


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        number = error.args[0] if error.args else None
        message = f"{doing}: {_said(error)}"
        if isinstance(error, OSError | pymysql.InterfaceError) or number in PASSES or not isinstance(number, int):
            raise DestinationUnavailable(message, hint="trying again; look at the server's log if it stays") from error
        hint = "mend it, then headwater syncs resume; headwater check looks at it too"
        raise DestinationStopped(message, hint=hint) from error


def _said(error: Exception) -> str:
    """The server's message in a line, with its number."""
    number = error.args[0] if error.args else "no answer"
    text = error.args[1] if len(error.args) > 1 else str(error)
    return " ".join(f"{text} ({number})".split())
