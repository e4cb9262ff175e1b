"""A real S3 server and a real Iceberg REST catalog on free loopback ports, for tests of the lake. Never a mock.

The S3 server is S3Proxy over a folder: it checks signatures, takes multipart uploads and conditional writes. The
catalog is Iceberg's own reference implementation of the REST protocol over SQLite, whose files lie on that S3 server.
Both come as jars, and live in one process of a JDK that `java/LakeServers.java` starts. `make test` runs this module,
so that a fresh machine sets all up by itself: about 110 MB, once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self

from headwater.errors import SourceUnavailable
from headwater.testing import maven
from headwater.testing.java_server import JavaServer, ensure
from headwater.testing.leash import free_port

ACCESS_KEY, SECRET_KEY = "headwater-test", "headwater-test-secret"
REGION = "us-east-1"


class LakeServers(JavaServer):
    """The two servers over `folder`; they end when `stop` is called or this process dies.

    Args:
        folder: where objects and the catalog's database live; None makes a temporary folder that `stop` removes.

    Attributes:
        s3_port, rest_port: where they listen on 127.0.0.1.
        guarded_port: where the same catalog wants a token, which it gives for `ACCESS_KEY` and `SECRET_KEY` (OAuth 2);
            each is good for 20 requests.
    """

    what, program, unavailable = "the S3 server and the REST catalog", "LakeServers", SourceUnavailable
    options = (
        *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.cacheOutputStream=true"),
    )

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder, "headwater-lake-")
        self.s3_port, self.rest_port, self.guarded_port = free_port(), free_port(), free_port()

    @property
    def s3_url(self) -> str:
        """The S3 endpoint."""
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def rest_url(self) -> str:
        """The REST catalog's address."""
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def guarded_url(self) -> str:
        """The address of the REST catalog that wants tokens."""
        return f"http://127.0.0.1:{self.guarded_port}"

    def make_bucket(self, name: str) -> None:
        """Makes a bucket; one that is there stays as it is."""
        (self.folder / "objects" / name).mkdir(parents=True, exist_ok=True)

    def start(self) -> Self:
        """See `JavaServer.start`."""
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        settings = self.folder / "s3proxy.properties"
        settings.write_text(
            f"s3proxy.endpoint=http://127.0.0.1:{self.s3_port}\n"
            "s3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={ACCESS_KEY}\n"
            f"s3proxy.credential={SECRET_KEY}\n"
            "jclouds.provider=filesystem-nio2\n"
            f"jclouds.filesystem.basedir={self.folder / 'objects'}\n"
        )
        arguments = [settings, self.s3_port, self.rest_port, self.folder / "catalog.db", "s3://rest/warehouse"]
        self.make_bucket("rest")
        self._start(installed(), [*map(str, arguments), ACCESS_KEY, SECRET_KEY, str(self.guarded_port)])
        return self


def installed() -> Path:
    """The folder of the jars and the compiled class, made first if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    return maven.installed("lake-servers", maven.JAVA / "pom.xml", maven.JAVA / "LakeServers.java")


if __name__ == "__main__":
    sys.exit(ensure(installed))
