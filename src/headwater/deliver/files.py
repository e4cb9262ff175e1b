"""Files as a destination: CSV, NDJSON or Parquet, one for each call, whole when it can be seen, each change in one.

A file is written under a name that begins with a dot, and made durable. Then the *journal* beside it is replaced in one
step: it has the receipt of the call and the name that the file is to have. That is the instant at which the call is
held. Then the file is renamed. Who opens the sync after a crash renames what the journal names and is still there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.files_settings import FilesSettings
from headwater.durable import fsync_path, make_folder, replace_file
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.failpoint import reach
from headwater.finding import Finding, sentences
from headwater.formats.encoder import make_encoder
from headwater.formats.settings import CsvFormat, JsonFormat

_ENDINGS = {"csv": "csv", "ndjson": "ndjson", "parquet": "parquet"}


class FilesDestination:
    """See `headwater.deliver.destination.Destination`."""

    exactly_once = True
    wants_before = False
    repeats_keys = True
    send: Send = "every"

    def __init__(self, settings: FilesSettings) -> None:
        self._settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        return [f"writes a file of {self._settings.format} to {self._folder(sync)} for every call"]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        folder = self._folder(sync)
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        found = sentences("files", lambda: self.check(sync))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            return [*found, Finding("rights", "fail", f"{there} cannot be written", f"chmod u+rwx {there}")]
        return [*found, Finding("rights", "ok", f"{there} can be written")]

    def open(self, sync: Sync) -> FilesSession:
        """See `Destination.open`."""
        with _told():
            return FilesSession(self._settings, sync, self._folder(sync))

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        lines = make_encoder(JsonFormat(nan=False)).encode(_with_marks(batch))
        return [f"{self._folder(sync)}: {line.decode()}" for line in lines.to_pylist()]

    def _folder(self, sync: Sync) -> Path:
        return sync.folder / self._settings.folder


class FilesSession:
    """See `headwater.deliver.destination.Session`."""

    def __init__(self, settings: FilesSettings, sync: Sync, folder: Path) -> None:
        self._settings, self._sync, self._folder = settings, sync, folder
        make_folder(folder)
        name = hashlib.sha256(sync.id.encode()).hexdigest()[:12]
        self._journal = folder / f".headwater-{name}.json"
        self._lock = folder / f".headwater-{name}.lock"
        self._owner = uuid.uuid4().hex
        with self._alone():
            held = self._read()
            self._publish(held)
            self._receipt = held["receipt"] if held["outbox"] == sync.outbox else ""
            self._write(self._receipt, "", "")
            for left in folder.glob(f".headwater-{name}-*.tmp"):
                left.unlink(missing_ok=True)
        self._prefix = f".headwater-{name}-"

    def held(self) -> str | None:
        """See `Session.held`."""
        return self._receipt

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        outcomes = Outcomes.delivered(len(batch))
        span = f"{int(batch.seq[0]):012d}-{int(batch.seq[-1]):012d}"
        outbox = hashlib.sha256(self._sync.outbox.encode()).hexdigest()[:8]
        name = f"{self._sync.name}-{outbox}-{span}.{_ENDINGS[self._settings.format]}"
        hidden = self._folder / f"{self._prefix}{self._owner}-{batch.call}.tmp"
        with _told(), self._alone():
            if self._read()["owner"] != self._owner:
                raise DestinationStopped(
                    f"another process writes the files of {self._sync.id}", hint="stop one of the two"
                )
            self._fill(hidden, _with_marks(batch))
            fsync_path(hidden)
            reach("deliver.files.written")
            self._receipt = batch.receipt(outcomes)
            self._write(self._receipt, hidden.name, name)
            reach("deliver.files.held")
            self._publish(self._read())
        return outcomes

    def close(self) -> None:
        """See `Session.close`."""

    def _fill(self, path: Path, rows: pa.Table) -> None:
        if self._settings.format == "parquet":
            pq.write_table(rows, path)
            return
        csv = CsvFormat(delimiter=self._settings.delimiter, quote='"', null="", header=())
        encoder = make_encoder(csv if self._settings.format == "csv" else JsonFormat(nan=False))
        with path.open("wb") as file:
            if self._settings.format == "csv":
                header = pa.table({str(n): [text] for n, text in enumerate(rows.column_names)})
                file.write(make_encoder(csv).encode(header)[0].as_py() + b"\n")
            for line in encoder.encode(rows).to_pylist():
                file.write(line + b"\n")

    def _publish(self, held: dict[str, str]) -> None:
        """Gives the file that is held its name; nothing if it has it already."""
        hidden = self._folder / held["hidden"]
        if held["hidden"] and hidden.exists():
            hidden.rename(self._folder / held["file"])
            fsync_path(self._folder)

    def _read(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            found: dict[str, str] = json.loads(self._journal.read_text(encoding="utf-8"))
            return found
        return {"outbox": "", "owner": "", "receipt": "", "hidden": "", "file": ""}

    def _write(self, receipt: str, hidden: str, file: str) -> None:
        told = {"outbox": self._sync.outbox, "owner": self._owner, "receipt": receipt, "hidden": hidden, "file": file}
        replace_file(self._journal, json.dumps(told))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes for this sync meanwhile."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _with_marks(batch: Batch) -> pa.Table:
    """The rows, and what happened to each."""
    names = np.array([op.name.lower() for op in sorted(Op)])
    marks = {"_op": pa.array(names[batch.op]), "_seq": pa.array(batch.seq), "_epoch": pa.array(batch.epoch)}
    rows = batch.rows
    for name, column in marks.items():
        rows = rows.append_column(name, column)
    return rows


@contextmanager
def _told() -> Iterator[None]:
    """What the file system refuses is told as a destination that does not answer."""
    try:
        yield
    except OSError as error:
        raise DestinationUnavailable(f"the files cannot be written: {error.strerror or error}") from error
