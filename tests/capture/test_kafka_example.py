"""examples/kafka as it stands: from a topic through a model to a topic, killed in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from kafka_topics import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "kafka"
pytestmark = pytest.mark.xdist_group("kafka")


class Orders:
    """Orders as the sender knows them."""

    def __init__(self, servers):
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 0})
        self.there = {}

    def send(self, order, customer=None, amount="0"):
        """Sends an order, or takes it back."""
        key = json.dumps({"order_id": order})
        row = {"order_id": order, "customer": customer, "amount": amount}
        self._producer.produce("orders", None if customer is None else json.dumps(row), key)
        if customer is None:
            self.there.pop(order)
        else:
            self.there[order] = (customer, Decimal(amount))
        self._producer.flush()

    def totals(self):
        """What the model must say."""
        found = defaultdict(list)
        for customer, amount in self.there.values():
            found[customer].append(amount)
        return {customer: (len(amounts), sum(amounts)) for customer, amounts in found.items()}


def committed_messages(servers):
    """All committed messages of the topic, parsed."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "looking", "isolation.level": "read_committed"})
    try:
        place = TopicPartition("customer_totals", 0)
        _, high = consumer.get_watermark_offsets(place, timeout=60)
        consumer.assign([TopicPartition("customer_totals", 0, 0)])
        found = []
        while consumer.position([place])[0].offset < high:
            message = consumer.poll(0.3)
            if message is None:
                break
            found.append((json.loads(message.key())["customer"], message.value() and json.loads(message.value())))
        return found
    except KafkaException:
        return []
    finally:
        consumer.close()


def state_of(messages):
    """What a compacted topic would hold."""
    held = dict(messages)
    return {
        customer: (value["orders"], Decimal(str(value["total"])))
        for customer, value in held.items()
        if value is not None
    }


def test_orders_go_through_the_model_to_the_other_topic_exactly_once(kafka, tmp_path):
    kafka.make_topic("orders", 2)
    folder = tmp_path / "kafka"
    shutil.copytree(EXAMPLE, folder)
    orders = Orders(kafka.servers)
    for number in range(40):
        orders.send(number, f"customer-{number % 5}", f"{number}.25")

    def run():
        return subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.app", "run", str(folder)],
            env={**os.environ, "KAFKA_SERVERS": kafka.servers}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(tmp_path / "said", "ab"),
        )  # fmt: skip

    def arrived():
        assert process.poll() is None, (tmp_path / "said").read_text()[-2000:]
        return state_of(committed_messages(kafka.servers)) == orders.totals()

    process = run()
    try:
        wait_until(arrived, "the totals are in the topic")
        orders.send(3, "customer-0", "100.50")
        orders.send(9)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for number in (4, 14, 19, 24, 29, 34, 39):
            orders.send(number, "customer-1", "1.00")
        process = run()
        wait_until(arrived, "the totals are in the topic after a crash")
        assert "customer-4" not in orders.totals(), "a customer without orders has a tombstone"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    told = committed_messages(kafka.servers)
    by_customer = defaultdict(list)
    for customer, value in told:
        by_customer[customer].append(value)
    assert all(one != next_one for values in by_customer.values() for one, next_one in pairwise(values))
