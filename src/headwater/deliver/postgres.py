"""PostgreSQL as a destination: a table kept equal to a model, each change exactly once.

    headwater_deliveries    beside the table, a row per sync: the last call's receipt, and whose turn it is (`fence`)

Each call is one transaction: the sync's row is locked and its fence compared, so that a process thought dead cannot
write any more; the records are copied into a temporary table and from there merged, in a few statements; the receipt
takes the former one's place. A record that the table refuses is found by halves, each in a savepoint, and the others go
through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.isolation import Places, isolate
from headwater.deliver.postgres_settings import PostgresSettings
from headwater.deliver.postgres_table import (
    Connection,
    Target,
    add_columns,
    find,
    lacking,
    make,
    misfit,
    place_of,
    sql_type,
)
from headwater.deliver.sql_table import no_table, preview, taken_over
from headwater.deliver.value_text import csv_of, text_of
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError
from headwater.finding import Finding, distance, sentences, way

RECORDS = "headwater_deliveries"
ORDER, OP = "headwater_order", "headwater_op"
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint"
_TLS = "add ?sslmode=verify-full&sslrootcert=/path/to/ca.crt to the url"
_LOCK = 6_817_392_450_115
"""Advisory lock under which our tables are made; any number that nobody else takes."""

_REFUSES = ("22", "23", "P0001", "54000", "44000", "2200", "42804")
"""SQLSTATEs of errors that are a record's: data exceptions, constraints, a trigger's RAISE, a row too large for its
index, a view's check option, a type that does not fit."""
_PASSES = ("08", "40", "53", "57", "55P03", "25006", "58")
"""Those that may pass: connection, deadlock, no room, shutdown and time limits, locks, a standby, the system."""
_PERMANENT = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "not permitted to log in",
    "permission denied",
    "certificate",
    "invalid sslmode",
)


class PostgresDestination:
    """A destination of type `postgres`."""

    exactly_once = True
    wants_before = False
    repeats_keys = False
    send: Send = "newest"

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        table = ".".join(place_of(self._settings.table))
        with _connected(self._settings) as connection, _errors(f"looking at {table}"):
            target = find(connection, self._settings.table)
            if target is not None:
                wrong = misfit(target, sync, sync.columns.names if not self._settings.create else ())
                if wrong is not None:
                    raise wrong
                return [f"keeps the table {table} equal to the model {sync.model}"]
            if not self._settings.create:
                raise no_table(sync, table)
            columns = ", ".join(f"{field.name} {sql_type(field.type)}" for field in sync.columns)
            return [f"makes the table {table} ({columns})", f"keeps it equal to the model {sync.model}"]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        with _connected(self._settings) as connection, _errors("asking the server about itself"):
            lacks = lacking(connection, self._settings.table, inserts_only=not sync.key)
            told = "we lack rights" if lacks else "all that writing takes"
            found = [
                way(connection.info.host or "", encrypted=bool(connection.pgconn.ssl_in_use), mend=_TLS),
                Finding("rights", "fail" if lacks else "ok", told, lacks and f"run as an administrator: {lacks}"),
                *distance(lambda: int((connection.execute(_CLOCK).fetchone() or (0,))[0]), sync.clock),
            ]
        return [*found, *sentences("table", lambda: self.check(sync))]

    def open(self, sync: Sync) -> PostgresSession:
        """See `Destination.open`."""
        connection = _connect(self._settings)
        try:
            return PostgresSession(connection, sync, self._settings)
        except BaseException:
            connection.close()
            raise

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        return preview(sync, batch, ".".join(place_of(self._settings.table)))


