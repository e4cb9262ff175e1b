"""The lake in an object store, under each catalog: the same promises as on a local disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from lake_model import KEYED, MULTISET, delta, rows_of
from object_store import Place

from headwater.errors import InvariantBroken, UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.table_format import Table
from headwater.testing.lake_servers import LakeServers

pytestmark = pytest.mark.xdist_group("lake_servers")

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)


@pytest.fixture(params=["sqlite", "postgres", "rest"])
def place(request: pytest.FixtureRequest, lake_servers: LakeServers) -> Place:
    postgres = request.getfixturevalue("catalog_postgres") if request.param == "postgres" else None
    return Place(lake_servers, request.param, postgres)


@pytest.fixture
def lake(place: Place) -> Iterator[IcebergLake]:
    opened = place.open()
    yield opened
    opened.close()


def seen(place: Place, name: str) -> Counter[tuple[object, ...]]:
    """PyIceberg's own scan, through a lake opened anew."""
    reader = place.open(read_only=True)
    try:
        return rows_of(reader.catalog.load_table((place.namespace, name)).scan().to_arrow())
    finally:
        reader.close()


@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_commits_land_and_are_read_by_others(place: Place, lake: IcebergLake, spec: object) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1), (B, 1)]), {"n": "1"})
    table.commit(2, delta([(A, -1), (C, 1)]), {"n": "2"})
    again: Table = place.open().table(spec)
    assert again.committed().epoch == 2
    again.commit(3, delta([(B, -1)]), {"n": "3"})
    assert rows_of(again.read()) == seen(place, spec.name) == Counter([C])
    assert rows_of(again.read(1)) == Counter([A, B])


def test_a_second_writer_is_fenced(place: Place, lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {"n": "1"})
    place.open().table(KEYED).commit(2, delta([(B, 1)]), {"n": "2"})
    with pytest.raises(InvariantBroken, match="another Headwater"):
        table.commit(3, delta([(C, 1)]), {"n": "3"})
    assert seen(place, "orders") == Counter([A, B])


def test_drop_removes_the_objects(place: Place, lake: IcebergLake) -> None:
    lake.table(KEYED).commit(1, delta([(A, 1)]), {})
    lake.table(MULTISET)
    assert lake.names() == ["events", "orders"]
    assert any("/orders/" in location for location in place.objects())
    lake.drop("orders")
    assert lake.names() == ["events"]
    assert not any("/orders/" in location for location in place.objects())
    with pytest.raises(UserError, match="orders"):
        lake.open_table("orders")


def test_staged_parts_leave_nothing_when_forgotten(place: Place, lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    before = place.objects()
    table.stage(2, delta([(B, 1)]))
    assert place.objects() > before
    table.forget_staged()
    assert place.objects() == before


def test_files_are_listed(place: Place, lake: IcebergLake) -> None:
    lake.table(KEYED).commit(1, delta([(A, 1)]), {})
    held = lake.catalog.load_table((place.namespace, "orders"))
    found = {file.location: file for file in held.io.files_under(held.metadata.location)}
    assert set(found) == place.objects()
    assert all(file.size > 0 and file.modified_us > 0 for file in found.values())
    assert held.metadata_location in found
