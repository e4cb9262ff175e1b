"""Tags, branches and rollback: commits that move a name of a snapshot and touch no file.

A rollback is Iceberg's own: `main` names an older snapshot again, and the columns are those of then: a column that has
changed its type since is another one, and would be null in all rows. The alternative, a new snapshot that puts the old
one's files back, is a trap: an engine that expires snapshots by what each of them dropped would delete live files.
What the pipeline must know stands in the table property `headwater.held`, set by the same commit.
"""

from __future__ import annotations

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from headwater.errors import UserError
from headwater.lake.iceberg.evolution import key_of
from headwater.lake.iceberg.handle import TableHandle, storage_errors
from headwater.lake.iceberg.history import HELD

KINDS = {"tag": SnapshotRefType.TAG, "branch": SnapshotRefType.BRANCH}


def refs_of(table: Table) -> list[tuple[str, str, int]]:
    """Tags and branches besides main: name, kind, snapshot."""
    refs = table.metadata.refs.items()
    return sorted((name, ref.snapshot_ref_type.value, ref.snapshot_id) for name, ref in refs if name != MAIN_BRANCH)


def set_ref(handle: TableHandle, kind: str, name: str, snapshot: Snapshot) -> None:
    """Makes a tag or branch, or moves it.

    Raises:
        UserError: the name is main's, or of something of the other kind.
        StorageFailed: the catalog refused.
    """
    table = handle.load()
    there = table.metadata.refs.get(name)
    if name == MAIN_BRANCH:
        raise UserError("main is what readers see", hint=f"headwater tables rollback {handle.name} --to ...")
    if there is not None and there.snapshot_ref_type != KINDS[kind]:
        raise UserError(
            f"table {handle.name!r} has a {there.snapshot_ref_type.value} {name!r}", hint="take another name"
        )
    update = SetSnapshotRefUpdate.model_validate(
        {"ref-name": name, "snapshot-id": snapshot.snapshot_id, "type": KINDS[kind]}
    )
    _commit(handle, table, (update,), ())


def remove_ref(handle: TableHandle, name: str) -> None:
    """Removes a tag or branch; its snapshot can be expired from then on.

    Raises:
        UserError: there is none.
    """
    table = handle.load()
    if name not in table.metadata.refs or name == MAIN_BRANCH:
        raise UserError(
            f"table {handle.name!r} has no tag or branch {name!r}", hint=f"headwater tables tag {handle.name}"
        )
    _commit(handle, table, (RemoveSnapshotRefUpdate.model_validate({"ref-name": name}),), ())


def rollback(handle: TableHandle, snapshot: Snapshot, held: str | None) -> None:
    """Makes an older snapshot the one that readers see.

    Args:
        handle: the table.
        snapshot: of it.
        held: why the pipeline is to leave the table alone from now on; None if none feeds it.

    Raises:
        StorageFailed: the catalog refused; nothing has changed.
    """
    table = handle.load()
    now = table.metadata.current_snapshot_id
    updates: tuple[TableUpdate, ...] = (
        SetSnapshotRefUpdate.model_validate(
            {"ref-name": MAIN_BRANCH, "snapshot-id": snapshot.snapshot_id, "type": SnapshotRefType.BRANCH}
        ),
    )
    if _schema_fits(table, snapshot):
        updates += (SetCurrentSchemaUpdate.model_validate({"schema-id": snapshot.schema_id}),)
    if held is not None:
        updates += (SetPropertiesUpdate(updates={HELD: held}),)
    _commit(handle, table, updates, (AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": now}),))


def _schema_fits(table: Table, snapshot: Snapshot) -> bool:
    """Whether the table can have the columns of a snapshot: by those of its key, its partitions and its order it is
    found and laid out now."""
    now, then = table.schema(), table.schemas().get(-1 if snapshot.schema_id is None else snapshot.schema_id)
    if then is None:
        return False
    needed = {field.source_id for field in table.spec().fields} | {one.source_id for one in table.sort_order().fields}
    key = {(field.field_id, field.name) for field in now.fields if field.name in key_of(table.metadata)}
    return needed <= then.field_ids and key <= {(field.field_id, field.name) for field in then.fields}


def release(handle: TableHandle) -> None:
    """Takes back what `rollback` told the pipeline.

    Raises:
        UserError: the table is not held.
    """
    table = handle.load()
    if HELD not in table.metadata.properties:
        raise UserError(f"table {handle.name!r} is not held: the pipeline feeds it", hint="headwater status")
    _commit(handle, table, (RemovePropertiesUpdate(removals=[HELD]),), ())


def _commit(
    handle: TableHandle, table: Table, updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]
) -> None:
    with storage_errors(f"changing table {handle.name!r}"):
        handle.catalog.commit_table(table, (AssertTableUUID(uuid=table.metadata.table_uuid), *requirements), updates)
