"""The catalogs: what says which metadata file is each table's current one.

| kind | where | what swaps the pointer |
|---|---|---|
| `sqlite` | one file beside the warehouse | a transaction in this process |
| `postgres` | PyIceberg's tables in a PostgreSQL database | `UPDATE ... WHERE metadata_location = old` |
| `rest` | a server that speaks the Iceberg REST protocol | the server, which checks the commit's requirements |
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool
from urllib3.util import Retry

from headwater.errors import UserError
from headwater.lake.connection import Connection, is_remote

CATALOG_NAME = "headwater"
BUSY_TIMEOUT_S = 30.0
_PRAGMAS = ("journal_mode=DELETE", "synchronous=FULL")
_FILE_IO = {"py-io-impl": "headwater.lake.iceberg.durable_io.DurableFileIO"}

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 60.0
"""How long a catalog may take to be reached, and to answer; then its answer is taken for lost."""


def open_catalog(warehouse: str, connection: Connection, *, read_only: bool) -> Catalog:
    """Opens the catalog; an SQL one is made first if it is not there.

    Args:
        warehouse: absolute path of a folder, or an address.
        connection: how it is reached.
        read_only: never write.

    Raises:
        UserError: `read_only`, and there is no catalog.
        SQLAlchemyError, OSError, RESTError: it cannot be reached.
    """
    if connection.catalog == "rest":
        return _TimedRestCatalog(
            CATALOG_NAME, uri=connection.url, **_FILE_IO, **connection.credentials, **connection.storage
        )
    if connection.catalog == "postgres":
        return _sql_catalog(warehouse, connection, _postgres_engine(connection.url), make=not read_only)
    database = connection.database or Path(warehouse) / "catalog.db"
    if read_only and not database.exists():
        raise UserError(f"there is no lake at {warehouse}", hint="run `headwater run` first, or give another folder")
    database.parent.mkdir(parents=True, exist_ok=True)
    return _sql_catalog(warehouse, connection, _sqlite_engine(database, read_only=read_only), make=not read_only)


def settles_at_once(catalog: Catalog) -> bool:
    """Whether a commit that the catalog does not show, right after it failed, will never be there: true of SQLite,
    whose commits happen in this process. Anywhere else a request may still be on its way."""
    return isinstance(catalog, SqlCatalog) and catalog.engine.dialect.name == "sqlite"


def _sql_catalog(warehouse: str, connection: Connection, engine: Engine, *, make: bool) -> SqlCatalog:
    """PyIceberg's SQL catalog over an engine of ours: it has no setting for how connections are made, so its own (in
    memory) is put aside. So the URL, which may hold a password, is in no property that it hands on to tables."""
    where = {} if is_remote(warehouse) else {"warehouse": warehouse}
    catalog = SqlCatalog(CATALOG_NAME, uri="sqlite:///:memory:", **where, **_FILE_IO, **connection.storage)
    catalog.engine.dispose()
    catalog.engine = engine
    if make:
        catalog.create_tables()
    return catalog


def _sqlite_engine(database: Path, *, read_only: bool) -> Engine:
    """One connection for the whole process, in rollback-journal mode: the SQLite that Python ships (3.40.1 here) can
    corrupt a database in WAL mode that two connections use (mended in SQLite 3.51.3). The pool of one also makes
    threads take turns.

    A reader too opens the file for writing: after a crash of the writer somebody must roll its journal back.
    """
    uri = f"{database.absolute().as_uri()}?mode={'rw' if read_only else 'rwc'}"
    pragmas = (*_PRAGMAS, "query_only=ON") if read_only else _PRAGMAS

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT_S, check_same_thread=False, uri=True)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=1, max_overflow=0)


def _postgres_engine(url: str) -> Engine:
    """Connections as libpq makes them of the URL, so that all it says holds; none waits for ever for a dead server."""
    defaults = {
        "connect_timeout": str(int(CONNECT_TIMEOUT_S)),
        "tcp_user_timeout": str(int(ANSWER_TIMEOUT_S * 1000)),
        "keepalives_idle": "10",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "options": f"-c statement_timeout={int(ANSWER_TIMEOUT_S * 1000)}",
    }
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        options = make_conninfo("", **{**defaults, **conninfo_to_dict(url)})
    except psycopg.Error:
        raise UserError(
            "the URL of the lake's catalog is not one of PostgreSQL", hint="postgresql://user:password@host/database"
        ) from None

    def connect() -> psycopg.Connection:
        return psycopg.connect(options)

    return create_engine("postgresql+psycopg://", creator=connect, pool_size=4, pool_pre_ping=True)


class _TimedRestCatalog(RestCatalog):
    """PyIceberg's REST catalog waits for an answer for ever; this one gives up, and asks again where that is safe."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        again = Retry(
            total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), allowed_methods=("GET", "HEAD"),
            raise_on_status=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            session.mount(scheme, _TimedAdapter(max_retries=again))
        return session


class _TimedAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *arguments: object, **options: object) -> Response:
        options["timeout"] = options.get("timeout") or (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        return super().send(request, *arguments, **options)  # type: ignore[arg-type]
