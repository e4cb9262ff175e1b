"""Reads Iceberg tables with Spark and writes their rows as Parquet; run by the Python that has pyspark.

Argument: a file of JSON: `jars`, and `tables`: address of the REST catalog, namespace, table, folder for its rows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

_OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}


def main(asked: dict[str, object]) -> None:
    """Reads as asked."""
    builder = SparkSession.builder.master("local[1]").config("spark.jars", str(asked["jars"]))
    for name, value in _OPTIONS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for address, namespace, table, folder in list(asked["tables"]):  # type: ignore[call-overload]
        catalog = "lake_" + "".join(filter(str.isdigit, address))
        session.conf.set(f"spark.sql.catalog.{catalog}", "org.apache.iceberg.spark.SparkCatalog")
        session.conf.set(f"spark.sql.catalog.{catalog}.type", "rest")
        session.conf.set(f"spark.sql.catalog.{catalog}.uri", address)
        session.table(f"{catalog}.`{namespace}`.`{table}`").coalesce(1).write.parquet(folder)
    sys.stdout.write(json.dumps({"spark": session.version}) + "\n")
    session.stop()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
