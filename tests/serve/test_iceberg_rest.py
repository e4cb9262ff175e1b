"""Our catalog over the Iceberg REST protocol: PyIceberg's own client reads it; nobody writes or strays through it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, UnauthorizedError

from headwater.errors import UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.table_format import TableSpec
from headwater.serve.iceberg_rest import CatalogServer

SPEC = TableSpec("orders", pa.schema([("id", pa.int64()), ("name", pa.string())]), ("id",))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[IcebergLake]:
    opened = IcebergLake(tmp_path / "lake", namespace="shop")
    rows = pa.table({"id": [1, 2], "name": ["a", "b"], "_weight": pa.array([1, 1], pa.int64())})
    table = opened.table(SPEC)
    table.commit(1, rows, {"n": "1"})
    table.commit(2, rows.slice(0, 1).set_column(2, "_weight", pa.array([-1], pa.int64())), {"n": "2"})
    opened.table(TableSpec("ü b/..", SPEC.columns))
    yield opened
    opened.close()


@pytest.fixture
def reader(lake: IcebergLake) -> Iterator[IcebergLake]:
    opened = IcebergLake(lake.warehouse, namespace="shop", read_only=True)
    yield opened
    opened.close()


@pytest.fixture
def server(reader: IcebergLake) -> Iterator[CatalogServer]:
    serving = CatalogServer(reader)
    yield serving
    serving.close()


def ask(server: CatalogServer, method: str, path: str, **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, headers=headers, body=b"{}" if method == "POST" else None)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if body else {}


def test_pyiceberg_reads_it(server: CatalogServer, lake: IcebergLake) -> None:
    catalog = RestCatalog("ours", uri=server.url)
    assert catalog.list_namespaces() == [("shop",)]
    assert catalog.list_tables("shop") == [("shop", "orders"), ("shop", "ü b/..")]
    table = catalog.load_table(("shop", "orders"))
    assert table.scan().to_arrow().to_pylist() == [{"id": 2, "name": "b"}]
    assert table.metadata == lake.catalog.load_table(("shop", "orders")).metadata
    assert catalog.load_table(("shop", "ü b/..")).scan().to_arrow().num_rows == 0
    assert catalog.table_exists(("shop", "orders")) and not catalog.table_exists(("shop", "nothing"))
    with pytest.raises(NoSuchTableError):
        catalog.load_table(("shop", "nothing"))
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_tables("elsewhere")


def test_it_follows_the_lake(server: CatalogServer, lake: IcebergLake) -> None:
    catalog = RestCatalog("ours", uri=server.url)
    rows = pa.table({"id": [9], "name": ["z"], "_weight": pa.array([1], pa.int64())})
    lake.table(SPEC).commit(3, rows, {"n": "3"})
    assert sorted(catalog.load_table(("shop", "orders")).scan().to_arrow()["id"].to_pylist()) == [2, 9]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "/shop", "/shop/tables", "/shop/tables/orders", "/shop/tables/orders/metrics"])
def test_nothing_is_written(server: CatalogServer, lake: IcebergLake, method: str, path: str) -> None:
    before = lake.catalog.load_table(("shop", "orders")).metadata_location
    status, body = ask(server, method, f"/v1/namespaces{path}")
    assert (status, body["error"]["code"]) == (405, 405)
    assert lake.catalog.load_table(("shop", "orders")).metadata_location == before


@pytest.mark.parametrize(
    "path",
    [
        "/v1/namespaces/shop/tables/..%2F..%2Fcatalog.db",
        "/v1/namespaces/shop/tables/../../../../etc/passwd",
        "/v1/namespaces/..%2Fshop/tables/orders",
        "/v1/namespaces/shop%1Fx/tables",
        "/v1/namespaces/shop/tables/%00",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/v1/namespaces/shop/tables/orders%27%20OR%201=1",
        "/",
        "/v2/config",
    ],
)
def test_paths_lead_nowhere_else(server: CatalogServer, path: str) -> None:
    status, body = ask(server, "GET", path)
    assert status == 404
    assert "/" not in body["error"]["message"]


def test_pages_of_a_browser_are_refused(server: CatalogServer) -> None:
    for name in ("evil.example", "evil.example:8181", "127.0.0.1.evil.example", ""):
        assert ask(server, "GET", "/v1/config", Host=name)[0] == 403
    for name in ("localhost", f"127.0.0.1:{server.port}", "LOCALHOST:1", "[::1]:8181", "[::1]"):
        assert ask(server, "GET", "/v1/config", Host=name)[0] == 200
    assert ask(server, "GET", "/v1/config", Origin="https://evil.example")[0] == 403
    assert ask(server, "GET", "/v1/config", Origin="null")[0] == 403


def test_a_token_is_demanded(reader: IcebergLake) -> None:
    server = CatalogServer(reader, token="s3cret-token")
    try:
        assert ask(server, "GET", "/v1/config")[0] == 401
        assert ask(server, "GET", "/v1/config", Authorization="Bearer wrong")[0] == 401
        with pytest.raises(UnauthorizedError):
            RestCatalog("ours", uri=server.url)
        catalog = RestCatalog("ours", uri=server.url, token="s3cret-token")
        assert catalog.load_table(("shop", "orders")).scan().to_arrow().num_rows == 1
    finally:
        server.close()


def test_another_address_needs_a_token(reader: IcebergLake) -> None:
    with pytest.raises(UserError, match="token"):
        CatalogServer(reader, "0.0.0.0")
