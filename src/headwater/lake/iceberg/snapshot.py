"""One table snapshot: from new files to the updates and requirements that a catalog commits.

PyIceberg has no writer of row deltas (data files and position deletes in one snapshot), so this is one on its manifest
and manifest list writers. Position deletes apply to data files of a sequence number up to their own (Iceberg spec,
"Scan planning"), and name file and row: those of files added by the same snapshot take back what an epoch that is
written in parts added in an earlier part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import (
    UNASSIGNED_SEQ,
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestFile,
    write_manifest_list,
)
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    ancestors_of,
    update_snapshot_summaries,
)
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
    ValidatableTableRequirement,
)

from headwater.lake.iceberg.manifests import ManifestStore

KEEP_PROPERTY = "headwater.snapshots.keep"
DEFAULT_KEEP = 100
"""Table snapshots kept. PyIceberg parses, copies and writes them all in each commit: 5 ms at 100, 100 ms at 1,000."""


@dataclass(frozen=True)
class FileChange:
    """What a commit does to a table's files.

    Attributes:
        added: new data files.
        deletes: new position delete files.
        dropped: entries of data files and delete files that leave the table, all of them or some.
        same_rows: the table's rows are afterwards what they were before; only files were rewritten.
        sequence: data sequence number of the added data files, if it is not the commit's. Rewritten rows keep that of
            the snapshot that they were read from, so that another engine's equality deletes since then still apply.
        merge: make few manifests of many, whatever their sizes.
    """

    added: Sequence[DataFile] = ()
    deletes: Sequence[DataFile] = ()
    dropped: Sequence[ManifestEntry] = ()
    same_rows: bool = False
    sequence: int | None = None
    merge: bool = False


@dataclass(frozen=True)
class StagedSnapshot:
    """A snapshot whose files are durable and that the catalog does not know yet.

    Attributes:
        snapshot: what will be current.
        manifests: its manifests.
        updates: for the catalog.
        requirements: what must hold for them.
    """

    snapshot: Snapshot
    manifests: tuple[ManifestFile, ...]
    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]


class AssertNoOtherRefs(ValidatableTableRequirement):
    """The table has no tag and no branch besides those named: one made meanwhile may name a snapshot that is to go.

    Iceberg's REST protocol does not know it; PyIceberg removes such a tag together with the snapshot.
    """

    type: Literal["headwater-assert-no-other-refs"] = "headwater-assert-no-other-refs"
    names: tuple[str, ...]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """Checks it against the table as it is.

        Raises:
            CommitFailedException: it has others.
        """
        others = set(base_metadata.refs if base_metadata is not None else ()) - set(self.names)
        if others:
            raise CommitFailedException(f"the table has got refs meanwhile: {', '.join(sorted(others))}")


def is_ours_alone(requirement: object) -> bool:
    """Whether a requirement is one that no catalog on a server knows."""
    return isinstance(requirement, AssertNoOtherRefs)


def requirements_of(metadata: TableMetadata, *, refs: bool) -> tuple[TableRequirement, ...]:
    """What must hold for a commit that was thought out on `metadata`.

    Args:
        metadata: the table as it was.
        refs: all tags and branches must be as they were too, since the commit removes snapshots.
    """
    heads = {MAIN_BRANCH: metadata.current_snapshot_id}
    if refs:
        heads |= {name: ref.snapshot_id for name, ref in metadata.refs.items()}
    asserted = [AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": at}) for name, at in heads.items()]
    no_other = (cast(TableRequirement, AssertNoOtherRefs(names=tuple(heads))),) if refs else ()
    return (AssertTableUUID(uuid=metadata.table_uuid), *asserted, *no_other)


def stage(
    store: ManifestStore,
    change: FileChange,
    current: Sequence[ManifestFile],
    properties: Mapping[str, str],
    note: str,
    now_ms: int,
) -> StagedSnapshot:
    """Writes the manifests and manifest list of a change.

    Args:
        store: for this snapshot.
        change: the files; data files must be durable.
        current: the manifests of the table's present snapshot.
        properties: what the snapshot's summary shall carry, and the table's property `note` repeat if rows change.
        note: name of that table property.
        now_ms: wall clock, milliseconds since 1970 UTC.

    Raises:
        OSError: a file could not be written.
    """
    manifests = _manifests(store, change, current)
    metadata = store.metadata
    path = f"{metadata.location}/metadata/snap-{store.snapshot_id}-0-{store.commit_id}.avro"
    store.written.append(path)
    _write_list(store, path, manifests)
    _number(manifests, metadata.next_sequence_number())
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": store.snapshot_id,
            "parent-snapshot-id": metadata.current_snapshot_id,
            "manifest-list": path,
            "sequence-number": metadata.next_sequence_number(),
            "timestamp-ms": max(now_ms, metadata.last_updated_ms),
            "schema-id": metadata.current_schema_id,
            "summary": _summary(metadata, change, properties),
        }
    )
    expired = _expired(metadata)
    updates, requirements = _updates(metadata, snapshot, expired)
    if not change.same_rows:
        updates = (*updates, SetPropertiesUpdate(updates={note: json.dumps(dict(properties))}))
    return StagedSnapshot(snapshot, tuple(manifests), updates, requirements)


def _manifests(store: ManifestStore, change: FileChange, current: Sequence[ManifestFile]) -> list[ManifestFile]:
    by_content: dict[ManifestContent, list[ManifestEntry]] = {ManifestContent.DATA: [], ManifestContent.DELETES: []}
    for entry in change.dropped:
        by_content[ManifestContent(min(entry.data_file.content, 1))].append(entry)
    kept, rewritten = store.without(current, change.dropped)
    return [
        *store.added(change.added, ManifestContent.DATA, change.sequence),
        *store.added(change.deletes, ManifestContent.DELETES),
        *(manifest for content, entries in by_content.items() for manifest in store.dropped(entries, content)),
        *rewritten,
        *store.merged(kept, all_levels=change.merge),
    ]


def _write_list(store: ManifestStore, path: str, manifests: list[ManifestFile]) -> None:
    metadata = store.metadata
    with write_manifest_list(
        format_version=metadata.format_version,
        output_file=store.io.new_output(path),
        snapshot_id=store.snapshot_id,
        parent_snapshot_id=metadata.current_snapshot_id,
        sequence_number=metadata.next_sequence_number(),
        avro_compression="deflate",
    ) as writer:
        if manifests:
            writer.add_manifests(manifests)


def _number(manifests: list[ManifestFile], sequence: int) -> None:
    """Gives manifests of this commit the sequence number that the list says they have."""
    for manifest in manifests:
        if manifest.sequence_number == UNASSIGNED_SEQ:
            manifest.sequence_number = sequence
        if manifest.min_sequence_number == UNASSIGNED_SEQ:
            manifest.min_sequence_number = sequence


def _summary(metadata: TableMetadata, change: FileChange, properties: Mapping[str, str]) -> Summary:
    collector = SnapshotSummaryCollector()
    for file in (*change.added, *change.deletes):
        collector.add_file(file, metadata.schema(), metadata.specs()[file.spec_id])
    for entry in change.dropped:
        collector.remove_file(entry.data_file, metadata.schema(), metadata.specs()[entry.data_file.spec_id])
    former = metadata.current_snapshot()
    summary = update_snapshot_summaries(
        Summary(operation=_operation(change), **collector.build(), **properties),
        former.summary.additional_properties if former is not None and former.summary is not None else None,
    )
    # PyIceberg counts no totals for this operation
    return Summary(operation=Operation.REPLACE, **summary.additional_properties) if change.same_rows else summary


def _operation(change: FileChange) -> Operation:
    if not change.deletes and not change.dropped:
        return Operation.APPEND
    return Operation.OVERWRITE if change.added else Operation.DELETE


def kept_by_commits(metadata: TableMetadata) -> int:
    """How many snapshots commits leave."""
    return int(metadata.properties.get(KEEP_PROPERTY, DEFAULT_KEEP))


def _expired(metadata: TableMetadata) -> list[Snapshot]:
    """Snapshots of the main branch beyond the number to keep, a tenth of it at a time, none that a ref names."""
    keep = kept_by_commits(metadata)
    if len(metadata.snapshots) < keep + max(keep // 10, 1):
        return []
    named = {ref.snapshot_id for ref in metadata.refs.values()}
    history = list(ancestors_of(metadata.current_snapshot(), metadata))
    return [snapshot for snapshot in history[max(keep - 1, 1) :] if snapshot.snapshot_id not in named]


def _updates(
    metadata: TableMetadata, snapshot: Snapshot, expired: Sequence[Snapshot]
) -> tuple[tuple[TableUpdate, ...], tuple[TableRequirement, ...]]:
    updates: tuple[TableUpdate, ...] = (
        AddSnapshotUpdate(snapshot=snapshot),
        SetSnapshotRefUpdate.model_validate(
            {"ref-name": MAIN_BRANCH, "snapshot-id": snapshot.snapshot_id, "type": SnapshotRefType.BRANCH}
        ),
    )
    if expired:
        updates += (RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [old.snapshot_id for old in expired]}),)
    return updates, requirements_of(metadata, refs=bool(expired))
