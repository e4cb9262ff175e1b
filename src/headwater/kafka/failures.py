"""Errors of Kafka in the house's tree: whose they are, whether trying again may help, and what to do."""

from __future__ import annotations

from headwater.errors import HeadwaterError, SourceStopped, SourceUnavailable
from headwater.kafka import librdkafka as rd

_HINTS = {
    rd.AUTHENTICATION: "see sasl, username and password of the source, and which listener servers leads to",
    rd.SASL_FAILED: "see username and password of the source",
    rd.SSL: "see tls, tls_ca and tls_certificate of the source",
    rd.TOPIC_FORBIDDEN: "grant it: kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic TOPIC",
    rd.GROUP_FORBIDDEN: "grant it: kafka-acls.sh --add --allow-principal User:NAME --operation Read --group GROUP",
    rd.CLUSTER_FORBIDDEN: "grant it: kafka-acls.sh --add --allow-principal User:NAME --operation Describe --cluster",
    rd.FENCED_INSTANCE: "only one process may read as this source; see whether another one runs with a copy of this "
    "state folder",
}
"""What mends errors that no second try does."""


def failure(code: int, text: str, doing: str) -> HeadwaterError:
    """The error for one of Kafka's.

    Args:
        code: librdkafka's or the brokers'.
        text: what was said.
        doing: what failed, as in "reading source 'orders'".
    """
    said = text or rd.describe(code)
    if code in _HINTS:
        return SourceStopped(f"{doing}: {said}", hint=_HINTS[code])
    return SourceUnavailable(f"{doing}: {said}", hint="trying again")


def hint_of(code: int) -> str | None:
    """What mends an error that no second try does; None for others."""
    return _HINTS.get(code)


def is_final(code: int) -> bool:
    """Whether trying again is no help."""
    return code in _HINTS
