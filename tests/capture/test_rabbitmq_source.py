"""RabbitMQ as a source, against a real broker."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pydantic import ValidationError

from headwater.capture.rabbitmq.reader import RabbitmqReader
from headwater.capture.rabbitmq.settings import RabbitmqSettings
from headwater.capture.rabbitmq.source import RabbitmqSource
from headwater.capture.request import Request
from headwater.change import Group, Op
from headwater.errors import HeadwaterError, PositionLost, SourceStopped, SourceUnavailable
from headwater.position import Resume
from headwater.registry.store import SchemaStore
from headwater.testing.proxy import Proxy
from headwater.testing.rabbitmq import RabbitmqServer

pytestmark = pytest.mark.xdist_group("rabbitmq")
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def server(rabbitmq: RabbitmqServer) -> RabbitmqServer:
    return rabbitmq


@pytest.fixture
def channel(server: RabbitmqServer) -> Iterator[Any]:
    connection = server.connect()
    opened = connection.channel()
    opened.confirm_delivery()
    yield opened
    connection.close()


@pytest.fixture
def schemas(tmp_path: Path) -> Iterator[SchemaStore]:
    store = SchemaStore(tmp_path)
    yield store
    store.close()


Make = Callable[..., RabbitmqSource]


@pytest.fixture
def make(server: RabbitmqServer, schemas: SchemaStore) -> Make:
    def made(queues: dict[str, Any], port: int | None = None, **options: Any) -> RabbitmqSource:
        settings = RabbitmqSettings.model_validate({"url": server.url(port=port), "queues": queues, **options})
        source = RabbitmqSource("events", settings, project="shop")
        source.schemas = schemas
        return source

    return made


def declare(channel: Any, name: str, kind: str = "quorum", **arguments: Any) -> str:
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **arguments})
    return name


def publish(channel: Any, queue: str, *bodies: object, ids: bool = True, **properties: Any) -> None:
    for body in bodies:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"message_id": f"m-{content!r}"} if ids else {}
        channel.basic_publish("", queue, content, pika.BasicProperties(delivery_mode=2, **named, **properties))


def messages(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def await_messages(channel: Any, queue: str, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while messages(channel, queue) != count:
        assert time.monotonic() < deadline, f"{queue} holds {messages(channel, queue)}, not {count}"


def poll(reader: RabbitmqReader, records: int) -> list[Group]:
    """Groups until so many records have come, left out ones included."""
    groups: list[Group] = []
    deadline = time.monotonic() + DEADLINE_S
    while sum(len(group) + sum(group.filtered.values()) for group in groups) < records:
        assert time.monotonic() < deadline, f"only {[len(group) for group in groups]} of {records} came"
        group = reader.poll(0.05)
        if group is not None:
            groups.append(group)
    return groups


def values(groups: list[Group], column: str = "n") -> list[Any]:
    return [value for group in groups for batch in group.batches for value in batch.rows.column(column).to_pylist()]


def await_no_lag(reader: RabbitmqReader) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while reader.lag_bytes() != 0:
        assert reader.poll(0.1) is None
        assert time.monotonic() < deadline


def reopened(source: RabbitmqSource, resume: Resume | None) -> RabbitmqReader:
    """Opens once the server has noticed the end of the reading before."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return source.open(resume)
        except SourceUnavailable as error:
            assert time.monotonic() < deadline, error


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_messages_become_changes_and_are_acknowledged_when_they_are_durable(
    channel: Any, make: Make, kind: str
) -> None:
    queue = declare(channel, f"orders.{kind}", kind)
    publish(channel, queue, *({"n": n, "name": "x"} for n in range(100)), timestamp=1_790_000_000)
    source = make({queue: {"metadata": ["partition", "key", "timestamp"]}})
    assert "100 messages wait, 0 consumers" in source.check()[0]
    reader = source.open(None)
    groups = poll(reader, 100)
    batch = groups[0].batches[0]
    assert batch.stream.name == f"orders_{kind}"
    assert set(batch.rows.column("_op").to_pylist()) == {Op.INSERT}
    assert batch.rows.column("_partition")[0].as_py() == queue
    assert batch.rows.column("_key")[0].as_py() == queue.encode()
    assert values(groups) == list(range(100))
    places = [place for group in groups for batch in group.batches for place in zip(
        batch.rows.column("_commit").to_pylist(), batch.rows.column("_ordinal").to_pylist(), strict=True)]  # fmt: skip
    assert places == sorted(set(places))
    reader.close()
    await_messages(channel, queue, 100)
    again = reopened(source, None)
    groups = poll(again, 100)
    again.confirm(groups[-1].boundary)
    again.close()
    await_messages(channel, queue, 0)


