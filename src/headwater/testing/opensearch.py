"""A real OpenSearch node on a free loopback port, for tests of the Elasticsearch destination. Never a mock.

The node is OpenSearch's own server jar (2.19) with its HTTP transport, which come from Maven (43 MB, once);
`java/opensearch/OpenSearchServer.java` starts it. It speaks the bulk API that Elasticsearch speaks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from headwater.errors import DestinationUnavailable, UserError
from headwater.testing import maven
from headwater.testing.leash import free_port

_FOLDER = maven.JAVA / "opensearch"
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class OpenSearchServer:
    """One node in `folder`; it ends when `stop` is called or this process dies.

    Args:
        folder: where its data lives; None makes a temporary folder that `stop` removes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-search-"))
        self.port, self._transport_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Asks the node something, beside what is tested.

        Raises:
            urllib.error.HTTPError: it refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def documents(self, index: str) -> dict[str, Any]:
        """All documents of an index, by id."""
        self.call("POST", f"/{index}/_refresh")
        found = self.call("POST", f"/{index}/_search", {"size": 10_000})
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def start(self) -> OpenSearchServer:
        """Starts the node and waits until it answers.

        Raises:
            UserError: a JDK or Maven is missing and cannot be installed.
            DestinationUnavailable: it did not start; the message ends with what it wrote.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        classes = installed()
        program = ["java", *_JVM, "-cp", f"{classes}{os.pathsep}{classes}/*", "OpenSearchServer"]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [*program, str(self.folder), str(self.port), str(self._transport_port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == b"ready\n":
                return self
        tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise DestinationUnavailable(f"OpenSearch did not start: {tail}")

    def stop(self) -> None:
        """Stops the node and removes a temporary folder."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> OpenSearchServer:
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
    return maven.installed("opensearch", _FOLDER / "pom.xml", _FOLDER / "OpenSearchServer.java")


def main() -> int:
    """Ensures what the test suite needs; what is missing is said, and the tests that need it fail by name."""
    try:
        installed()
    except UserError as error:
        sys.stderr.write(f"{error}\n  {error.hint}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
