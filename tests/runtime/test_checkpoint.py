"""Checkpoints: what is restored into a project that has changed since."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from headwater.engine.normalise import Normaliser
from headwater.project.definition import TableDefinition
from headwater.runtime.checkpoint import CheckpointFolder
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.nodes import StreamNode
from headwater.runtime.state_store import CheckpointRecord
from headwater.schema import StreamSchema

BEFORE = pa.schema([("id", pa.int32()), ("a", pa.string())])
AFTER = BEFORE.append(pa.field("extra", pa.int32()))


def flow(columns: pa.Schema) -> Dataflow:
    return Dataflow(
        {"t": StreamNode("shop", Normaliser(StreamSchema("t", columns, ("id",), "upsert")), (TableDefinition("t"),))},
        [],
    )


def test_a_column_added_while_stopped_is_there_after_restore(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.write(1, flow(BEFORE), None)
    restored = flow(AFTER)
    folder.restore(CheckpointRecord(1, offsets={"shop": 0}, sources={"t": "shop"}), restored)
    assert restored.input_schema("t").names == AFTER.names
    assert restored.streams["t"].normaliser.rows().column_names[:3] == AFTER.names
