"""The lake in an object store, under each catalog: the same promises as on a local disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lake_model import KEYED, MULTISET, delta, rows_of
from object_store import Place

from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.table_format import Table
from headwater.testing.lake_servers import ACCESS_KEY, SECRET_KEY, LakeServers

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


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_rest_catalog_that_gives_tokens(lake_servers: LakeServers, elsewhere: bool) -> None:
    """OAuth 2: a token for id and secret, and a new one when it has expired (after 20 requests, here)."""
    place, url = Place(lake_servers, "rest"), lake_servers.guarded_url
    given = {"credential": f"{ACCESS_KEY}:{SECRET_KEY}"}
    if elsewhere:
        given |= {"oauth2-server-uri": f"{url}/v1/oauth/tokens", "scope": "catalog"}
    place.connection = replace(place.connection, url=url, credentials=given)
    lake = place.open()
    table = lake.table(KEYED)
    for epoch in range(1, 16):
        table.commit(epoch, delta([((epoch, "n", None), 1)]), {"n": str(epoch)})
    assert seen(place, "orders").total() == 15
    lake.close()


def test_a_rest_catalog_that_gives_no_token(lake_servers: LakeServers) -> None:
    place = Place(lake_servers, "rest")
    for credentials in ({}, {"credential": f"{ACCESS_KEY}:not-the-secret"}, {"token": "not-a-token"}):
        place.connection = replace(place.connection, url=lake_servers.guarded_url, credentials=credentials)
        with pytest.raises(StorageFailed) as told:
            place.open()
        assert "not-the-secret" not in f"{told.value} {told.value.hint}"
        assert "not-a-token" not in f"{told.value} {told.value.hint}"


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
