"""A Kafka broker with two topics for each case: events that are rows of their own, accounts of which the last counts.

Accounts are written in transactions, of which some are aborted, and some accounts are deleted by tombstones; some
events are no JSON; now and then the broker itself is killed. What the sender knows is what the tables, the model and
the ledger must say. After each kill the consumer group must not have been told of more than the log holds.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from tests.crash.evidence import (
    BROKEN,
    DOUBLED,
    LOST,
    SOURCE,
    Fault,
    faults_in_itself,
    read_log,
    snapshot_faults,
    whole_log,
)
from tests.crash.queue_server import TOTALS, Sent, difference

from headwater.capture.kafka.standing import standing_of
from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.outside import IcebergFolder
from headwater.demo.verify import accounting_mismatches
from headwater.errors import HeadwaterError, SourceUnavailable, UserError
from headwater.kafka.control import Control
from headwater.log.view import open_for_reading
from headwater.position import Boundary
from headwater.project import load
from headwater.project.discovery import state_identity
from headwater.testing.kafka import KafkaServer

PROJECT = f"""
name: broker
sources:
  {SOURCE}:
    type: kafka
    servers: ${{{URL_VARIABLE}}}
    batch_messages: 50
    metadata_refresh_s: 5
    topics:
      NAME.events:
        stream: events
        columns: {{n: BIGINT, bucket: INTEGER, amount: "DECIMAL(12,2)"}}
      NAME.accounts:
        stream: accounts
        metadata: []
        key: [id]
        columns: {{id: BIGINT, version: BIGINT}}
