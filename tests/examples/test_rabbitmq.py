"""examples/rabbitmq, run: RabbitMQ -> models -> HTTP, killed in between, with an API that fails on purpose."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pika
import pytest

from headwater.testing.rabbitmq import RabbitmqServer
from headwater.testing.web_server import Received, Reply, WebServer

pytestmark = pytest.mark.xdist_group("rabbitmq")
EXAMPLE = Path(__file__).parents[2] / "examples" / "rabbitmq"
DEADLINE_S = 90.0
CUSTOMERS = ("ann", "bob", "cy & co")


@pytest.fixture(scope="module")
def server(rabbitmq: RabbitmqServer) -> RabbitmqServer:
    return rabbitmq


class Shop:
    """Publishes orders and payments, and knows what every customer owes."""

    def __init__(self, server: RabbitmqServer) -> None:
        self._connection = server.connect()
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "shop.dead"}
        for queue, arguments in (("shop.orders", {}), ("shop.payments", dead), ("shop.dead", {})):
            self.channel.queue_declare(queue, durable=True, arguments=arguments)
        self._chance = random.Random(7)
        self._orders: dict[int, tuple[str, Decimal, str]] = {}
        self._paid: Counter[int] = Counter()
        self._sent = 0

    def trade(self, count: int) -> None:
        """So many messages; each is sent twice now and then, as by a publisher that missed an answer."""
        for _ in range(count):
            order = self._chance.randint(1, 40)
            if order in self._orders and self._chance.random() < 0.4:
                cents = self._chance.randint(1, 500)
                self._paid[order] += cents
                self._send("shop.payments", {"order_id": order, "paid": f"{Decimal(cents) / 100:.2f}"})
                continue
            amount, status = (
                Decimal(self._chance.randint(100, 9999)) / 100,
                self._chance.choice(["placed", "cancelled"]),
            )
            customer = self._orders[order][0] if order in self._orders else self._chance.choice(CUSTOMERS)
            self._orders[order] = customer, amount, status
            row = {"order_id": order, "customer": customer, "amount": f"{amount:.2f}", "status": status}
            self._send("shop.orders", row)

    def spoil(self) -> None:
        """A payment that nobody can read."""
        self._send("shop.payments", "ten pounds")

    def owed(self) -> dict[str, dict[str, object]]:
        """By the path of the CRM, what must stand there."""
        found: dict[str, list[Decimal]] = {}
        for order, (customer, amount, status) in self._orders.items():
            if status != "cancelled":
                found.setdefault(customer, []).append(amount - Decimal(self._paid[order]) / 100)
        return {
            f"/customers/{customer.replace(' ', '%20').replace('&', '%26')}/balance": {
                "orders": len(due), "due": sum(due),
            }
            for customer, due in found.items()
        }  # fmt: skip

    def close(self) -> None:
        self._connection.close()

    def _send(self, queue: str, row: object) -> None:
        self._sent += 1
        properties = pika.BasicProperties(delivery_mode=2, message_id=f"m{self._sent}")
        for _ in range(1 + (self._sent % 9 == 0)):
            self.channel.basic_publish("", queue, json.dumps(row).encode(), properties)


def failing(chance: random.Random, taken: threading.Event) -> Callable[[Received], Reply]:
    """One request in five is refused for the moment; without the token, all. `taken`: one was not."""

    def decide(request: Received) -> Reply:
        if request.headers.get("authorization") != "Bearer let-me-in":
            return Reply(401, kept=False)
        if chance.random() < 0.2:
            return Reply(503, {"Retry-After": "0"}, kept=False)
        taken.set()
        return Reply()

    return decide


def start(folder: Path, server: RabbitmqServer, crm: WebServer, *options: str) -> subprocess.Popen[bytes]:
    environment = {"RABBITMQ_URL": server.url(), "CRM_URL": crm.url, "CRM_TOKEN": "let-me-in"}
    with open(folder.parent / "said", "ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.app", "run", "--json-log", str(folder), *options],
            stdout=said, stderr=said, env={**os.environ, **environment},
        )  # fmt: skip


def held(crm: WebServer) -> dict[str, Any]:
    return {path: json.loads(body, parse_float=Decimal) for path, body in list(crm.documents.items())}


def test_every_balance_reaches_the_crm_whatever_dies_in_between(tmp_path: Path, server: RabbitmqServer) -> None:
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder)
    shop = Shop(server)
    taken = threading.Event()
    with WebServer(failing(random.Random(3), taken)) as crm:
        shop.trade(60)
        shop.spoil()
        for _ in range(2):
            process = start(folder, server, crm)
            taken.clear()
            assert taken.wait(DEADLINE_S), (tmp_path / "said").read_text()[-3000:]
            shop.trade(60)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = start(folder, server, crm, "--once")
        assert done.wait(DEADLINE_S) == 0, (tmp_path / "said").read_text()[-3000:]
        assert held(crm) == shop.owed()
        again = Counter(request.headers["idempotency-key"] for request in crm.kept)
        bodies = {(request.headers["idempotency-key"], request.path, request.body) for request in crm.kept}
        assert len(bodies) == len(again)
        assert shop.channel.queue_declare("shop.dead", passive=True).method.message_count >= 1
        assert "let-me-in" not in (tmp_path / "said").read_text()
    shop.close()