class PostgresSession:
    """One connection; see `Session`."""

    def __init__(self, connection: Connection, sync: Sync, settings: PostgresSettings) -> None:
        self._connection, self._sync, self._settings = connection, sync, settings
        schema, _ = place_of(settings.table)
        self._records = sql.Identifier(schema, RECORDS)
        self._columns: pa.Schema | None = None
        self._target: Target | None = None
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
                self._require_turn()
                nothing = set(self._without_key(batch))
                sound = np.array([at for at in range(len(batch)) if at not in nothing], np.int64)
                columns = [text_of(column) for column in batch.rows.columns]
                refused = dict.fromkeys(nothing, "a column of the key is null")
                found = isolate(len(sound), lambda places: self._apply(batch, columns, sound[places]))
                refused |= {int(sound[at]): why for at, why in found.items()}
                outcomes = Outcomes.of(len(batch), refused)
                self._keep(batch.receipt(outcomes))
                self._connection.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    self._connection.rollback()
                raise
        return outcomes

    def close(self) -> None:
        """See `Session.close`."""
        self._connection.close()

    def _prepare(self) -> None:
        """Makes our table, and the target if that was asked for."""
        connection, create = self._connection, self._settings.create
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (sync text PRIMARY KEY, outbox text NOT NULL, fence bigint NOT NULL,"
                " receipt text NOT NULL, delivered_at timestamptz NOT NULL DEFAULT now())"
            ).format(self._records)
        )
        if create and find(connection, self._settings.table) is None:
            make(connection, self._settings.table, self._sync.columns, self._sync.key)
        connection.commit()

    def _take_over(self) -> tuple[int, str]:
        """From now on only we may write; a receipt of another outbox is none."""
        row = self._connection.execute(
            sql.SQL(
                "INSERT INTO {0} AS r (sync, outbox, fence, receipt) VALUES (%(sync)s, %(outbox)s, 1, '')"
                " ON CONFLICT (sync) DO UPDATE SET fence = r.fence + 1, outbox = %(outbox)s,"
                " receipt = CASE WHEN r.outbox = %(outbox)s THEN r.receipt ELSE '' END RETURNING fence, receipt"
            ).format(self._records),
            {"sync": self._sync.id, "outbox": self._sync.outbox},
        ).fetchone()
        self._connection.commit()
        assert row is not None
        return int(row[0]), str(row[1])

    def _require_turn(self) -> None:
        query = sql.SQL("SELECT fence FROM {} WHERE sync = %s FOR UPDATE").format(self._records)
        row = self._connection.execute(query, (self._sync.id,)).fetchone()
        if row is None or int(row[0]) != self._fence:
            raise taken_over(self._sync)

    def _keep(self, receipt: str) -> None:
        query = sql.SQL("UPDATE {} SET receipt = %s, delivered_at = now() WHERE sync = %s").format(self._records)
        self._connection.execute(query, (receipt, self._sync.id))

    def _fit(self, batch: Batch) -> None:
        """Holds the table against the batch's columns when they are others than before."""
        if self._columns is not None and batch.rows.schema.equals(self._columns):
            return
        connection = self._connection
        target = find(connection, self._settings.table)
        if target is None:
            raise no_table(self._sync, self._settings.table)
        if self._settings.create:
            add_columns(connection, target, batch.rows.schema)
            target = find(connection, self._settings.table) or target
        wrong = misfit(target, self._sync, batch.rows.column_names)
        if wrong is not None:
            raise wrong
        names = sql.SQL(", ").join(map(sql.Identifier, batch.rows.column_names))
        connection.execute("DROP TABLE IF EXISTS pg_temp.headwater_stage")
        connection.execute(
            sql.SQL(
                "CREATE TEMP TABLE headwater_stage ON COMMIT DELETE ROWS AS"
                " SELECT 0::integer AS {}, 0::smallint AS {}, {} FROM {} WITH NO DATA"
            ).format(sql.Identifier(ORDER), sql.Identifier(OP), names, target.identifier)
        )
        connection.commit()
        self._columns, self._target = batch.rows.schema, target

    def _without_key(self, batch: Batch) -> list[int]:
        nulls = [batch.rows.column(name).is_null().to_numpy() for name in self._sync.key]
        return [int(at) for at in np.flatnonzero(np.logical_or.reduce(nulls))] if nulls else []

    def _apply(self, batch: Batch, columns: list[pa.ChunkedArray], places: Places) -> str | None:
        """Applies some records in a savepoint; why one of them is refused, if so."""
        connection = self._connection
        try:
            with connection.transaction():
                self._copy(batch, columns, places)
                self._merge(batch)
                connection.execute("TRUNCATE pg_temp.headwater_stage")
        except psycopg.Error as error:
            if error.sqlstate is not None and error.sqlstate.startswith(_REFUSES):
                return _said(error)
            raise
        return None

    def _copy(self, batch: Batch, columns: list[pa.ChunkedArray], places: Places) -> None:
        which = pa.array(places)
        ours = [
            pa.chunked_array([pa.array(places).cast(pa.string())]),
            pa.chunked_array([pa.array(batch.op[places]).cast(pa.string())]),
        ]
        content = csv_of([*ours, *(column.take(which) for column in columns)])
        names = sql.SQL(", ").join(map(sql.Identifier, (ORDER, OP, *batch.rows.column_names)))
        statement = sql.SQL("COPY pg_temp.headwater_stage ({}) FROM STDIN (FORMAT csv)").format(names)
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(content)

    def _merge(self, batch: Batch) -> None:
        assert self._target is not None
        key, columns, connection = self._sync.key, batch.rows.column_names, self._connection
        table = self._target.identifier
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM pg_temp.headwater_stage WHERE {} <> 1 ORDER BY {}").format(
            table, names, names, sql.Identifier(OP), sql.Identifier(ORDER)
        )
        if not key:
            connection.execute(insert)
            return
        if (batch.op == Op.DELETE).any():
            same = sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in key)
            connection.execute(
                sql.SQL("DELETE FROM {} AS t USING pg_temp.headwater_stage AS s WHERE s.{} = 1 AND {}").format(
                    table, sql.Identifier(OP), same
                )
            )
        others = [name for name in columns if name not in key]
        sets = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in others)
        action = sql.SQL("DO UPDATE SET {}").format(sets) if others else sql.SQL("DO NOTHING")
        on = sql.SQL(", ").join(map(sql.Identifier, key))
        connection.execute(sql.SQL("{} ON CONFLICT ({}) {}").format(insert, on, action))


