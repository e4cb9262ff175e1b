"""Redis as a destination, against a real one: values, deletes, receipts in the same transaction, takeover, outages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr, ValidationError

from headwater.deliver.destination import Batch, Op, Receipt, State, Sync
from headwater.deliver.redis import RedisDestination
from headwater.deliver.redis_settings import RedisSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.testing.clocks import HourAhead
from headwater.testing.destination_contract import DestinationContract, Row
from headwater.testing.proxy import Proxy
from headwater.testing.redis import RedisServer


class RedisPeer:
    """Keys of a database, behind a proxy that can be cut."""

    appends, poisons, stoppable = False, False, True

    def __init__(self, server: RedisServer, proxy: Proxy) -> None:
        self._client, self._proxy = server.connect(), proxy

    def destination(self) -> RedisDestination:
        url = f"redis://127.0.0.1:{self._proxy.port}/0"
        return RedisDestination(RedisSettings(url=SecretStr(url), prefix="row:", timeout_s=5))

    def rows(self) -> dict[int, Row]:
        found = [json.loads(self._client.get(key)) for key in self._client.keys("row:*")]
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
    def peer(self, server: RedisServer, keys: Any) -> Iterator[RedisPeer]:
        with Proxy(server.port) as proxy:
            yield RedisPeer(server, proxy)


COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string()), ("score", pa.float64())])


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def keys(server: RedisServer) -> Any:
    client = server.connect()
    client.flushall()
    return client


def sync(name: str = "cache", outbox: str = "one") -> Sync:
    return Sync("shop", name, outbox, "customers", COLUMNS, ("id",))


def batch(call: int, *records: tuple[Op, int | None, str | None]) -> Batch:
    rows = pa.table(
        [[key for _, key, _ in records], [name for _, _, name in records], [0.5] * len(records)], schema=COLUMNS
    )
    seq = np.arange(len(records), dtype=np.int64) + 100 * call
    return Batch(call, rows, np.array([op for op, _, _ in records], np.uint8), seq, np.ones(len(records), np.int64))


def destination(server: RedisServer, **options: Any) -> RedisDestination:
    return RedisDestination(RedisSettings(url=server.url(options.pop("port", None)), prefix="customer:", **options))


def test_keys_hold_the_rows_and_go_with_them(server: RedisServer, keys: Any) -> None:
    session = destination(server).open(sync())
    assert session.deliver(batch(1, (Op.UPSERT, 1, "ann"), (Op.UPSERT, 2, "bob"))).state.tolist() == [0, 0]
    assert json.loads(keys.get("customer:1")) == {"id": 1, "name": "ann", "score": 0.5}
    session.deliver(batch(2, (Op.DELETE, 1, "ann"), (Op.UPSERT, 2, "rob")))
    assert keys.get("customer:1") is None
    assert json.loads(keys.get("customer:2"))["name"] == "rob"


def test_hashes_forget_fields_that_went_and_texts_are_one_column(server: RedisServer, keys: Any) -> None:
    session = destination(server, value="hash", ttl_s=60).open(sync())
    session.deliver(batch(1, (Op.UPSERT, 1, "ann")))
    assert keys.hgetall("customer:1") == {"id": "1", "name": "ann", "score": "0.5"}
    assert 59_000 < keys.pttl("customer:1") <= 60_000
    session.deliver(batch(2, (Op.UPSERT, 1, None)))
    assert keys.hgetall("customer:1") == {"id": "1", "score": "0.5"}
    keys.rpush("customer:2", "a key of another kind")
    destination(server, value="string", column="name").open(sync("texts")).deliver(batch(1, (Op.UPSERT, 2, "bob")))
    assert keys.get("customer:2") == "bob"


def test_a_cache_is_only_invalidated(server: RedisServer, keys: Any) -> None:
    keys.set("customer:1", "what the application put there")
    keys.set("customer:3", "another")
    session = destination(server, on_change="invalidate").open(sync())
    session.deliver(batch(1, (Op.UPSERT, 1, "ann"), (Op.UPSERT, 2, "bob")))
    assert sorted(keys.keys("customer:*")) == ["customer:3"]


def test_the_receipt_is_there_with_the_records_and_is_of_one_outbox(server: RedisServer, keys: Any) -> None:
    session = destination(server).open(sync())
    assert session.held() == ""
    outcomes = session.deliver(batch(7, (Op.UPSERT, 1, "ann"), (Op.UPSERT, None, "nobody")))
    assert outcomes.state.tolist() == [State.DELIVERED, State.REFUSED]
    receipt = Receipt.from_text(destination(server).open(sync()).held() or "")
    assert receipt.call == 7
    assert receipt.delivered.tolist() == [700]
    assert list(receipt.refused) == [701]
    assert destination(server).open(sync(outbox="two")).held() == ""


def test_a_process_thought_dead_cannot_write_any_more(server: RedisServer, keys: Any) -> None:
    before, after = destination(server).open(sync()), destination(server).open(sync())
    after.deliver(batch(1, (Op.UPSERT, 1, "after")))
    with pytest.raises(DestinationStopped, match="another process"):
        before.deliver(batch(1, (Op.UPSERT, 1, "before")))
    assert json.loads(keys.get("customer:1"))["name"] == "after"


def test_whatever_byte_the_connection_is_cut_at_the_receipt_says_whether_the_call_is_held(
    server: RedisServer, keys: Any
) -> None:
    held = set()
    with Proxy(server.port) as proxy:
        for cut in range(0, 60, 7):
            session = destination(server, port=proxy.port, timeout_s=2).open(sync(f"cut{cut}"))
            proxy.reset_after(cut)
            with pytest.raises(DestinationUnavailable):
                for call in range(1, 50):
                    session.deliver(batch(call, (Op.UPSERT, 1000 + cut, str(call))))
            receipt = destination(server).open(sync(f"cut{cut}")).held()
            value = keys.get(f"customer:{1000 + cut}")
            last = Receipt.from_text(receipt).call if receipt else 0
            assert last == (int(json.loads(value)["name"]) if value else 0)
            held.add((call, last))
    assert len(held) > 1


def test_an_outage_is_waited_for_and_a_wrong_password_is_not(server: RedisServer, keys: Any) -> None:
    with Proxy(server.port) as proxy:
        session = destination(server, port=proxy.port).open(sync())
        proxy.down()
        with pytest.raises(DestinationUnavailable):
            session.deliver(batch(1, (Op.UPSERT, 1, "ann")))
        proxy.up()
        destination(server, port=proxy.port).open(sync()).deliver(batch(1, (Op.UPSERT, 1, "ann")))
    wrong = RedisDestination(RedisSettings(url=f"redis://nobody:secret@127.0.0.1:{server.port}/0"))
    with pytest.raises(DestinationStopped) as refused:
        wrong.open(sync())
    assert "secret" not in str(refused.value) + refused.value.hint


def test_check_and_preview_say_what_will_be_done(server: RedisServer, keys: Any) -> None:
    assert "keeps customer:<id>" in destination(server).check(sync())[0]
    told = destination(server).preview(sync(), batch(1, (Op.UPSERT, 1, "ann"), (Op.DELETE, 2, "bob")))
    assert told == ['SET customer:1 {"id":1,"name":"ann","score":0.5}', "DEL customer:2"]
    with pytest.raises(DestinationStopped, match="no key"):
        destination(server).check(Sync("shop", "cache", "one", "customers", COLUMNS))


def test_settings_are_held_against_each_other() -> None:
    with pytest.raises(ValidationError) as refused:
        RedisSettings(url="http://user:secret@host")
    assert "secret" not in str(refused.value)
    with pytest.raises(ValidationError):
        RedisSettings(url="redis://host", value="string")


def test_what_doctor_finds(server: RedisServer, keys: Any) -> None:
    found = {one.check: one for one in destination(server).diagnose(replace(sync(), clock=HourAhead()))}
    keys.acl_setuser("clerk", enabled=True, nopass=True, keys=["other:*"], commands=["+@all"])
    url = server.url().replace("redis://", "redis://clerk:x@")
    lacks = {one.check: one for one in RedisDestination(RedisSettings(url=SecretStr(url), prefix="customer:")).diagnose(
        sync())}["rights"]  # fmt: skip
    keys.acl_deluser("clerk")
    assert (found["clock"].level, found["rights"].level, found["memory"].level) == ("warn", "ok", "ok")
    assert lacks.level == "fail" and "~customer:*" in lacks.mend
