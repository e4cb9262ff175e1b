"""A Kafka source against a real broker: what is read, from where, and what the group is told."""

import json

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from kafka_topics import (
    Topics,
    last_resume,
    read_records,
    read_to_end,
    read_until,
    rejects_of,
    rows_of,
    wait_until,
)

from headwater.bench.ingest import kafka as bench
from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.kafka.standing import standing_of
from headwater.errors import SourceStopped, SourceUnavailable
from headwater.formats.schema_source import SchemaText
from headwater.kafka.control import Control
from headwater.registry.store import SchemaStore

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture
def topics(kafka):
    made = Topics(kafka)
    yield made
    made.close()


def committed(topics, group, topic, partition=0):
    control = Control({"bootstrap.servers": topics.server.servers, "log_level": "0"}, "looking at a group")
    return control.committed(group, [(topic, partition)]).get((topic, partition), -1)


def move_group(topics, group, topic, offset):
    request = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, offset)])]
    topics.server.admin().alter_consumer_group_offsets(request)[group].result(20)


def test_messages_become_rows_with_what_the_message_says_of_itself(topics):
    orders = topics.topic("orders", 2)
    topics.send(
        orders, {"id": 1, "v": "a"}, {"id": 2, "v": None}, key=b"k", headers=[("h", b"\x01")], time_ms=1_700_000_000_123
    )
    topics.send(orders, {"id": 3, "v": "c"}, partition=1)
    metadata = ["partition", "offset", "timestamp", "key", "headers"]
    source = topics.source({orders: {"stream": "orders", "metadata": metadata}})
    groups = read_records(topics.open(source), 3)
    rows = sorted(rows_of(groups, "orders"), key=lambda row: row["id"])
    assert [(row["id"], row["v"], row["_partition"], row["_offset"]) for row in rows] == [
        (1, "a", "0", 0), (2, None, "0", 1), (3, "c", "1", 0),
    ]  # fmt: skip
    assert rows[0]["_key"] == b"k" and rows[0]["_headers"] == [("h", b"\x01")]
    assert rows[2]["_key"] is None and not rows[2]["_headers"]
    assert rows[0]["_timestamp"].timestamp() == 1_700_000_000.123 == rows[0]["_time"].timestamp()


def test_each_partition_in_order_and_what_was_durable_is_not_read_again(topics):
    orders = topics.topic("orders", 3)
    for number in range(300):
        topics.send(orders, {"n": number}, partition=number % 3)
    source = topics.source({orders: {"stream": "orders"}}, batch_messages=40)
    reader = topics.open(source)
    first = read_until(reader, lambda groups: sum(map(len, groups)) >= 100)
    reader.close()
    second = read_records(topics.open(source, last_resume(first)), 300 - sum(map(len, first)))
    rows = rows_of([*first, *second], "orders")
    for partition in range(3):
        assert [row["n"] for row in rows if row["_partition"] == str(partition)] == list(range(partition, 300, 3))
    positions = [(row["_commit"], row["_ordinal"]) for row in rows]
    assert positions == sorted(set(positions))


def test_the_group_is_told_what_is_confirmed_and_our_log_wins_over_it(topics):
    orders = topics.topic("orders")
    topics.send(orders, *({"n": number} for number in range(10)))
    source = topics.source({orders: {"stream": "orders"}})
    reader = topics.open(source)
    groups = read_records(reader, 10)
    assert committed(topics, source.group, orders) < 0, "nothing is durable yet"
    reader.confirm(groups[-1].boundary)
    wait_until(lambda: committed(topics, source.group, orders) == 10, "the group is told")
    reader.close()
    for moved in (3, 10):
        topics.send(orders, {"n": "more"})
        wait_until(lambda: _alone(topics, source.group), "the group is empty")
        move_group(topics, source.group, orders, moved)
        read = read_records(topics.open(source, last_resume(groups)), 1)
        assert [row["_offset"] for row in rows_of(read, "orders")][:1] == [10]
        topics.close()


