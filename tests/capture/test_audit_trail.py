"""The audit trail, from batches alone: what of a change is kept, and what is said of values that are not there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headwater.capture.audit_trail import AuditTrail, audit_batch, audited, transactions_batch
from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.errors import SourceStopped
from headwater.position import Boundary, Position
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
    kept = audit_batch(
        batch(
            (Op.READ, 1, 0, 1, "read", None),
            (Op.INSERT, 1, 1, 2, "new", None),
            (Op.UPDATE, 1, 2, 2, None, b"\x02"),
            (Op.DELETE, -1, 3, 2, None, None),
            (Op.TRUNCATE, -1, 4, None, None, None),
        )
    )
    assert kept is not None
    assert kept.stream == audited(ORDERS)
    assert kept.stream.name == "orders_audit"
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


def test_a_batch_of_nothing_but_a_snapshot_leaves_no_trail() -> None:
    assert audit_batch(batch((Op.READ, 1, 0, 1, "read", None))) is None


def test_a_column_with_a_name_of_ours_is_refused_with_the_way_out() -> None:
    stream = StreamSchema("orders", pa.schema([("change_op", pa.string())]))
    with pytest.raises(SourceStopped, match="'change_op'") as refused:
        audited(stream)
    assert "audit:" in refused.value.hint


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


def group(*changes: tuple[Op, int, int, int | None, str | None, bytes | None], more: bool = False) -> Group:
    return Group(Boundary(Position(7)), (batch(*changes),), more=more)


def names(found: Group) -> list[str]:
    return [each.stream.name for each in found.batches]


def test_a_source_that_does_not_tell_of_transactions_has_them_by_their_commits() -> None:
    trail = AuditTrail("shop", ["ord*"], told=False)
    found = trail.added(group((Op.INSERT, 1, 0, 1, "a", None), (Op.INSERT, 1, 1, 2, "b", None)))
    assert names(found) == ["orders", "orders_audit", "shop_transactions"]
    assert found.batches[2].rows.select(["commit", "transaction_id"]).to_pylist() == [
        {"commit": 7, "transaction_id": None}
    ]


def test_a_transaction_in_parts_is_told_once_with_its_last() -> None:
    trail = AuditTrail("shop", ["orders"], told=False)
    assert names(trail.added(group((Op.INSERT, 1, 0, 1, "a", None), more=True))) == ["orders", "orders_audit"]
    assert names(trail.added(group((Op.INSERT, 1, 1, 2, "b", None)))) == [
        "orders",
        "orders_audit",
        "shop_transactions",
    ]


def test_what_was_open_when_the_source_was_opened_anew_is_forgotten() -> None:
    trail = AuditTrail("shop", ["orders"], told=False)
    trail.added(group((Op.INSERT, 1, 0, 1, "a", None), more=True))
    trail.begin()
    assert names(trail.added(group((Op.READ, 1, 0, 1, "a", None)))) == ["orders"]


def test_only_the_streams_meant_have_a_trail() -> None:
    trail = AuditTrail("shop", ["other"], told=True)
    assert names(trail.added(group((Op.INSERT, 1, 0, 1, "a", None)))) == ["orders"]
    assert [stream.name for stream in trail.streams([ORDERS])] == ["shop_transactions"]
