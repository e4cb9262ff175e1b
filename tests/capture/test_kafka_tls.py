"""Kafka over TLS with a login: read with the right authority and password, and a clear word on what is wrong."""

from __future__ import annotations

import pytest
from kafka_topics import Topics, read_records, rows_of

from headwater.errors import SourceStopped
from headwater.testing import certificates as certificates_of
from headwater.testing.kafka import PASSWORD, USER

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture
def topics(kafka):
    made = Topics(kafka)
    yield made
    made.close()


def test_messages_are_read_over_tls_with_a_login_and_what_is_wrong_is_named(topics, certificates, tmp_path):
    orders = topics.topic("orders")
    topics.send(orders, {"n": 1})
    reached = {"servers": f"127.0.0.1:{topics.server.tls_port}", "tls": True, "sasl": "plain", "username": USER}
    trusted = {**reached, "tls_ca": str(certificates.ca)}
    right = topics.source({orders: {"stream": "orders"}}, **trusted, password=PASSWORD)
    assert [row["n"] for row in rows_of(read_records(topics.open(right), 1), "orders")] == [1]
    other = str(certificates_of.make(tmp_path / "other").ca)
    for settings, named in (
        ({**reached, "tls_ca": other, "password": PASSWORD}, "tls_ca"),
        ({**reached, "password": PASSWORD}, "tls_ca"),
        ({**trusted, "password": "wr0ng-secret"}, "username and password"),
    ):
        with pytest.raises(SourceStopped) as stopped:
            topics.source([orders], **settings).check()
        told = str(stopped.value) + stopped.value.hint
        assert named in stopped.value.hint, told
        assert "wr0ng-secret" not in told and PASSWORD not in told