def _alone(topics, group):
    Consumer({"bootstrap.servers": topics.server.servers, "group.id": group}).close()
    described = topics.server.admin().describe_consumer_groups([group])[group].result(20)
    if described.members:
        topics.server.admin().delete_consumer_groups([group])
    return True


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", list(range(10))),
        ("latest", []),
        ("2023-11-14T22:13:25Z", list(range(5, 10))),
        ("committed", [7, 8, 9]),
        ({"TOPIC": {0: 4}}, [4, 5, 6, 7, 8, 9]),
    ],
)
def test_where_the_first_reading_begins(topics, start, expected):
    orders = topics.topic("orders")
    for number in range(10):
        topics.send(orders, {"n": number}, time_ms=(1_700_000_000 + number) * 1000)
    if isinstance(start, dict):
        start = {orders: start["TOPIC"]}
    source = topics.source({orders: {"stream": "orders"}}, start=start)
    if start == "committed":
        move_group(topics, source.group, orders, 7)
    reader = topics.open(source)
    pinned = read_to_end(reader)
    assert pinned[0].boundary.resume, "where it begins is durable before anything is read"
    topics.send(orders, {"n": 99})
    rows = rows_of([*pinned, *read_records(reader, 1)], "orders")
    assert [row["n"] for row in rows] == [*expected, 99]


def test_a_pattern_takes_topics_and_partitions_that_come_while_it_is_read(topics):
    one = topics.topic("one")
    topics.topic("internal.x")
    topics.send(one, {"n": 1})
    source = topics.source([f"{topics.name}.*", f"!{topics.name}.internal.*"], start="latest")
    reader = topics.open(source)
    read_to_end(reader)
    two = topics.topic("two")
    topics.send(two, {"n": 2})
    topics.server.add_partitions(one, 2)
    topics.forget_partitions()
    topics.send(one, {"n": 3}, partition=1)
    groups = read_records(reader, 2)
    stream = f"{topics.name}_one"
    assert [row["n"] for row in rows_of(groups, stream)] == [3]
    assert [row["n"] for row in rows_of(groups, f"{topics.name}_two")] == [2]
    standing = standing_of(last_resume(groups))
    assert standing.offsets == {(one, 0): 1, (one, 1): 1, (two, 0): 1}
    assert [found.name for found in source.discover(last_resume(groups))] == [stream, f"{topics.name}_two"]


def test_aborted_transactions_are_left_out_and_their_marks_are_no_loss(topics):
    orders = topics.topic("orders")
    producer = Producer({"bootstrap.servers": topics.server.servers, "transactional.id": topics.name, "log_level": 0})
    producer.init_transactions()
    for number in range(6):
        producer.begin_transaction()
        producer.produce(orders, json.dumps({"n": number}).encode())
        producer.flush()
        producer.commit_transaction() if number % 2 else producer.abort_transaction()
    source = topics.source({orders: {"stream": "orders"}})
    groups = read_records(topics.open(source), 3)
    assert [row["n"] for row in rows_of(groups, "orders")] == [1, 3, 5]
    assert standing_of(last_resume(groups)).offsets == {(orders, 0): 12}
    assert source.examine(last_resume(groups)) is None
    producer.begin_transaction()
    producer.produce(orders, b'{"n": 6}')
    producer.flush()
    reader = topics.open(source, last_resume(groups))
    assert read_to_end(reader) == [], "what is not committed is not there yet"
    producer.commit_transaction()
    assert [row["n"] for row in rows_of(read_records(reader, 1), "orders")] == [6]


def test_tombstones_delete_and_poison_is_rejected_whole(topics):
    orders = topics.topic("orders")
    topics.send(orders, {"id": 1, "v": "a"}, key=b'{"id": 1}')
    topics.send(orders, b"\xff{poison", key=b"p", headers=[("h", b"1")])
    topics.send(orders, None, key=b'{"id": 1}')
    source = topics.source({orders: {"stream": "orders", "key": ["id"], "columns": {"id": "BIGINT"}}})
    groups = read_records(topics.open(source), 3)
    assert [(row["id"], row["_weight"]) for row in rows_of(groups, "orders")] == [(1, 1), (1, -1)]
    (reject,) = rejects_of(groups)
    assert reject["stream"] == "orders" and b"\xff{poison" in reject["record"]


