"""A real S3 server and a real Iceberg REST catalog on free loopback ports, for tests of the lake. Never a mock.

The S3 server is S3Proxy over a folder: it checks signatures, takes multipart uploads and conditional writes. The
catalog is Iceberg's own reference implementation of the REST protocol over SQLite, whose files lie on that S3 server.
Both come as jars, and live in one process of a JDK that `java/LakeServers.java` starts. `make test` runs this module,
so that a fresh machine sets all up by itself: about 110 MB, once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from headwater.errors import SourceUnavailable, UserError
from headwater.testing import maven

ACCESS_KEY, SECRET_KEY = "headwater-test", "headwater-test-secret"
REGION = "us-east-1"

_OPTIONS = (
    *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.cacheOutputStream=true"),
)


class LakeServers:
    """The two servers over `folder`; they end when `stop` is called or this process dies.

    Args:
        folder: where objects and the catalog's database live; None makes a temporary folder that `stop` removes.

    Attributes:
        s3_port, rest_port: where they listen on 127.0.0.1.
        guarded_port: where the same catalog wants a token, which it gives for `ACCESS_KEY` and `SECRET_KEY` (OAuth 2);
            each is good for 20 requests.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-lake-"))
        self.s3_port, self.rest_port, self.guarded_port = _free_port(), _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> LakeServers:
        """Starts both and waits until they answer.

        Raises:
            UserError: a JDK or Maven is missing and cannot be installed.
            SourceUnavailable: they did not start; the message ends with what they wrote.
        """
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
        classes = installed()
        command = ["java", *_OPTIONS, "-cp", f"{classes}{os.pathsep}{classes}/*", "LakeServers"]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [*command, *map(str, arguments), ACCESS_KEY, SECRET_KEY, str(self.guarded_port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
            self.stop()
            raise SourceUnavailable(f"the S3 server and the REST catalog did not start: {tail}")
        return self

    def stop(self) -> None:
        """Stops both and removes a temporary folder."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> LakeServers:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def installed() -> Path:
    """The folder of the jars and the compiled class, made first if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    return maven.installed("lake-servers", maven.JAVA / "pom.xml", maven.JAVA / "LakeServers.java")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Ensures what the test suite needs; what is missing is said, and the tests that need it fail by name."""
    try:
        installed()
    except UserError as error:
        sys.stderr.write(f"{error}\n  {error.hint}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
