"""One query in Spark, several times in one session; run by the Python that has pyspark, prints a line of JSON per run.

Arguments: one JSON object with `query` (its text, whose first line names its mode), `data` (a folder of Parquet files
per table), `cores`, `runs` (after the first, which warms up and counts), `heap` and `scratch` (a folder for
checkpoints).

Modes: `append` and `update` are Structured Streaming, one file of each table to a micro-batch, until all are read;
`batch` is a query over all files at once, for what Structured Streaming refuses. Sinks are `noop`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as f

_TABLES = ("person", "auction", "bid")
_OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.streaming.noDataMicroBatches.enabled": "true",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.log.level": "ERROR",
}


def main(asked: dict[str, Any]) -> None:
    """Runs the query as asked."""
    builder = SparkSession.builder.master(f"local[{asked['cores']}]").config("spark.driver.memory", asked["heap"])
    builder = builder.config("spark.local.dir", asked["scratch"]).config("spark.sql.shuffle.partitions", asked["cores"])
    for name, value in _OPTIONS.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    mode = asked["query"].splitlines()[0].removeprefix("-- mode: ").strip()
    _tables(session, Path(asked["data"]), mode, windows="window(" in asked["query"])
    for run in range(asked["runs"] + 1):
        result = session.sql(asked["query"])
        checkpoint = Path(asked["scratch"]) / f"checkpoint-{run}"
        before = _cpu_s(session)
        seconds, rows = _batch(result, run == 0) if mode == "batch" else _stream(result, mode, checkpoint, run == 0)
        figures = {"run": run, "mode": mode, "seconds": seconds, "cpu_s": _cpu_s(session) - before, "rows": rows}
        sys.stdout.write(json.dumps(figures) + "\n")
    session.stop()


def _tables(session: SparkSession, data: Path, mode: str, windows: bool) -> None:
    """Makes the tables known. Only windows need a watermark, and a join of three streams may not have three."""
    session.read.parquet(str(data / "side_input")).createOrReplaceTempView("side_input")
    for table in _TABLES:
        rows = session.read.parquet(str(data / table))
        if mode != "batch":
            stream = session.readStream.schema(rows.schema).option("maxFilesPerTrigger", 1)
            rows = stream.parquet(str(data / table))
            rows = rows.withWatermark("dateTime", "4 seconds") if windows else rows
        rows.createOrReplaceTempView(table)


def _batch(result: DataFrame, counted: bool) -> tuple[float, int | None]:
    found = Observation("result")
    if counted:
        result = result.observe(found, f.count(f.lit(1)).alias("rows"))
    started = time.monotonic()
    result.write.format("noop").mode("overwrite").save()
    return time.monotonic() - started, found.get["rows"] if counted else None


def _stream(result: DataFrame, mode: str, checkpoint: Path, counted: bool) -> tuple[float, int | None]:
    """Seconds are those of all micro-batches, without starting the query."""
    if counted:
        result = result.observe("result", f.count(f.lit(1)).alias("rows"))
    writer = result.writeStream.format("noop").outputMode(mode).trigger(availableNow=True)
    query = writer.option("checkpointLocation", str(checkpoint)).start()
    query.awaitTermination()
    steps = query.recentProgress
    seconds = sum(step["durationMs"]["triggerExecution"] for step in steps) / 1e3
    if not counted or mode != "append":
        return seconds, None
    return seconds, sum(
        step["observedMetrics"]["result"]["rows"] for step in steps if "result" in step["observedMetrics"]
    )


def _cpu_s(session: SparkSession) -> float:
    """Processor seconds of the JVM so far."""
    pid = session.sparkContext._gateway.proc.pid
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