def test_members_that_share_a_group_share_its_partitions(topics):
    orders = topics.topic("orders", 4)
    for number in range(40):
        topics.send(orders, {"n": number}, partition=number % 4)
    shared = {"group": f"{topics.name}-shared", "session_timeout_s": 6}
    source = topics.source({orders: {"stream": "orders"}}, **shared)
    one = topics.open(source)
    groups = read_records(one, 40)
    one.confirm(groups[-1].boundary)
    other = topics.open(topics.source({orders: {"stream": "orders"}}, identity="b", **shared))
    theirs = []

    def both(_):
        group = other.poll(0.02)
        theirs.extend([group] if group is not None else [])
        return len(other._assignment.places) == len(one._assignment.places) == 2

    groups += read_until(one, both)
    for number in range(40, 80):
        topics.send(orders, {"n": number}, partition=number % 4)
    groups += read_records(one, 20)
    theirs += read_records(other, 20)
    read = [row["n"] for row in rows_of([*groups, *theirs], "orders")]
    assert sorted(set(read)) == list(range(80))
    assert len(read) == 80, "all that was given away had been confirmed"
    assert len(standing_of(last_resume(groups)).away) == 2


def test_a_process_thought_dead_is_told_so_by_the_next_reading(topics):
    orders = topics.topic("orders")
    source = topics.source({orders: {"stream": "orders"}})
    zombie = topics.open(source)
    read_to_end(zombie)
    heir = topics.open(source, {**zombie._standing.resume()})
    read_to_end(heir)
    with pytest.raises(SourceStopped, match="fenced"):
        read_until(zombie, lambda _: False)
    topics.send(orders, {"n": 1})
    assert len(rows_of(read_records(heir, 1), "orders")) == 1


def test_what_is_wrong_with_the_settings_is_said_before_anything_is_read(topics):
    orders = topics.topic("orders")
    with pytest.raises(SourceStopped, match=r"no topic .*ordes") as stopped:
        topics.source([f"{topics.name}.ordes"]).check()
    assert f"did you mean {orders}" in stopped.value.hint
    topics.topic("or_ders")
    with pytest.raises(SourceStopped, match="both feed"):
        topics.topic("or-ders")
        topics.source([f"{topics.name}.or?ders"]).check()
    with pytest.raises(SourceUnavailable):
        topics.source([orders], servers="127.0.0.1:1").check()
    for wrong in ({"options": {"group.id": "x"}}, {"options": {"sasl.password": "x"}}, {"sasl": "plain"}):
        with pytest.raises(ValueError):
            KafkaSettings.model_validate({"servers": "x:1", "topics": ["a"], **wrong})


def test_a_wrong_password_stops_the_source_and_is_not_shown(topics):
    orders = topics.topic("orders")
    login = {"servers": f"127.0.0.1:{topics.server.sasl_port}", "sasl": "plain", "username": "headwater"}
    topics.send(orders, {"n": 1})
    right = topics.source({orders: {"stream": "orders"}}, **login, password="headwater-test")
    assert len(rows_of(read_records(topics.open(right), 1), "orders")) == 1
    with pytest.raises(SourceStopped) as stopped:
        topics.source([orders], **login, password="wr0ng").check()
    assert "wr0ng" not in str(stopped.value) + stopped.value.hint
    assert "username and password" in stopped.value.hint


@pytest.mark.parametrize("written", ["json", "avro"])
def test_the_bench_reads_what_it_has_sent(topics, tmp_path, monkeypatch, written):
    monkeypatch.setattr(bench, "WARM", 0)
    store = SchemaStore(tmp_path)
    schema = store.register("orders-value", SchemaText(0, "AVRO", json.dumps(bench.AVRO), ()))
    store.close()
    encode = bench._as_json if written == "json" else bench._as_avro(schema)
    name = f"{topics.name}.bench"
    bench.fill(topics.server, name, 3000, encode)
    found = bench.headwater(topics.server.servers, 3000, name, written, str(tmp_path))
    assert found["records"] > 0
    columns = SchemaStore(tmp_path).stream(f"{topics.name}_bench").columns.names
    assert columns[3:] == [field["name"] for field in bench.AVRO["fields"]]