"""
JOIN_S = 120.0
LOOK_AGAIN_S = 0.2
POISON_EVERY = 37
PARTITIONS = 3


class TopicServer:
    """One broker. See `case.Scene`."""

    everything = "*"

    def __init__(self) -> None:
        self._server = KafkaServer().start()
        self._name = ""
        self._sender: Sender | None = None

    def open(self, name: str) -> str:
        """See `Scene.open`."""
        self._name = name
        for topic in ("events", "accounts"):
            self._server.make_topic(f"{name}.{topic}", PARTITIONS)
        return self._server.servers

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`."""
        (folder / "models").mkdir(parents=True)
        (folder / "headwater.yml").write_text(PROJECT.replace("NAME", self._name) + settings, encoding="utf-8")
        (folder / "models" / "totals.sql").write_text(TOTALS, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Sender:
        """See `Scene.traffic`."""
        self._sender = Sender(self._server, self._name, rate, seed)
        return self._sender

    def written(self, name: str) -> dict[int, int]:
        """Messages that the broker has acknowledged, by number."""
        assert self._sender is not None
        return dict.fromkeys(range(self._sender.sent.count), 1)

    def after_kill(self, folder: Path) -> list[Fault]:
        """See `case.Suspicious`: what the group was told and the log does not hold."""
        boundary = _end_of_log(folder / ".headwater" / "log" / SOURCE)
        identity = state_identity(folder / ".headwater")
        places = [(f"{self._name}.{topic}", at) for topic in ("events", "accounts") for at in range(PARTITIONS)]
        told = self._told(f"headwater-broker-{SOURCE}-{identity}", places)
        held = standing_of(boundary.resume).offsets if boundary is not None else {}
        early = {place: offset for place, offset in told.items() if offset > held.get(place, 0)}
        if not early:
            return []
        return [Fault(LOST, f"the group was told {early}, and the log holds {dict(held)}")]

    def _told(self, group: str, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """What the group was told; asked until there is an answer, for the broker may be killed just now."""
        control = Control({"bootstrap.servers": self._server.servers, "log_level": "0"}, "judging")
        clock, never, end_s = SystemClock(), threading.Event(), SystemClock().monotonic_s() + JOIN_S
        while True:
            try:
                return control.committed(group, places)
            except SourceUnavailable:
                if clock.monotonic_s() > end_s:
                    raise
            clock.wait(never, LOOK_AGAIN_S)

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`."""
        assert self._sender is not None
        sent = self._sender.sent
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        rejects: Any = status.get("rejects")
        if rejects.get("open") != sent.poison:
            kind = LOST if rejects.get("open", 0) < sent.poison else DOUBLED
            faults.append(Fault(kind, f"{sent.poison} messages are no JSON, and the ledger says {rejects}"))
        lake = IcebergFolder(folder / "lake", "broker")
        for table, names, rows in sent.expected():
            faults += difference(lake, table, names, rows)
        lake.close()
        faults += whole_log(project.state)
        faults += faults_in_itself(replace(read_log(project.state), rejects=0))
        faults += list(snapshot_faults(project))
        return faults

    def drop(self, name: str) -> None:
        """See `Scene.drop`."""
        for topic in ("events", "accounts"):
            self._server.drop_topic(f"{name}.{topic}")

    def stop(self) -> None:
        """See `Scene.stop`."""
        self._server.stop()


def _end_of_log(folder: Path) -> Boundary | None:
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    try:
        log = open_for_reading(folder)
        return log.boundary_at(log.head)
    except UserError:
        return None


class Sender(threading.Thread):
    """Messages until stopped; in one case of four the broker is killed and comes back."""

    def __init__(self, server: KafkaServer, name: str, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.sent = Sent()
        self._server, self._name, self._pause_s = server, name, 1 / rate
        self._chance, self._stopping, self._complaint = random.Random(seed), threading.Event(), ""
        self._restart_at = self._chance.randint(20, 200) if self._chance.random() < 0.25 else -1
        common = {"bootstrap.servers": server.servers, "linger.ms": 0, "log_level": 0, "partitioner": "murmur2_random"}
        self._plain = Producer({**common, "enable.idempotence": True, "acks": "all"})
        self._careful = Producer({**common, "transactional.id": name})
        self._careful.init_transactions(JOIN_S)
        self.start()

    def run(self) -> None:
        clock = SystemClock()
        try:
            while not clock.wait(self._stopping, self._pause_s):
                if self.sent.count == self._restart_at:
                    self._server.pause(immediate=True)
                    self._server.start()
                self._send()
            if self._plain.flush(JOIN_S):
                self._complaint = "events were not acknowledged"
        except (KafkaException, HeadwaterError, OSError) as error:
            self._complaint = f"{type(error).__name__}: {error}"

    def _send(self) -> None:
        sent, chance = self.sent, self._chance
        number = sent.count
        if number % POISON_EVERY == POISON_EVERY - 1:
            self._plain.produce(f"{self._name}.events", b'{"n": %d, ' % number, str(number))
            sent.poison += 1
        elif chance.random() < 0.3:
            self._account(number)
        else:
            bucket, amount = chance.randint(1, 7), Decimal(chance.randint(1, 100_000)) / 100
            body = json.dumps({"n": number, "bucket": bucket, "amount": str(amount)})
            self._plain.produce(f"{self._name}.events", body, str(number))
            sent.events.append((number, bucket, amount))
        self._plain.poll(0)
        sent.count += 1

    def _account(self, number: int) -> None:
        """One or two accounts in a transaction, which is sometimes aborted."""
        chance, kept = self._chance, self._chance.random() < 0.8
        self._careful.begin_transaction()
        for account in chance.sample(range(1, 51), chance.randint(1, 2)):
            gone = chance.random() < 0.1
            row = {"id": account, "version": number}
            key = json.dumps({"id": account})
            self._careful.produce(f"{self._name}.accounts", None if gone else json.dumps(row), key)
            if kept and gone:
                self.sent.accounts.pop(account, None)
            elif kept:
                self.sent.accounts[account] = number
        if kept:
            self._careful.commit_transaction(JOIN_S)
        else:
            self._careful.flush(JOIN_S)
            self._careful.abort_transaction(JOIN_S)

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        self.join(JOIN_S)
        return "it does not end" if self.is_alive() else self._complaint

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()
