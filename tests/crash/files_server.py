"""Two logs for each case that grow and are rotated: events as JSON, renamed away and compressed; lines, copied and cut.

Lines are written in pieces, some events are no JSON. Nothing is ever removed but what stands in a compressed file. What
the writer knows is what the tables, the model and the ledger must say.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.crash.evidence import (
    BROKEN,
    DOUBLED,
    LOST,
    SOURCE,
    Fault,
    faults_in_itself,
    read_log,
    snapshot_faults,
    whole_log,
)
from tests.crash.queue_server import TOTALS, Sent, difference

from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.outside import IcebergFolder
from headwater.demo.verify import accounting_mismatches
from headwater.project import load

PROJECT = f"""
name: host
sources:
  {SOURCE}:
    type: files
    find_every_s: 0.1
    look_every_s: 0.02
    files:
      events:
        paths: "${{{URL_VARIABLE}}}/events.log*"
        format: ndjson
        unfinished_after_s: null
        columns: {{n: BIGINT, bucket: INTEGER, amount: "DECIMAL(12,2)"}}
      lines:
        paths: "${{{URL_VARIABLE}}}/lines.log*"
        unfinished_after_s: null
"""
POISON_EVERY = 37
ROTATE_EVERY = 60
JOIN_S = 90.0


class LogFolder:
    """One folder. See `case.Scene`."""

    everything = "*"

    def __init__(self) -> None:
        self._top = Path(tempfile.mkdtemp(prefix="headwater-logs-"))
        self._writer: Writer | None = None

    def open(self, name: str) -> str:
        """See `Scene.open`."""
        folder = self._top / name
        folder.mkdir()
        return str(folder)

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`."""
        (folder / "models").mkdir(parents=True)
        (folder / "headwater.yml").write_text(PROJECT + settings, encoding="utf-8")
        (folder / "models" / "totals.sql").write_text(TOTALS, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Writer:
        """See `Scene.traffic`."""
        self._writer = Writer(Path(url), rate, seed)
        return self._writer

    def written(self, name: str) -> dict[int, int]:
        """Lines of both logs, by number."""
        assert self._writer is not None
        return dict.fromkeys(range(self._writer.sent.count), 1)

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`."""
        assert self._writer is not None
        sent, lines = self._writer.sent, self._writer.lines
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        rejects: Any = status.get("rejects")
        if rejects.get("open") != sent.poison:
            kind = LOST if rejects.get("open", 0) < sent.poison else DOUBLED
            faults.append(Fault(kind, f"{sent.poison} lines are no JSON, and the ledger says {rejects}"))
        lake = IcebergFolder(folder / "lake", "host")
        for table, names, rows in sent.expected():
            if table != "accounts":
                faults += difference(lake, table, names, rows)
        faults += difference(lake, "lines", ("value",), Counter((f"line {number}",) for number in lines))
        lake.close()
        faults += whole_log(project.state)
        faults += faults_in_itself(replace(read_log(project.state), rejects=0))
        faults += list(snapshot_faults(project))
        return faults

    def drop(self, name: str) -> None:
        """See `Scene.drop`."""
        shutil.rmtree(self._top / name)

    def stop(self) -> None:
        """See `Scene.stop`."""
        shutil.rmtree(self._top, ignore_errors=True)


class Writer(threading.Thread):
    """Writes and rotates until stopped.

    Attributes:
        sent: the events, `poison` of which are no JSON; `count` is of both logs.
        lines: numbers of what is in the other log.
    """

    def __init__(self, folder: Path, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.sent, self.lines = Sent(), list[int]()
        self._events, self._lines, self._pause_s = folder / "events.log", folder / "lines.log", 1 / rate
        self._chance, self._stopping, self._complaint = random.Random(seed), threading.Event(), ""
        self._half, self._rotations = b"", 0
        self.start()

    def run(self) -> None:
        clock = SystemClock()
        try:
            while not clock.wait(self._stopping, self._pause_s):
                self._write()
            _append(self._events, self._half)
        except OSError as error:
            self._complaint = f"{type(error).__name__}: {error}"

    def _write(self) -> None:
        chance, number = self._chance, self.sent.count
        if chance.random() < 0.3:
            _append(self._lines, b"line %d\n" % number)
            self.lines.append(number)
        else:
            line = self._event(number)
            cut = chance.randint(1, len(line)) if chance.random() < 0.2 else len(line)
            _append(self._events, self._half + line[:cut])
            self._half = line[cut:]
        self.sent.count += 1
        if chance.randrange(ROTATE_EVERY) == 0:
            self._rotate(chance.random() < 0.5)

    def _event(self, number: int) -> bytes:
        if number % POISON_EVERY == POISON_EVERY - 1:
            self.sent.poison += 1
            return b'{"n": %d, \n' % number
        bucket, amount = self._chance.randint(1, 7), Decimal(self._chance.randint(1, 100_000)) / 100
        self.sent.events.append((number, bucket, amount))
        return json.dumps({"n": number, "bucket": bucket, "amount": str(amount)}).encode() + b"\n"

    def _rotate(self, events: bool) -> None:
        """A log gets a new name, or is copied and cut, and what was rotated before is compressed."""
        log = self._events if events else self._lines
        if not log.exists() or not log.stat().st_size or (events and self._half):
            return
        for before in sorted(log.parent.glob(f"{log.name}.*[0-9]")):
            with gzip.open(f"{before}.gz", "wb") as packed:
                packed.write(before.read_bytes())
            before.unlink()
        self._rotations += 1
        rotated = log.with_name(f"{log.name}.{self._rotations}")
        if events:
            log.rename(rotated)
        else:
            shutil.copyfile(log, rotated)
            os.truncate(log, 0)

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        self.join(JOIN_S)
        return "it does not end" if self.is_alive() else self._complaint

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
