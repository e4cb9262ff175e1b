"""The SQLite catalog: one file beside the warehouse that says which metadata file is each table's current one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

from headwater.errors import UserError

CATALOG_NAME = "headwater"
BUSY_TIMEOUT_S = 30.0
_PRAGMAS = ("journal_mode=DELETE", "synchronous=FULL")


def open_catalog(warehouse: Path, database: Path, *, read_only: bool) -> SqlCatalog:
    """Opens the catalog in `database`, made first if it is not there.

    One connection for the whole process, in rollback-journal mode: the SQLite that Python ships (3.40.1 here) can
    corrupt a database in WAL mode that two connections use (mended in SQLite 3.51.3). The pool of one also makes
    threads take turns.

    Raises:
        UserError: `read_only`, and there is no catalog.
    """
    if read_only and not database.exists():
        raise UserError(f"there is no lake at {warehouse}", hint="run `headwater run` first, or give another folder")
    warehouse.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog(
        CATALOG_NAME,
        uri="sqlite:///:memory:",
        warehouse=str(warehouse),
        **{"py-io-impl": "headwater.lake.iceberg.durable_io.DurableFileIO"},
    )
    catalog.engine.dispose()
    catalog.engine = _engine(database, read_only=read_only)
    if not read_only:
        catalog.create_tables()
    return catalog


def _engine(database: Path, *, read_only: bool) -> Engine:
    """An engine of one connection. PyIceberg has no setting for that, so its own (in memory) is put aside for this one.

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
