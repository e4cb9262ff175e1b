"""A real OpenSearch node on a free loopback port, for tests of the Elasticsearch destination. Never a mock.

The node is OpenSearch's own server jar (2.19) with its HTTP transport, which come from Maven (43 MB, once);
`java/opensearch/OpenSearchServer.java` starts it. It speaks the bulk API that Elasticsearch speaks.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

from headwater.errors import DestinationUnavailable
from headwater.testing import maven
from headwater.testing.java_server import JavaServer, ensure
from headwater.testing.leash import free_port

_FOLDER = maven.JAVA / "opensearch"


class OpenSearchServer(JavaServer):
    """One node in `folder`; it ends when `stop` is called or this process dies.

    Args:
        folder: where its data lives; None makes a temporary folder that `stop` removes.
    """

    what, program, unavailable = "OpenSearch", "OpenSearchServer", DestinationUnavailable
    options = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder, "headwater-search-")
        self.port, self._transport_port = free_port(), free_port()

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

    def start(self) -> Self:
        """See `JavaServer.start`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._start(installed(), [str(self.folder), str(self.port), str(self._transport_port)])
        return self


def installed() -> Path:
    """The folder of the jars and the compiled class, made first if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    return maven.installed("opensearch", _FOLDER / "pom.xml", _FOLDER / "OpenSearchServer.java")


if __name__ == "__main__":
    sys.exit(ensure(installed))
