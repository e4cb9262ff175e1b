"""Debezium's embedded engine: one JVM, no Kafka, which bench/debezium/java/capture/Drain.java drives."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from side_by_side.engine import NotMeasured
from side_by_side.environment import compiled, java_home, java_version, jars_of, last_lines

from headwater.bench.capture.backlog import Backlog
from headwater.bench.capture.postgres import PUBLICATION

_HERE = Path(__file__).parent
_HEAP = "2g"


class Debezium:
    """Drains backlogs with Debezium's PostgreSQL connector.

    Args:
        builds: where jars and compiled classes are kept.
        timeout_s: seconds that it may take.
    """

    name = "debezium"

    def __init__(self, builds: Path, timeout_s: float) -> None:
        self._builds, self._timeout_s = builds, timeout_s

    def prepare(self) -> dict[str, str]:
        """Sees to it that there is a JDK, the jars and the compiled driver.

        Raises:
            NotMeasured: there is not.
        """
        self._home = java_home()
        self._jars = jars_of(_HERE / "pom.xml", self._builds / "debezium")
        self._classes = compiled(_HERE / "java", self._jars, self._home, self._builds)
        version = next(jar.stem.removeprefix("debezium-embedded-") for jar in self._jars if "embedded" in jar.name)
        return {"debezium": version, "java": java_version(self._home), "heap": _HEAP, **_TUNING}

    def read(self, waiting: Backlog, slot: str, folder: Path) -> dict[str, Any]:
        """Drains a backlog; a reader of `headwater.bench.capture.suite`."""
        properties = folder / "debezium.properties"
        lines = {**_TUNING, **_where(waiting, slot)}.items()
        properties.write_text("".join(f"{name}={value}\n" for name, value in lines), encoding="ascii")
        classes = os.pathsep.join(map(str, [self._classes, *self._jars]))
        command = [
            str(self._home / "bin" / "java"), f"-Xmx{_HEAP}", "-cp", classes, "capture.Drain",
            str(properties), str(waiting.rows), str(int(self._timeout_s)),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout_s + 60, check=False)
        said = [line for line in done.stdout.splitlines() if line.startswith('{"rows"')]
        if done.returncode or not said:
            return {"error": last_lines(done.stderr or done.stdout)}
        figures: dict[str, Any] = json.loads(said[-1])
        told = figures.pop("error_text")
        return {"error": told} if told and not figures["rows"] else figures


_TUNING = {
    "name": "bench",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "plugin.name": "pgoutput",
    "snapshot.mode": "no_data",
    "publication.autocreate.mode": "disabled",
    "topic.prefix": "bench",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "60000",
    "max.batch.size": "20480",
    "max.queue.size": "81920",
    "poll.interval.ms": "10",
    "slot.drop.on.stop": "false",
}
"""Larger batches and queue than its defaults, which are slower."""


def _where(waiting: Backlog, slot: str) -> dict[str, str]:
    url = urlsplit(waiting.url)
    return {
        "database.hostname": url.hostname or "", "database.port": str(url.port), "database.user": url.username or "",
        "database.password": "none", "database.dbname": url.path.lstrip("/"), "slot.name": slot,
        "publication.name": PUBLICATION, "table.include.list": waiting.table,
    }  # fmt: skip
