"""Lost positions of a Kafka source, on a real broker: each is told, none is skipped, and both ways out work."""

import pytest
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

from headwater.capture.gap import read_gap
from headwater.capture.kafka.lost import DELETED, EXPIRED, RECREATED, TRUNCATED
from headwater.capture.request import Request
from headwater.change import Op
from headwater.clock import SystemClock
from headwater.errors import PositionLost, UserError

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture
def topics(kafka):
    made = Topics(kafka)
    yield made
    made.close()


def read_ten(topics, kept_ms=-1, time_ms=None, **settings):
    """A topic with ten messages, a source of it, and where it stands after all of them."""
    orders = topics.topic("orders", retention_ms=kept_ms)
    topics.send(orders, *({"n": number} for number in range(10)), time_ms=time_ms)
    source = topics.source({orders: {"stream": "orders"}}, **settings)
    reader = topics.open(source)
    groups = read_records(reader, 10)
    reader.close()
    return orders, source, last_resume(groups)


def expired(topics, orders):
    topics.send(orders, *({"n": number} for number in range(10, 20)))
    topics.server.drop_records(orders, 0, 15)


def recreated(topics, orders):
    topics.server.drop_topic(orders)
    wait_until(lambda: orders not in topics.server.admin().list_topics(timeout=10).topics, "the topic is gone")
    topics.server.make_topic(orders)
    topics.forget_partitions()
    topics.send(orders, *({"n": number} for number in range(100, 120)))


def deleted(topics, orders):
    topics.server.drop_topic(orders)
    wait_until(lambda: orders not in topics.server.admin().list_topics(timeout=10).topics, "the topic is gone")


@pytest.mark.parametrize(
    ("lose", "cause", "goes_on"),
    [(expired, EXPIRED, range(15, 20)), (recreated, RECREATED, range(100, 120)), (deleted, DELETED, ())],
)
def test_what_is_lost_stops_the_source_until_the_gap_is_accepted(topics, lose, cause, goes_on):
    orders, source, resume = read_ten(topics)
    lose(topics, orders)
    with pytest.raises(PositionLost) as lost:
        source.open(resume)
    assert lost.value.cause == cause and orders in lost.value.message
    assert "accept-gap" in lost.value.hint and "resnapshot" in lost.value.hint
    assert source.examine(resume).cause == cause
    assert source.watcher().look(resume).stop.cause == cause
    with pytest.raises(PositionLost):
        source.open(resume, Request("7", "accept_gap", cause="another"))
    reader = topics.open(source, resume, Request("8", "accept_gap", cause=cause, reason="so be it"))
    groups = read_records(reader, 1 + len(goes_on)) if goes_on else [reader.poll(0.1)]
    (gap,) = rejects_of(groups)
    assert (gap["stage"], gap["reason"], gap["stream"]) == ("gap", cause, f"source:{topics.name}")
    assert read_gap(gap["record"]).reason == "so be it"
    assert [row["n"] for row in rows_of(groups, "orders")] == list(goes_on)
    assert source.examine(last_resume(groups)) is None
    assert last_resume(groups)["decided"] == "8"


def test_resnapshot_empties_the_stream_and_reads_all_that_there_is(topics):
    orders, source, resume = read_ten(topics)
    expired(topics, orders)
    groups = read_records(topics.open(source, resume, Request("9", "resnapshot")), 6)
    rows = rows_of(groups, "orders")
    assert rows[0]["_op"] == Op.TRUNCATE
    assert [row["n"] for row in rows[1:]] == list(range(15, 20))
    positions = [(row["_commit"], row["_ordinal"]) for row in rows]
    assert positions == sorted(set(positions)) and positions[0][0] > int(resume["number"])
    again = topics.open(source, groups[0].boundary.resume, Request("9", "resnapshot"))
    assert Op.TRUNCATE not in [row["_op"] for row in rows_of(read_records(again, 5), "orders")]


def test_a_place_beyond_the_end_is_lost_too(topics):
    orders, source, resume = read_ten(topics)
    beyond = {**resume, "offsets": f'{{"{orders}": {{"0": 12}}}}'}
    with pytest.raises(PositionLost) as lost:
        source.open(beyond)
    assert lost.value.cause == TRUNCATED


def test_what_expires_while_it_is_read_is_told_as_well(topics):
    orders, source, resume = read_ten(topics)
    reader = topics.open(source, resume)
    topics.send(orders, *({"n": number} for number in range(10, 20)))
    topics.server.drop_records(orders, 0, 15)
    with pytest.raises(PositionLost) as lost:
        read_until(reader, lambda _: False)
    assert lost.value.cause == EXPIRED


def test_a_topic_made_anew_while_it_is_read_stops_the_source_from_the_side(topics):
    orders, source, resume = read_ten(topics)
    reader = topics.open(source, resume)
    read_to_end(reader)
    recreated(topics, orders)
    stop = source.watcher().look(resume).stop
    assert stop.cause == RECREATED and "resnapshot" in stop.hint


def test_a_source_has_nothing_to_snapshot(topics):
    _, source, resume = read_ten(topics)
    with pytest.raises(UserError, match="snapshot"):
        topics.open(source, resume).ask(Request("1", "snapshot", ("*",)))


def test_a_broker_that_is_killed_and_comes_back_is_read_on(topics):
    orders, source, resume = read_ten(topics)
    topics.server.pause(immediate=True)
    topics.server.start()
    topics.forget_partitions()
    topics.send(orders, {"n": 10})
    reader = topics.open(source, resume)
    assert [row["n"] for row in rows_of(read_records(reader, 1), "orders")] == [10]
    findings = source.diagnose(resume)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert source.watcher().look(resume).figures["lag_messages"] == 1


def test_unread_messages_that_are_old_for_their_retention_are_told_in_time(topics):
    two_days_ms = SystemClock().now_us() // 1000 - 2 * 86_400_000
    orders, source, resume = read_ten(topics, kept_ms=3 * 86_400_000, time_ms=two_days_ms)
    retention = {one.check: one for one in source.diagnose(resume)}["retention"]
    assert retention.level == "ok"
    topics.send(orders, {"n": 10}, time_ms=two_days_ms)
    retention = {one.check: one for one in source.diagnose(resume)}["retention"]
    assert retention.level == "warn" and "72.0 hours" in retention.message and orders in retention.mend
