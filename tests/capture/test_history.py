"""The audit trail, from batches alone: what of a change is kept, and what is said of values that are not there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headwater.capture.history import history_batch, history_of, transactions_batch
from headwater.change import ChangeBatch, Op, log_schema
from headwater.errors import SourceStopped
from headwater.schema import StreamSchema

ORDERS = StreamSchema(
    "orders", pa.schema([pa.field("id", pa.int64(), nullable=False), ("note", pa.string())]), ("id",), "upsert"
)


def batch(*changes: tuple[Op, int, int, int | None, str | None, bytes | None]) -> ChangeBatch:
    """Changes: op, weight, ordinal, id, note, mark of what was not sent; all of commit 7."""
    rows = [
        {"_op": int(op), "_weight": weight, "_commit": 7, "_ordinal": ordinal, "_time": 1_000_000, "_unchanged": mark,
         "id": id, "note": note}
        for op, weight, ordinal, id, note, mark in changes
    ]  # fmt: skip
    return ChangeBatch(ORDERS, pa.RecordBatch.from_pylist(rows, log_schema(ORDERS)))


def test_every_change_is_a_row_and_rows_of_a_snapshot_are_none() -> None:
    kept = history_batch(
        batch(
            (Op.READ, 1, 0, 1, "read", None),
            (Op.INSERT, 1, 1, 2, "new", None),
            (Op.UPDATE, 1, 2, 2, None, b"\x02"),
            (Op.DELETE, -1, 3, 2, None, None),
            (Op.TRUNCATE, -1, 4, None, None, None),
        )
    )
    assert kept is not None
    assert kept.stream == history_of(ORDERS)
    assert kept.stream.name == "orders_history"
    assert kept.rows.schema == log_schema(kept.stream)
    assert set(kept.rows.column("_op").to_pylist()) == {Op.INSERT}
    shown = kept.rows.select(
        ["change_op", "change_weight", "change_ordinal", "change_unsent", "id", "note"]
    ).to_pylist()
    assert [tuple(row.values()) for row in shown] == [
        ("insert", 1, 1, None, 2, "new"),
        ("update", 1, 2, ["note"], 2, None),
        ("delete", -1, 3, None, 2, None),
        ("truncate", -1, 4, None, None, None),
    ]
    assert set(kept.rows.column("change_commit").to_pylist()) == {7}


def test_a_batch_of_nothing_but_a_snapshot_leaves_no_history() -> None:
    assert history_batch(batch((Op.READ, 1, 0, 1, "read", None))) is None


def test_a_column_with_a_name_of_ours_is_refused_with_the_way_out() -> None:
    stream = StreamSchema("orders", pa.schema([("change_op", pa.string())]))
    with pytest.raises(SourceStopped, match="'change_op'") as refused:
        history_of(stream)
    assert "history:" in refused.value.hint


def test_a_transaction_is_a_row_with_what_was_said_of_it() -> None:
    made = transactions_batch(
        "shop", np.array([7, 9], np.uint64), ["801", "802"], np.array([1, 2], np.int64), [None, '{"user": "ann"}']
    )
    assert made.stream.name == "shop_transactions"
    rows = made.rows.select(["commit", "transaction_id", "context"]).to_pylist()
    assert rows == [
        {"commit": 7, "transaction_id": "801", "context": None},
        {"commit": 9, "transaction_id": "802", "context": '{"user": "ann"}'},
    ]
    assert made.rows.column("_commit").to_pylist() == [7, 9]