@pytest.mark.parametrize("deduplicate", ["message_id", "hash"])
def test_a_kill_between_fsync_and_acknowledgement_doubles_nothing(channel: Any, make: Make, deduplicate: str) -> None:
    queue = declare(channel, f"kill.{deduplicate}")
    ids = deduplicate == "message_id"
    publish(channel, queue, *({"n": n // (1 if ids else 2)} for n in range(10)), ids=ids)
    source = make({queue: {"deduplicate": deduplicate}}, prefetch=20)
    resume: Resume | None = None
    taken: list[int] = []
    for crash in range(4):
        reader = reopened(source, resume)
        groups = poll(reader, 10)
        taken += values(groups)
        assert sum(sum(group.filtered.values()) for group in groups) == (10 if crash else 0)
        resume = groups[-1].boundary.resume  # durable; the process dies before it acknowledges
        reader.close()
    publish(channel, queue, {"n": 77}, ids=ids)
    reader = reopened(source, resume)
    groups = poll(reader, 11)
    taken += values(groups)
    reader.confirm(groups[-1].boundary)
    reader.close()
    await_messages(channel, queue, 0)
    assert sorted(taken) == [*sorted(n // (1 if ids else 2) for n in range(10)), 77]


def test_without_an_id_messages_are_taken_as_often_as_they_come(channel: Any, make: Make) -> None:
    queue = declare(channel, "nameless")
    publish(channel, queue, {"n": 1}, {"n": 1}, ids=False)
    source = make({queue: {}})
    reader = source.open(None)
    groups = poll(reader, 2)
    reader.close()
    assert values(poll(reopened(source, groups[-1].boundary.resume), 2)) == [1, 1]


def test_the_same_id_with_another_body_is_another_message(channel: Any, make: Make) -> None:
    queue = declare(channel, "counters")
    for n in (1, 2, 1):
        channel.basic_publish("", queue, b'{"n": %d}' % n, pika.BasicProperties(message_id="1"))
    groups = poll(make({queue: {}}).open(None), 3)
    assert values(groups) == [1, 2]
    assert sum(sum(group.filtered.values()) for group in groups) == 1


def test_several_queues_share_a_group_and_one_acknowledgement(channel: Any, make: Make) -> None:
    first, second = declare(channel, "a"), declare(channel, "b", "classic")
    for n in range(50):
        publish(channel, first, {"n": n})
        publish(channel, second, {"n": -n})
    reader = make({first: {}, second: {"stream": "negative"}}, prefetch=10).open(None)
    found: dict[str, list[int]] = {"a": [], "negative": []}
    while sum(map(len, found.values())) < 100:
        for group in poll(reader, 1):
            places = [batch.rows.column("_ordinal").to_pylist() for batch in group.batches]
            assert len({one for some in places for one in some}) == len(group)
            for batch in group.batches:
                found[batch.stream.name] += batch.rows.column("n").to_pylist()
            reader.confirm(group.boundary)
    reader.close()
    assert found == {"a": list(range(50)), "negative": [-n for n in range(50)]}
    await_messages(channel, first, 0)
    await_messages(channel, second, 0)


@pytest.mark.parametrize("poison", [0.01, 1.0])
def test_poison_goes_to_the_ledger_and_where_asked_to_the_dead_letters(channel: Any, make: Make, poison: float) -> None:
    dead = declare(channel, f"dead{poison}", "classic")
    queue = declare(
        channel, f"poison{poison}", "classic", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    )
    every = round(1 / poison)
    publish(channel, queue, *(b"{broken" + b"%d" % n if n % every == 0 else {"n": n} for n in range(200)))
    source = make({queue: {"rejected": "dead_letter", "columns": {"n": "BIGINT"}}})
    reader = source.open(None)
    groups = poll(reader, 200)
    rejects = [group.rejects for group in groups if group.rejects is not None]
    assert sum(reject.num_rows for reject in rejects) == 200 // every
    assert values(groups) == [n for n in range(200) if n % every]
    with pytest.raises(HeadwaterError):
        source.decode(rejects[0].column("record")[0].as_py())
    assert messages(channel, dead) == 0
    resume = groups[-1].boundary.resume
    reader.close()  # the process dies after the fsync: it must still reach the dead letters
    reader = reopened(source, resume)
    again = poll(reader, 200)
    assert values(again) == []
    assert all(group.rejects is None for group in again)
    for group in again:
        reader.confirm(group.boundary)
    await_messages(channel, dead, 200 // every)
    await_messages(channel, queue, 0)
    reader.close()


def test_a_rejected_message_is_decoded_once_its_settings_are_mended(channel: Any, make: Make) -> None:
    queue = declare(channel, "mended")
    publish(channel, queue, {"n": "seven"})
    reader = make({queue: {"columns": {"n": "BIGINT"}}}).open(None)
    (group,) = poll(reader, 1)
    reader.confirm(group.boundary)
    reader.close()
    assert group.rejects is not None
    batch = make({queue: {"columns": {"n": "VARCHAR"}}}).decode(group.rejects.column("record")[0].as_py())
    assert batch.rows.column("n").to_pylist() == ["seven"]


def test_a_second_reader_waits_until_the_first_is_gone(channel: Any, make: Make) -> None:
    queue = declare(channel, "alone")
    source = make({queue: {}})
    reader = source.open(None)
    with pytest.raises(SourceUnavailable, match="another consumer"):
        make({queue: {}}).open(None)
    reader.close()
    reopened(make({queue: {}}), None).close()


def test_a_lost_connection_brings_everything_again_and_nothing_twice(
    server: RabbitmqServer, channel: Any, make: Make
) -> None:
    queue = declare(channel, "network")
    publish(channel, queue, *({"n": n} for n in range(300)))
    taken: list[int] = []
    resume: Resume | None = None
    with Proxy(server.port) as proxy:
        source = make({queue: {}}, port=proxy.port, prefetch=50)
        for cut in (0, 500, 3000, 9000, 20_000):
            reader = reopened(source, resume)
            proxy.reset_after(cut)
            with pytest.raises(SourceUnavailable):
                while len(taken) < 300:
                    group = reader.poll(0.05)
                    if group is not None:
                        taken += values([group])
                        resume = group.boundary.resume
                        reader.confirm(group.boundary)
                proxy.reset()
                reader.poll(1.0)
            reader.close()
        reader = reopened(source, resume)
        while messages(channel, queue) or len(taken) < 300:
            group = reader.poll(0.05)
            if group is not None:
                taken += values([group])
                reader.confirm(group.boundary)
        reader.close()
    assert taken == list(range(300))


def test_a_broker_that_is_killed_keeps_what_was_not_acknowledged(schemas: SchemaStore) -> None:
    with RabbitmqServer() as own:
        connection = own.connect()
        opened = connection.channel()
        opened.confirm_delivery()
        queue = declare(opened, "killed", "classic")  # a quorum queue killed in its first seconds is not there again
        publish(opened, queue, *({"n": n} for n in range(20)))
        settings = RabbitmqSettings.model_validate({"url": own.url(), "queues": {queue: {}}})
        source = RabbitmqSource("events", settings, project="shop")
        source.schemas = schemas
        reader = source.open(None)
        groups = poll(reader, 20)
        own.pause(immediate=True)
        with pytest.raises(SourceUnavailable):
            reader.confirm(groups[-1].boundary)
            for _ in range(100):
                reader.poll(0.1)
        reader.close()
        with pytest.raises(SourceUnavailable):
            source.open(groups[-1].boundary.resume)
        own.start()
        reader = reopened(source, groups[-1].boundary.resume)
        again = poll(reader, 20)
        assert values(again) == []
        reader.close()


def test_idle_readings_stay_open_and_a_frozen_network_is_noticed(
    server: RabbitmqServer, channel: Any, make: Make
) -> None:
    queue = declare(channel, "idle")
    with Proxy(server.port) as proxy:
        reader = make({queue: {}}, port=proxy.port, heartbeat_s=2).open(None)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert reader.poll(0.2) is None
        await_no_lag(reader)
        end = time.monotonic()
        proxy.freeze()
        with pytest.raises(SourceUnavailable):
            while time.monotonic() < end + DEADLINE_S:
                reader.poll(0.2)
        proxy.thaw()
        reader.close()


def test_a_queue_that_goes_ends_the_reading_and_the_next_one_says_so(channel: Any, make: Make) -> None:
    queue = declare(channel, "gone")
    source = make({queue: {}})
    reader = source.open(None)
    channel.queue_delete(queue)
    with pytest.raises(SourceUnavailable, match="gone"):
        for _ in range(100):
            reader.poll(0.1)
    reader.close()
    with pytest.raises(SourceStopped, match="gone") as stopped:
        source.open(None)
    assert "make the queue" in stopped.value.hint


def test_wrong_credentials_stop_the_source_and_are_not_told(server: RabbitmqServer) -> None:
    for url in (server.url().replace("guest:guest", "guest:wrongsecret"), server.url() + "nowhere"):
        settings = RabbitmqSettings.model_validate({"url": url, "queues": {"q": {}}})
        with pytest.raises(SourceStopped) as stopped:
            RabbitmqSource("events", settings, project="shop").check()
        assert "wrongsecret" not in str(stopped.value) + stopped.value.hint


def test_the_watcher_sees_what_waits_and_what_we_hold(channel: Any, make: Make) -> None:
    queue = declare(channel, "watched")
    publish(channel, queue, *({"n": n} for n in range(30)))
    source = make({queue: {}}, prefetch=10, backlog_budget=15)
    reader = source.open(None)
    poll(reader, 10)
    watcher = source.watcher()
    health = watcher.look(None)
    assert health.figures["unacknowledged_messages"] == 10
    assert health.figures["ready_messages_watched"] == 20
    assert [alarm.code for alarm in health.alarms] == ["backlog_0"]
    assert (reader.lag_bytes() or 0) > 0
    watcher.close()
    reader.close()


def test_a_stream_is_read_on_from_the_offset_in_the_log(channel: Any, make: Make) -> None:
    stream = declare(channel, "kept", "stream")
    publish(channel, stream, *({"n": n} for n in range(40)))
    source = make({stream: {"kind": "stream"}})
    reader = source.open(None)
    groups = poll(reader, 40)
    assert values(groups, "_offset") == list(range(40))
    resume = groups[0].boundary.resume
    reader.close()
    publish(channel, stream, *({"n": n} for n in range(40, 50)))
    taken = values(groups[:1])
    reader = source.open(resume)
    taken += values(poll(reader, 50 - len(taken)))
    assert taken == list(range(50))
    await_no_lag(reader)
    assert source.examine(resume) is None
    reader.close()


def test_a_stream_made_anew_is_a_lost_position_that_can_be_accepted(channel: Any, make: Make) -> None:
    stream = declare(channel, "anew", "stream")
    publish(channel, stream, *({"n": n} for n in range(20)))
    source = make({stream: {"kind": "stream"}})
    reader = source.open(None)
    resume = poll(reader, 20)[-1].boundary.resume
    reader.close()
    channel.queue_delete(stream)
    declare(channel, stream, "stream")
    publish(channel, stream, *({"n": 100 + n} for n in range(30)))
    reader = source.open(resume)
    with pytest.raises(PositionLost, match="another message") as lost:
        poll(reader, 1)
    reader.close()
    assert source.examine(resume) is not None
    reader = source.open(resume, Request("d1", "accept_gap", cause=lost.value.cause, reason="it was made anew"))
    groups = poll(reader, 31)
    assert groups[0].rejects is not None
    assert groups[0].rejects.column("stage").to_pylist() == ["gap"]
    assert groups[0].boundary.resume["decided"] == "d1"
    assert values(groups) == list(range(100, 130))
    reader.close()


def test_a_stream_read_as_a_queue_is_refused(channel: Any, make: Make) -> None:
    stream, queue = declare(channel, "mixed", "stream"), declare(channel, "plain", "classic")
    publish(channel, queue, {"n": 1})
    with pytest.raises(SourceStopped, match="is no RabbitMQ stream"):
        poll(make({queue: {"kind": "stream"}}).open(None), 1)
    reader = make({stream: {}}).open(None)
    publish(channel, stream, {"n": 1})
    with pytest.raises(SourceStopped, match="is a RabbitMQ stream"):
        poll(reader, 1)
    reader.close()


def test_settings_are_held_against_each_other() -> None:
    for wrong in (
        {"url": "amqp://user:secret@host/%2F?heartbeat=3", "queues": {"a": {}}},
        {"url": "http://user:secret@host", "queues": {"a": {}}},
        {"url": "amqp://user:secret@host", "queues": {}},
        {"url": "amqp://user:secret@host", "queues": {"a.b": {}, "a-b": {}}},
    ):
        with pytest.raises(ValidationError) as refused:
            RabbitmqSettings.model_validate(wrong)
        assert "secret" not in str(refused.value)


def test_what_doctor_finds(channel: Any, make: Make) -> None:
    queue = declare(channel, "looked at")
    publish(channel, queue, {"n": 1})
    found = {one.check: one for one in make({queue: {}, "nowhere": {}}).diagnose(None)}
    assert {name: one.level for name, one in found.items()} == {
        "tls": "ok", "queue looked at": "ok", "queue nowhere": "fail"
    }  # fmt: skip
    assert "make the queue" in found["queue nowhere"].mend


def test_a_server_that_takes_the_connection_and_says_nothing_is_away(make: Make) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(SourceUnavailable, match="connecting to RabbitMQ"):
            make({"q": {}}, port=silent.getsockname()[1], connect_timeout_s=1).open(None)
