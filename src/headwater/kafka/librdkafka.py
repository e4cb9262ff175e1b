"""The librdkafka that confluent-kafka has loaded, called directly: no Python object for each message.

Only what reading in bulk needs, by the names and meanings of rdkafka.h. confluent-kafka's own `Consumer.consume` makes
an object of each message, which costs more than all else together.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p
from functools import cache

import confluent_kafka.cimpl

ASSIGN_PARTITIONS, REVOKE_PARTITIONS = -175, -174
PARTITION_EOF, OUT_OF_RANGE, FATAL, MAX_POLL_EXCEEDED, NO_OFFSET = -191, -140, -150, -147, -168
TIMED_OUT = -185
LOG_TRUNCATION = -139
ALL_BROKERS_DOWN, AUTHENTICATION, SSL, RESOLVE = -187, -169, -181, -193
NO_TOPIC, NO_PARTITION = -188, -190
UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID, FENCED_INSTANCE = 3, 100, 82
TOPIC_FORBIDDEN, GROUP_FORBIDDEN, CLUSTER_FORBIDDEN, SASL_FAILED = 29, 30, 31, 58
CONSUMER = 1
BEGINNING, INVALID = -2, -1001
"""Offsets with a meaning of their own."""


class TopicPartition(ctypes.Structure):
    """rd_kafka_topic_partition_t."""

    _fields_ = [
        ("topic", c_char_p),
        ("partition", c_int32),
        ("offset", c_int64),
        ("metadata", c_void_p),
        ("metadata_size", c_size_t),
        ("opaque", c_void_p),
        ("err", c_int32),
        ("_private", c_void_p),
    ]


class TopicPartitionList(ctypes.Structure):
    """rd_kafka_topic_partition_list_t."""

    _fields_ = [("cnt", c_int), ("size", c_int), ("elems", POINTER(TopicPartition))]


ListPointer = POINTER(TopicPartitionList)
REBALANCE = ctypes.CFUNCTYPE(None, c_void_p, c_int, ListPointer, c_void_p)
ERROR = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)

_PROTOTYPES: dict[str, tuple[object, list[object]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_conf_set_rebalance_cb": (None, [c_void_p, REBALANCE]),
    "rd_kafka_conf_set_error_cb": (None, [c_void_p, ERROR]),
    "rd_kafka_conf_destroy": (None, [c_void_p]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_poll_set_consumer": (c_int, [c_void_p]),
    "rd_kafka_queue_get_consumer": (c_void_p, [c_void_p]),
    "rd_kafka_queue_destroy": (None, [c_void_p]),
    "rd_kafka_consume_batch_queue": (c_ssize_t, [c_void_p, c_int, c_void_p, c_size_t]),
    "rd_kafka_topic_name": (c_char_p, [c_void_p]),
    "rd_kafka_topic_partition_list_new": (ListPointer, [c_int]),
    "rd_kafka_topic_partition_list_add": (POINTER(TopicPartition), [ListPointer, c_char_p, c_int32]),
    "rd_kafka_topic_partition_list_destroy": (None, [ListPointer]),
    "rd_kafka_subscribe": (c_int, [c_void_p, ListPointer]),
    "rd_kafka_incremental_assign": (c_void_p, [c_void_p, ListPointer]),
    "rd_kafka_incremental_unassign": (c_void_p, [c_void_p, ListPointer]),
    "rd_kafka_error_string": (c_char_p, [c_void_p]),
    "rd_kafka_error_destroy": (None, [c_void_p]),
    "rd_kafka_commit": (c_int, [c_void_p, ListPointer, c_int]),
    "rd_kafka_get_watermark_offsets": (
        c_int,
        [c_void_p, c_char_p, c_int32, POINTER(c_int64), POINTER(c_int64)],
    ),
    "rd_kafka_fatal_error": (c_int, [c_void_p, c_char_p, c_size_t]),
    "rd_kafka_err2str": (c_char_p, [c_int]),
    "rd_kafka_err2name": (c_char_p, [c_int]),
    "rd_kafka_message_timestamp": (c_int64, [c_void_p, c_void_p]),
    "rd_kafka_message_destroy": (None, [c_void_p]),
    "rd_kafka_message_headers": (c_int, [c_void_p, c_void_p]),
    "rd_kafka_header_cnt": (c_size_t, [c_void_p]),
    "rd_kafka_header_get_all": (c_int, [c_void_p, c_size_t, c_void_p, c_void_p, c_void_p]),
    "rd_kafka_consumer_close": (c_int, [c_void_p]),
    "rd_kafka_destroy": (None, [c_void_p]),
}


@cache
def library() -> ctypes.CDLL:
    """The library with its functions' types. A name that confluent-kafka's own module does not define is looked for in
    the libraries that it is linked with."""
    found = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def address(name: str) -> int:
    """The address of a function."""
    return ctypes.cast(getattr(library(), name), c_void_p).value or 0


def describe(code: int) -> str:
    """An error in words, by librdkafka or the brokers."""
    text: bytes = library().rd_kafka_err2str(code)
    return text.decode(errors="replace")
