"""The schema store: nothing changes once it has an id, and all of it is there after a restart."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from headwater.errors import UserError
from headwater.formats.schema_source import Reference, SchemaText
from headwater.registry.store import SchemaStore
from headwater.schema import StreamSchema

INT, LONG = (SchemaText(0, "AVRO", f'{{"type": "{name}"}}') for name in ("int", "long"))


def orders(**columns):
    return StreamSchema("orders", pa.schema(columns), ("id",), "upsert")


def test_a_stream_has_a_new_version_when_it_changes(store):
    first, second = orders(id=pa.int64()), orders(id=pa.int64(), note=pa.string())
    assert [store.keep(each) for each in (first, first, second, second, first)] == [1, 1, 2, 2, 3]
    store.close()
    again = SchemaStore(store.path.parent)
    assert again.stream("orders") == first
    assert again.stream("orders", 2) == second
    assert again.stream("orders", 9) is None
    assert again.stream("customers") is None
    assert again.streams() == {"orders": 3}
    again.close()


def test_metadata_of_a_column_and_the_key_make_a_version(store):
    plain = orders(id=pa.int64())
    marked = StreamSchema("orders", pa.schema([pa.field("id", pa.int64(), metadata={b"a": b"b"})]), ("id",), "upsert")
    append = StreamSchema("orders", plain.columns, (), "append")
    assert [store.keep(each) for each in (plain, marked, append)] == [1, 2, 3]
    assert store.stream("orders", 2).columns.field(0).metadata == {b"a": b"b"}


def test_an_equal_schema_has_one_id_under_all_subjects(store):
    one = store.add("a", INT)
    same = store.add("b", SchemaText(0, "AVRO", '{"type":"int"}'))
    other = store.add("a", LONG)
    assert (one.schema.id, same.schema.id, other.schema.id) == (1, 1, 2)
    assert [one.version, same.version, other.version] == [1, 1, 2]
    assert store.add("a", INT).version == 1
    assert store.uses(1) == [("a", 1), ("b", 1)]
    assert store.schema(1).text == INT.text
    assert store.schema(3) is None
    assert store.version("a", -1).id == 2
    assert store.find(LONG).id == 2
    assert store.find(SchemaText(0, "JSON", LONG.text)) is None


def test_a_deleted_version_is_never_given_again(store):
    store.add("a", INT)
    store.delete("a", [1])
    assert store.subjects() == []
    assert store.subjects(deleted=True) == ["a"]
    assert store.schema(1) is not None
    store.delete("a", [1], purge=True)
    assert store.subjects(deleted=True) == []
    again = store.add("a", INT)
    assert (again.version, again.schema.id) == (2, 1)


def test_references_make_a_different_schema(store):
    store.add("a", INT)
    user = store.add("b", SchemaText(0, "AVRO", LONG.text, (Reference("A", "a", 1),)))
    assert store.referrers("a", 1) == [user.schema.id]
    assert store.schema(user.schema.id).references == (Reference("A", "a", 1),)
    assert store.add("b", LONG).schema.id != user.schema.id


def test_settings_are_set_and_taken_back(store):
    assert store.setting("mode") is None
    store.set("mode", "READONLY")
    store.set("mode", "READWRITE", "a")
    assert [store.setting("mode"), store.setting("mode", "a"), store.setting("mode", "b")] == [
        "READONLY", "READWRITE", None,
    ]  # fmt: skip
    store.set("mode", None, "a")
    assert store.setting("mode", "a") is None


def test_a_failed_transaction_leaves_nothing(store):
    with pytest.raises(KeyError), store.transaction():
        store.add("a", INT)
        raise KeyError
    assert store.subjects(deleted=True) == []
    assert store.schema(1) is None


def test_threads_that_register_the_same_get_the_same(store):
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.add("a", INT).schema.id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {1} and len(store.versions("a")) == 1


def test_a_store_of_a_later_version_is_refused(store):
    store._connection.execute("PRAGMA user_version = 9")
    store.close()
    with pytest.raises(UserError, match="format 9"):
        SchemaStore(store.path.parent)
