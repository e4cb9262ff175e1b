"""Elasticsearch's bulk API as a destination: a real OpenSearch node, and a server that refuses as documented."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from headwater.deliver.destination import Batch, Op, Outcomes, State, Sync
from headwater.deliver.elasticsearch import ROOM, ElasticsearchDestination
from headwater.deliver.elasticsearch_settings import ElasticsearchSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.testing.destination_contract import DestinationContract, Row
from headwater.testing.opensearch import OpenSearchServer
from headwater.testing.proxy import Proxy

pytestmark = pytest.mark.xdist_group("opensearch")
COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string()), ("price", pa.decimal128(12, 2))])
Record = tuple[Op, int | None, str | None]


@pytest.fixture(scope="module")
def node() -> Iterator[OpenSearchServer]:
    with OpenSearchServer() as started:
        yield started


def sync(name: str, outbox: str = "one", key: tuple[str, ...] = ("id",)) -> Sync:
    return Sync("shop", name, outbox, "products", COLUMNS, key)


def batch(call: int, *records: Record) -> Batch:
    rows = pa.table([[key for _, key, _ in records], [name for _, _, name in records], [None] * len(records)],
                    schema=COLUMNS)  # fmt: skip
    seq = np.arange(len(records), dtype=np.int64) + 100 * call
    return Batch(call, rows, np.array([op for op, _, _ in records], np.uint8), seq, np.ones(len(records), np.int64))


def destination(url: str, index: str, **options: Any) -> ElasticsearchDestination:
    return ElasticsearchDestination(ElasticsearchSettings(url=url, index=index, allow_private=True, **options))


def test_documents_are_the_rows_and_go_with_them(node: OpenSearchServer) -> None:
    session = destination(node.url, "rows").open(sync("rows"))
    first = batch(
        1, (Op.UPSERT, 1, "ann"), (Op.UPSERT, 2, "bob"), (Op.DELETE, 3, "never there"), (Op.UPSERT, None, "?")
    )
    assert session.deliver(first).state.tolist() == [0, 0, 0, State.REFUSED]
    assert session.deliver(batch(2, (Op.UPSERT, 1, "anna"), (Op.DELETE, 2, "bob"))).state.tolist() == [0, 0]
    assert node.documents("rows") == {"1": {"id": 1, "name": "anna", "price": None}}


def test_calls_made_again_change_nothing_whatever_came_since(node: OpenSearchServer) -> None:
    calls = [
        batch(1, (Op.UPSERT, 1, "a"), (Op.UPSERT, 2, "b")),
        batch(2, (Op.UPSERT, 1, "c"), (Op.DELETE, 2, "b")),
        batch(3, (Op.UPSERT, 2, "d"), (Op.DELETE, 1, "c")),
    ]
    session = destination(node.url, "again").open(sync("again"))
    for call in calls:
        session.deliver(call)
    expected = node.documents("again")
    assert expected == {"2": {"id": 2, "name": "d", "price": None}}
    restarted = destination(node.url, "again").open(sync("again"))
    for call in calls[1:]:
        assert restarted.deliver(call).state.tolist() == [State.DELIVERED] * 2
        assert node.documents("again") == expected


def test_a_full_resync_counts_from_beyond_the_versions_before(node: OpenSearchServer) -> None:
    destination(node.url, "resync").open(sync("resync")).deliver(batch(900, (Op.UPSERT, 1, "before")))
    after = destination(node.url, "resync").open(sync("resync", outbox="two"))
    assert after.deliver(batch(1, (Op.UPSERT, 1, "after"))).state.tolist() == [0]
    assert node.documents("resync")["1"]["name"] == "after"
    late = destination(node.url, "resync").open(sync("resync", outbox="two"))
    late.deliver(batch(2, (Op.UPSERT, 1, "later")))
    assert node.documents("resync")["1"]["name"] == "later"


def test_of_a_mixed_answer_only_what_was_refused_is_refused(node: OpenSearchServer) -> None:
    node.call("PUT", "/strict", {"mappings": {"dynamic": "strict", "properties": {
        "id": {"type": "long"}, "name": {"type": "byte"}, "price": {"type": "double"}}}})  # fmt: skip
    session = destination(node.url, "strict").open(sync("strict"))
    outcomes = session.deliver(batch(1, (Op.UPSERT, 1, "7"), (Op.UPSERT, 2, "no number"), (Op.UPSERT, 3, "8")))
    assert outcomes.state.tolist() == [0, State.REFUSED, 0]
    assert "mapper_parsing_exception" in outcomes.reasons[1]
    assert sorted(node.documents("strict")) == ["1", "3"]


def test_a_document_that_somebody_else_writes_is_not_said_to_be_delivered(node: OpenSearchServer) -> None:
    session = destination(node.url, "foreign").open(sync("foreign"))
    session.deliver(batch(1, (Op.UPSERT, 1, "ours")))
    version = (1 << 62) + ROOM
    node.call("PUT", f"/foreign/_doc/1?version={version}&version_type=external", {"name": "theirs"})
    outcomes = session.deliver(batch(2, (Op.UPSERT, 1, "ours")))
    assert outcomes.state.tolist() == [State.REFUSED]
    assert "somebody else" in outcomes.reasons[0]


def test_rows_without_a_key_are_there_once(node: OpenSearchServer) -> None:
    rows = batch(1, (Op.INSERT, 1, "same"), (Op.INSERT, 1, "same"))
    for _ in range(2):
        destination(node.url, "events").open(sync("events", key=())).deliver(rows)
    assert len(node.documents("events")) == 2


def test_a_blocked_index_is_tried_again(node: OpenSearchServer) -> None:
    session = destination(node.url, "blocked").open(sync("blocked"))
    session.deliver(batch(1, (Op.UPSERT, 1, "a")))
    node.call("PUT", "/blocked/_settings", {"index.blocks.read_only_allow_delete": True})
    assert session.deliver(batch(2, (Op.UPSERT, 1, "b"))).state.tolist() == [State.RETRY]
    node.call("PUT", "/blocked/_settings", {"index.blocks.read_only_allow_delete": None})
    assert session.deliver(batch(2, (Op.UPSERT, 1, "b"))).state.tolist() == [State.DELIVERED]


def test_an_answer_that_is_lost_is_made_up_for_by_making_the_call_again(node: OpenSearchServer) -> None:
    with Proxy(node.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        for cut in (0, 1, 40, 100):
            call = batch(cut + 1, (Op.UPSERT, cut, str(cut)))
            assert any(_is_lost(proxy, url, call, cut) for _ in range(10))
            again = destination(url, "lost").open(sync("lost"))
            assert again.deliver(call).state.tolist() == [State.DELIVERED]
    assert {key: found["name"] for key, found in node.documents("lost").items()} == {
        "0": "0", "1": "1", "40": "40", "100": "100",
    }  # fmt: skip


def _is_lost(proxy: Proxy, url: str, call: Batch, cut: int) -> bool:
    """Whether the answer to a call was lost. A connection that was idle for too long is opened anew, and not cut."""
    session = destination(url, "lost", timeout_s=5).open(sync("lost"))
    proxy.reset_after(cut)
    try:
        session.deliver(call)
    except DestinationUnavailable:
        return True
    return False


def test_check_and_preview_say_what_will_be_done(node: OpenSearchServer) -> None:
    told = destination(node.url, "missing").check(sync("check"))
    assert told[0] == "keeps the documents of index 'missing' in opensearch 2.19.1"
    assert "is not there" in told[1]
    shown = destination(node.url, "x").preview(sync("check"), batch(1, (Op.DELETE, 1, "a")))
    assert shown == ['{"delete": {"_index": "x", "_id": "1", "version": 100, "version_type": "external"}}']


class SearchPeer:
    """An index, behind a proxy that can be cut."""

    appends, poisons, stoppable = False, False, True
    made = itertools.count(1)

    def __init__(self, node: OpenSearchServer, proxy: Proxy) -> None:
        self._node, self._proxy, self._index = node, proxy, f"contract-{next(self.made)}"
        node.call("PUT", f"/{self._index}", {"settings": {"number_of_replicas": 0}})

    def destination(self) -> ElasticsearchDestination:
        notes = f"notes-{self._index}"
        return destination(f"http://127.0.0.1:{self._proxy.port}", self._index, notes_index=notes, timeout_s=10)

    def rows(self) -> dict[int, Row]:
        found = self._node.documents(self._index).values()
        return {row["id"]: {**row, "at": row["at"] and datetime.fromisoformat(row["at"])} for row in found}

    def names(self, number: int) -> list[str]:
        return [str(row["name"]) for key, row in self.rows().items() if key == number]

    def heal(self) -> None:
        """Nothing is refused."""

    def stop(self) -> None:
        self._proxy.down()

    def start(self) -> None:
        self._proxy.up()


class TestContract(DestinationContract):
    @pytest.fixture
    def peer(self, node: OpenSearchServer) -> Iterator[SearchPeer]:
        with Proxy(node.port) as proxy:
            yield SearchPeer(node, proxy)


class Refusing(BaseHTTPRequestHandler):
    """Answers bulks as told and everything else as a server does."""

    answers: ClassVar[list[tuple[int, dict[str, str], object]]] = []
    bulks: ClassVar[list[int]] = []
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = 200, {}, {}
        if self.path.startswith("/_bulk"):
            count = sum(b'"index"' in line for line in body.splitlines()[::2])
            self.bulks.append(count)
            status, headers, answer = self.answers.pop(0)
            if answer == "well":
                answer = {"errors": False, "items": [{"index": {"status": 200}}] * count}
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    Refusing.answers, Refusing.bulks = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(60)


def deliver(url: str, *answers: tuple[int, dict[str, str], object], count: int = 4, **options: Any) -> Outcomes:
    Refusing.answers[:] = answers
    records = [(Op.UPSERT, number, "x") for number in range(count)]
    return destination(url, "x", **options).open(sync("x")).deliver(batch(1, *records))


def test_items_that_are_too_many_are_tried_again_and_the_others_are_not(refusing: str) -> None:
    """T-RE-03: HTTP 200 with 201, 429, 409 and 400 in it."""
    conflict = {"type": "version_conflict_engine_exception", "reason": "current version [2] is higher or equal"}
    items = [
        {"index": {"status": 201}},
        {"index": {"status": 429, "error": {"type": "circuit_breaking_exception", "reason": "too much"}}},
        {"index": {"status": 409, "error": conflict}},
        {"index": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}},
    ]
    outcomes = deliver(refusing, (200, {}, {"errors": True, "items": items}))
    assert outcomes.state.tolist() == [State.DELIVERED, State.RETRY, State.DELIVERED, State.REFUSED]


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(refusing: str) -> None:
    outcomes = deliver(refusing, (429, {"Retry-After": "7"}, {}))
    assert outcomes.state.tolist() == [State.RETRY] * 4
    assert outcomes.retry_after_s == 7.0


def test_a_request_that_is_too_large_goes_in_halves(refusing: str) -> None:
    well, large = (200, {}, "well"), (413, {}, {})
    outcomes = deliver(refusing, large, large, well, large, well)
    assert outcomes.state.tolist() == [0, State.REFUSED, 0, 0]
    assert Refusing.bulks == [4, 2, 1, 1, 2]


def test_a_batch_goes_in_requests_of_the_largest_size(refusing: str) -> None:
    well = (200, {}, "well")
    outcomes = deliver(refusing, *[well] * 4, count=40, max_body=1500)
    assert outcomes.state.tolist() == [0] * 40
    assert sum(Refusing.bulks) == 40
    assert len(Refusing.bulks) == 4


def test_refusals_stop_and_odd_answers_do_not_pass_for_success(refusing: str) -> None:
    with pytest.raises(DestinationStopped) as refused:
        deliver(refusing, (403, {}, {}), api_key="secret-key")
    assert "secret-key" not in str(refused.value) + refused.value.hint
    with pytest.raises(DestinationUnavailable):
        deliver(refusing, (200, {}, {"errors": False, "items": []}))
    with pytest.raises(DestinationUnavailable):
        deliver(refusing, (302, {"Location": "/"}, {}))
    with pytest.raises(DestinationStopped, match="is not called"):
        ElasticsearchDestination(ElasticsearchSettings(url=refusing, index="x")).open(sync("x"))


def test_settings_are_held_against_each_other() -> None:
    with pytest.raises(ValidationError) as refused:
        ElasticsearchSettings(url="https://user:secret@host:9200", index="x")
    assert "secret" not in str(refused.value)
    with pytest.raises(ValidationError):
        ElasticsearchSettings(url="https://host:9200", index="Upper")
    with pytest.raises(ValidationError):
        ElasticsearchSettings(url="https://host:9200", index="x", user="me")


def test_what_doctor_finds(node: OpenSearchServer) -> None:
    made = destination(node.url, "looked-at")
    session = made.open(sync("looked"))
    session.deliver(batch(1, (Op.UPSERT, 1, "ann")))
    session.close()
    well = made.diagnose(sync("looked"))
    assert {one.check: one.level for one in well} == {
        "reach": "ok", "tls": "ok", "index": "ok", "cluster": "ok", "writable": "ok"
    }  # fmt: skip
    block = {"index.blocks.read_only_allow_delete": True}
    httpx.put(f"{node.url}/looked-at/_settings", json=block, timeout=60).raise_for_status()
    blocked = {one.check: one for one in made.diagnose(sync("looked"))}["writable"]
    assert blocked.level == "fail" and "read_only_allow_delete" in blocked.mend
