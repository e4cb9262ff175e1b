"""The S3 server, the REST catalog and the PostgreSQL that tests of a remote lake use, and lakes on them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from headwater.lake.connection import CatalogKind, Connection
from headwater.lake.iceberg import IcebergLake
from headwater.testing.lake_servers import ACCESS_KEY, REGION, SECRET_KEY, LakeServers
from headwater.testing.postgres import PostgresServer


def storage(endpoint: str, timeout_s: float = 30) -> dict[str, str]:
    """PyIceberg's properties of the S3 server."""
    return {
        "s3.request-timeout": str(timeout_s),
        "s3.endpoint": endpoint,
        "s3.region": REGION,
        "s3.access-key-id": ACCESS_KEY,
        "s3.secret-access-key": SECRET_KEY,
    }


class Place:
    """One lake's bucket prefix and catalog; open it as often as you like.

    Args:
        servers: the S3 server and the REST catalog.
        postgres: for a `postgres` catalog.
        kind: of catalog.
        s3_url, rest_url: proxies in front of the servers, if any.
        timeout_s: how long the S3 server may be silent.
    """

    def __init__(
        self,
        servers: LakeServers,
        kind: CatalogKind,
        postgres: PostgresServer | None = None,
        *,
        s3_url: str = "",
        rest_url: str = "",
        timeout_s: float = 30,
    ) -> None:
        servers.make_bucket("lake")
        self.servers, self.kind = servers, kind
        name = f"t{uuid4().hex[:12]}"
        self.namespace, self.warehouse = name, f"s3://lake/{name}"
        url = rest_url or servers.rest_url
        if kind == "postgres":
            assert postgres is not None
            url = postgres.url()
        self.connection = Connection(
            kind,
            servers.folder / f"{name}.db",
            url if kind != "sqlite" else "",
            storage=storage(s3_url or servers.s3_url, timeout_s),
        )

    def open(self, *, read_only: bool = False) -> IcebergLake:
        """The lake."""
        return IcebergLake(self.warehouse, connection=self.connection, namespace=self.namespace, read_only=read_only)

    def around(self) -> IcebergLake:
        """The lake for reading, reached without the proxies."""
        url = self.servers.rest_url if self.kind == "rest" else self.connection.url
        connection = replace(self.connection, url=url, storage=storage(self.servers.s3_url))
        return IcebergLake(self.warehouse, connection=connection, namespace=self.namespace, read_only=True)

    def objects(self) -> set[str]:
        """Locations of all objects of the lake, seen on the S3 server's disk."""
        folder = self.servers.folder / "objects" / "lake" / self.namespace
        return {f"{self.warehouse}/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}
