"""Which table snapshots are no longer to be kept, and their removal from a table's metadata.

Files are not removed here: what no snapshot names any more waits for the removal of orphan files, so that a query that
reads an expired snapshot comes to its end.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update import (
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
)

from headwater.lake.iceberg.snapshot import KEEP_PROPERTY, kept_by_commits, requirements_of
from headwater.lake.maintenance import Policy

SLACK = 0.05
"""Share of the snapshots to keep that is let come on top before a removal, so that each removes several."""


def expired(metadata: TableMetadata, policy: Policy, now_ms: int) -> tuple[list[Snapshot], list[str]]:
    """Snapshots that may go, and refs that are past their own age.

    What a ref names stays. Of a branch its newest snapshots stay: at most `keep_snapshots`, none older than
    `keep_snapshots_s`, unless the branch itself says otherwise. Snapshots that no ref leads to (a rollback left them)
    stay until they are so old.
    """
    gone = [name for name, ref in metadata.refs.items() if _past(ref, name, metadata, now_ms)]
    refs = {name: ref for name, ref in metadata.refs.items() if name not in gone}
    kept, reached = set(), set()
    for ref in refs.values():
        kept.add(ref.snapshot_id)
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH:
            lineage = list(ancestors_of(metadata.snapshot_by_id(ref.snapshot_id), metadata))
            reached |= {snapshot.snapshot_id for snapshot in lineage}
            kept |= {snapshot.snapshot_id for snapshot in _of_branch(lineage, ref, policy, now_ms)}
    young = now_ms - 1000 * policy.keep_snapshots_s
    kept |= {s.snapshot_id for s in metadata.snapshots if s.snapshot_id not in reached and s.timestamp_ms >= young}
    return [snapshot for snapshot in metadata.snapshots if snapshot.snapshot_id not in kept], gone


def is_due(metadata: TableMetadata, old: list[Snapshot], refs: list[str], policy: Policy) -> bool:
    """Whether it is worth a commit to remove them."""
    few = kept_by_commits(metadata) < policy.keep_snapshots
    return few or bool(refs) or len(old) > SLACK * min(policy.keep_snapshots, len(metadata.snapshots))


def removal(
    metadata: TableMetadata, policy: Policy, now_ms: int
) -> tuple[tuple[TableUpdate, ...], tuple[TableRequirement, ...]] | None:
    """What to ask of the catalog; None if all is to stay."""
    old, refs = expired(metadata, policy, now_ms)
    updates: list[TableUpdate] = []
    if kept_by_commits(metadata) != policy.keep_snapshots:  # commits expire too, where maintenance does not come to it
        updates.append(SetPropertiesUpdate(updates={KEEP_PROPERTY: str(policy.keep_snapshots)}))
    updates += [RemoveSnapshotRefUpdate.model_validate({"ref-name": name}) for name in refs]
    if old:
        updates.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [one.snapshot_id for one in old]}))
    return (tuple(updates), requirements_of(metadata, refs=True)) if updates else None


def _past(ref: SnapshotRef, name: str, metadata: TableMetadata, now_ms: int) -> bool:
    snapshot = metadata.snapshot_by_id(ref.snapshot_id)
    if name == MAIN_BRANCH or ref.max_ref_age_ms is None or snapshot is None:
        return False
    return now_ms - snapshot.timestamp_ms > ref.max_ref_age_ms


def _of_branch(lineage: list[Snapshot], ref: SnapshotRef, policy: Policy, now_ms: int) -> Iterator[Snapshot]:
    """The newest snapshots of a branch, newest first."""
    own = ref.min_snapshots_to_keep is not None or ref.max_snapshot_age_ms is not None
    least = (ref.min_snapshots_to_keep or 1) if own else 1
    most = len(lineage) if own else policy.keep_snapshots
    age_ms = ref.max_snapshot_age_ms if ref.max_snapshot_age_ms is not None else int(1000 * policy.keep_snapshots_s)
    for number, snapshot in enumerate(lineage):
        if number < least or (number < most and now_ms - snapshot.timestamp_ms <= age_ms):
            yield snapshot