@contextmanager
def _connected(settings: PostgresSettings) -> Iterator[Connection]:
    connection = _connect(settings)
    try:
        yield connection
    finally:
        connection.close()


def _connect(settings: PostgresSettings) -> Connection:
    try:
        given = conninfo_to_dict(settings.url.get_secret_value())
    except psycopg.ProgrammingError:
        raise DestinationStopped(
            "the sync's url is not a PostgreSQL connection URL",
            hint="write it as postgresql://USER:${PASSWORD}@HOST:5432/DATABASE",
        ) from None
    ours: dict[str, object] = {
        "application_name": "headwater", "connect_timeout": settings.connect_timeout_s, "tcp_user_timeout": 60000,
        "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    }  # fmt: skip
    merged = {**ours, **{name: value for name, value in given.items() if value is not None}}
    limit = f"-c statement_timeout={settings.statement_timeout_s * 1000} -c timezone=UTC -c datestyle=iso"
    merged["options"] = f"{merged.get('options', '')} {limit}".strip()
    password = str(given.get("password") or "")
    try:
        return psycopg.connect(
            make_conninfo("", **{name: str(value) for name, value in merged.items()}, client_encoding="UTF8")
        )
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        text = text.replace(password, "***") if password else text
        if any(sign in text for sign in _PERMANENT):
            hint = "check user, password and database in the sync's url"
            raise DestinationStopped(f"PostgreSQL refuses the connection: {text}", hint=hint) from None
        hint = "is the server running and reachable?"
        raise DestinationUnavailable(f"PostgreSQL does not answer: {text}", hint=hint) from None


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error, doing) from error


def _ours(error: psycopg.Error, doing: str) -> HeadwaterError:
    state, message = error.sqlstate, f"{doing}: {_said(error)}"
    if state is None or state.startswith(_PASSES):
        return DestinationUnavailable(message, hint="trying again; if it stays, look at the server's log")
    return DestinationStopped(message, hint="mend it, then headwater syncs resume; headwater check looks at it too")


def _said(error: psycopg.Error) -> str:
    """The server's message in a line, with its code; no statement and no connection."""
    text = error.diag.message_primary or str(error)
    detail = f": {error.diag.message_detail}" if error.diag.message_detail else ""
    return " ".join(f"{text}{detail} ({error.sqlstate or 'no answer'})".split())
