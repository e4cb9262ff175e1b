"""A running project serves its tables to other engines, if its settings ask for it."""

from __future__ import annotations

import httpx
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchTableError
from scripted_project import PROJECT, ids, inserts, run_with, wait_until

from headwater.errors import UserError

SERVED = f"{PROJECT}lake: {{catalog: {{serve: true}}}}\napi: {{port: 0}}\n"


def test_pyiceberg_reads_a_running_project(shop):
    (shop.folder / "headwater.yml").write_text(SERVED)
    with shop.running() as supervisor:
        wait_until(lambda: supervisor.api_url)
        url = f"{supervisor.api_url}/iceberg"
        shop.source.add(inserts(1, 1, 2))
        wait_until(lambda: shop.account("orders")["landed"] == 2)
        catalog = RestCatalog("theirs", uri=url)
        assert ("shop", "orders") in catalog.list_tables("shop")
        assert sorted(catalog.load_table("shop.orders").scan().to_arrow()["id"].to_pylist()) == [1, 2]
        shop.source.add(inserts(2, 3))
        wait_until(lambda: ids(shop) == [1, 2, 3])
        assert sorted(catalog.load_table("shop.orders").scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]
        with pytest.raises(NoSuchTableError):
            catalog.load_table(("shop", "../orders"))
        assert httpx.delete(f"{url}/v1/namespaces/shop/tables/orders").status_code == 405
        assert httpx.get(f"{url}/v1/config", headers={"Host": "elsewhere.example"}).status_code == 421
        assert httpx.get(f"{url}/v1/namespaces/..%2Fshop").status_code == 404


def test_a_token_of_the_web_server_is_asked_for(shop):
    (shop.folder / "headwater.yml").write_text(SERVED.replace("port: 0", "port: 0, token: letmein"))
    run_with(shop, inserts(1, 1))
    with shop.running() as supervisor:
        wait_until(lambda: supervisor.api_url)
        url = f"{supervisor.api_url}/iceberg"
        assert httpx.get(f"{url}/v1/config").status_code == 401
        catalog = RestCatalog("theirs", uri=url, token="letmein")
        assert catalog.load_table("shop.orders").scan().to_arrow()["id"].to_pylist() == [1]


def test_only_iceberg_has_a_catalog(shop):
    (shop.folder / "headwater.yml").write_text(SERVED.replace("catalog:", "type: delta, catalog:"))
    with pytest.raises(UserError, match="have no catalog"):
        shop.run_once()
