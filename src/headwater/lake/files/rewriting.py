"""Files of a version written anew as one, beside the commits: what was deleted meanwhile is deleted there too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.lake.files.log import VersionLog
from headwater.lake.files.places import Moved
from headwater.lake.files.rows import file_of, live_rows, read_rows, write_rows
from headwater.lake.files.version import LiveFile, Version


@dataclass(frozen=True)
class Rewritten:
    """A new file that holds the live rows of old ones.

    Attributes:
        path: where it lies.
        file: what is to be said of it.
        sources: the old files as they were read, in order.
    """

    path: Path
    file: LiveFile
    sources: tuple[LiveFile, ...]

    def fitted(self, now: Version) -> LiveFile | None:
        """The new file without the rows that have been deleted in the old ones since; None if an old one is gone."""
        deleted, base = [], 0
        for source in self.sources:
            held = now.files.get(source.name)
            if held is None:
                return None
            since = np.setdiff1d(held.deleted, source.deleted)
            deleted.append(base + since - np.searchsorted(source.deleted, since))
            base += source.live
        return replace(self.file, deleted=np.concatenate(deleted))

    def moved(self) -> dict[str, Moved]:
        """Where the old files' rows lie."""
        found, base = {}, 0
        for source in self.sources:
            found[source.name] = Moved(self.file.name, source.deleted, source.rows, base)
            base += source.live
        return found


def rewritten(log: VersionLog, version: Version, names: Sequence[str], path: Path) -> Rewritten:
    """Writes the live rows of some files to one.

    Raises:
        OSError: it could not be written, or a file is gone.
    """
    files = tuple(version.files[name] for name in names)
    columns = version.shape.schema
    pieces = [
        live_rows(
            read_rows(log.path(version.head.number, file.name), version.shape, columns, log.constants(file)),
            file.deleted,
        )[0]
        for file in files
    ]
    rows = pa.concat_tables(pieces)
    written = write_rows(path, rows, version.shape, log.stored)
    return Rewritten(path, replace(file_of(path, rows.num_rows), note=log.note(written)), files)
