"""Reads a PostgreSQL table whole with another loader, in a virtual environment of its own; prints one JSON object.

    python load.py connectorx|dlt URL TABLE FOLDER

connectorx: into Arrow in memory, no file. dlt: the sql_database source on its pyarrow backend, into Parquet files.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def connectorx(url: str, table: str, folder: Path) -> int:
    """Rows read into Arrow, by one connection."""
    import connectorx as cx

    return int(cx.read_sql(url, f"SELECT * FROM {table}", return_type="arrow").num_rows)


def dlt(url: str, table: str, folder: Path) -> int:
    """Rows loaded into Parquet files."""
    import dlt
    from dlt.destinations import filesystem
    from dlt.sources.sql_database import sql_table

    pipeline = dlt.pipeline(
        "bench", destination=filesystem(bucket_url=f"file://{folder}/lake"), dataset_name="bench",
        pipelines_dir=str(folder / "pipelines"),
    )  # fmt: skip
    resource = sql_table(credentials=url, table=table, backend="pyarrow", chunk_size=100_000, reflection_level="full")
    pipeline.run(resource, loader_file_format="parquet")
    return int(pipeline.last_trace.last_normalize_info.row_counts[table])


LOADERS = {"connectorx": connectorx, "dlt": dlt}

if __name__ == "__main__":
    loader, url, table, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    began, cpu = time.monotonic(), time.process_time()
    rows = LOADERS[loader](url, table, folder)
    figures = {"rows": rows, "seconds": time.monotonic() - began, "cpu_s": time.process_time() - cpu}
    sys.stdout.write("\n" + json.dumps(figures) + "\n")
