"""Another program that appends to a table with PyIceberg: `foreign_appender.py FOLDER TABLE FIRST COMMITS`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from lake_model import COLUMNS, NAMESPACE
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from sqlalchemy.exc import OperationalError

from headwater.lake.iceberg.catalog import CATALOG_NAME

THREADS = 2


def append(folder: str, name: str, first: int, commits: int) -> None:
    """Appends one row per commit, numbered from `first`; tries again when another writer was first."""
    catalog = SqlCatalog(CATALOG_NAME, uri=f"sqlite:///{folder}/catalog.db", init_catalog_tables="false")
    for number in range(first, first + commits):
        row = pa.table([[number], ["foreign"], [1.0]], schema=COLUMNS)
        while True:
            try:
                catalog.load_table((NAMESPACE, name)).append(row)
                break
            except (CommitFailedException, ValidationException, OperationalError):  # its base may have been expired
                continue
    catalog.close()


if __name__ == "__main__":
    folder, name, first, commits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with ThreadPoolExecutor(THREADS) as pool:
        each = [pool.submit(append, str(folder), name, first + n * commits, commits) for n in range(THREADS)]
    for one in each:
        one.result()
