"""A commit thought through before it is made, and an epoch that is written in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.manifest import DataFile, ManifestEntry

from headwater.lake.iceberg.data_file import WrittenFile
from headwater.lake.iceberg.manifests import added_entry
from headwater.lake.iceberg.places import Planned, TableIndex


@dataclass(frozen=True)
class CommitPlan:
    """A commit thought through, nothing written or changed yet.

    Attributes:
        added: rows to write.
        index: the index to tell, None for a table that has never needed one.
        planned: what it is told.
        dropped: files to leave out (`replace`).
    """

    added: pa.Table
    index: TableIndex | None
    planned: Planned | None
    dropped: tuple[ManifestEntry, ...] = ()

    @property
    def rows(self) -> pa.Table:
        """The rows to write, with what the index needs to know them again."""
        return self.added if self.planned is None else self.planned.marked(self.added)

    def apply(self, written: Sequence[WrittenFile], snapshot: int | None) -> None:
        """Tells the index that the plan has been carried out, in a snapshot, or None: in a part of one to be."""
        if self.index is not None and self.planned is not None:
            self.index.apply(self.planned, written)
            self.index.snapshot = self.index.snapshot if snapshot is None else snapshot


@dataclass
class StagedEpoch:
    """Files of an epoch that is written in parts; the index, if there is one, is as if they were committed.

    Attributes:
        epoch: whose.
        replace: the table's former files go.
        added, deletes: data files and position delete files.
    """

    epoch: int
    replace: bool = False
    added: list[DataFile] = field(default_factory=list)
    deletes: list[DataFile] = field(default_factory=list)

    def entries(self) -> list[ManifestEntry]:
        """The files as a manifest will name them."""
        return [added_entry(file) for file in (*self.added, *self.deletes)]
