"""A whole project whose lake is in an object store under a REST or PostgreSQL catalog: stopped, killed, gone on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_project import Shop, inserts

from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.opening import make_lake
from headwater.testing.lake_servers import ACCESS_KEY, REGION, SECRET_KEY, LakeServers
from headwater.testing.postgres import PostgresServer

pytestmark = pytest.mark.xdist_group("lake_servers")

PROJECT = """
name: shop
sources:
  shop: {{type: postgres, url: "postgresql://nowhere/shop"}}
run: {{epoch_interval: 20 ms, checkpoint_interval: 200 ms, log_segment: 4 KiB}}
lake:
  warehouse: s3://shop/{kind}
  s3: {{endpoint: "{endpoint}", region: {region}, access_key_id: "{access}", secret_access_key: "{secret}"}}
  catalog: {{type: {kind}, url: "{url}"}}
"""

KILLED = """
import sys
from pathlib import Path
from test_remote_project import remote_shop, script
shop = remote_shop(Path(sys.argv[1]))
script(shop)
shop.run_once()
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[LakeServers]:
    with LakeServers() as started:
        started.make_bucket("shop")
        yield started


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def remote_shop(folder: Path) -> Shop:
    """The project in a folder whose settings are written already."""
    text = (folder / "headwater.yml").read_text()
    shop = Shop(folder)
    (folder / "headwater.yml").write_text(text)
    return shop


def script(shop: Shop) -> None:
    """Three transactions, and a model over them."""
    shop.model("big", "SELECT id, amount FROM orders WHERE id > 2")
    shop.source.add(inserts(100, 1, 2), inserts(200, 3), inserts(300, 4, 5))


def seen(shop: Shop, table: str) -> tuple[list[int], list[int]]:
    """Ids that PyIceberg reads, and the epochs of the table's snapshots."""
    project = shop.project
    lake = make_lake(project.lake, project.folder, project=project.name, read_only=True)
    assert isinstance(lake, IcebergLake)
    found = lake.catalog.load_table((lake.namespace, table))
    ids = sorted(found.scan().to_arrow()["id"].to_pylist())
    epochs = [int(snapshot.summary["headwater.epoch"]) for snapshot in found.snapshots()]
    lake.close()
    return ids, epochs


@pytest.mark.parametrize("kind", ["rest", "postgres"])
@pytest.mark.parametrize("place", ["before_catalog", "after_catalog"])
def test_killed_and_gone_on(
    tmp_path: Path, servers: LakeServers, request: pytest.FixtureRequest, kind: str, place: str
) -> None:
    url = servers.rest_url if kind == "rest" else request.getfixturevalue("postgres").url()
    settings = {"kind": kind, "url": url, "endpoint": servers.s3_url, "region": REGION}
    text = PROJECT.format(**settings, access=ACCESS_KEY, secret=SECRET_KEY).replace("s3://shop/", f"s3://shop/{place}/")
    (tmp_path / "headwater.yml").write_text(text + f"  namespace: {place}\n")
    environment = {
        **os.environ,
        "HEADWATER_FAILPOINT": f"lake.commit.{place}:1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    shop = remote_shop(tmp_path)
    script(shop)
    shop.run_once()
    assert (seen(shop, "orders")[0], seen(shop, "big")[0]) == ([1, 2, 3, 4, 5], [3, 4, 5])
    shop.source.add(inserts(400, 6))
    shop.run_once()
    for table, ids in (("orders", [1, 2, 3, 4, 5, 6]), ("big", [3, 4, 5, 6])):
        found, epochs = seen(shop, table)
        assert found == ids
        assert epochs == sorted(set(epochs))
    state = b"".join(path.read_bytes() for path in (tmp_path / ".headwater").rglob("*") if path.is_file())
    assert SECRET_KEY.encode() not in state + shop.log.getvalue().encode()
