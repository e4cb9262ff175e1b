"""How other programs read a lake table: text to be pasted, without a credential in it."""

from __future__ import annotations

from headwater.console.shapes.tables import Snippets
from headwater.lake.connection import is_remote
from headwater.project.definition import Project

_NONE = "-- this format is not read by it: lake: {type: iceberg} is"


def snippets_of(project: Project, table: str, metadata: str, api_url: str = "http://127.0.0.1:8080") -> Snippets:
    """The snippets of one table.

    Args:
        project: whose.
        table: its name.
        metadata: location of the newest metadata file of an Iceberg table, or the table's folder.
        api_url: where the running project serves.
    """
    namespace = project.lake.namespace or project.name
    own = f"headwater query 'SELECT * FROM \"{table}\" LIMIT 10' {project.folder.name}"
    if project.lake.type != "iceberg":
        return _files(project, metadata, own)
    served = f"{api_url}/iceberg"
    need = "" if project.lake.catalog.serve else "lake: {catalog: {serve: true}} in headwater.yml first\n"
    remote = is_remote(project.lake.warehouse)
    storage = ' , **{"s3.access-key-id": "$S3_KEY", "s3.secret-access-key": "$S3_SECRET"}' if remote else ""
    return Snippets(
        duckdb=f"INSTALL iceberg; LOAD iceberg;\nSELECT * FROM iceberg_scan('{metadata}') LIMIT 10;",
        spark=f"{'# ' + need if need else ''}spark.sql.catalog.headwater=org.apache.iceberg.spark.SparkCatalog\n"
        f"spark.sql.catalog.headwater.type=rest\nspark.sql.catalog.headwater.uri={served}\n"
        f"SELECT * FROM headwater.{namespace}.{table} LIMIT 10",
        pyiceberg="from pyiceberg.table import StaticTable\n"
        f'StaticTable.from_metadata("{metadata}"{storage.replace(" , **", ", ")}).scan(limit=10).to_arrow()',
        polars=f'import polars as pl\npl.scan_iceberg("{metadata}").head(10).collect()',
        headwater=own,
    )  # fmt: skip


def _files(project: Project, folder: str, own: str) -> Snippets:
    if project.lake.type == "delta":
        return Snippets(
            duckdb=f"INSTALL delta; LOAD delta;\nSELECT * FROM delta_scan('{folder}') LIMIT 10;",
            spark=f"SELECT * FROM delta.`{folder}` LIMIT 10",
            pyiceberg=_NONE,
            polars=f'import polars as pl\npl.scan_delta("{folder}").head(10).collect()',
            headwater=own,
        )
    return Snippets(duckdb=_NONE, spark=_NONE, pyiceberg=_NONE, polars=_NONE, headwater=own)
