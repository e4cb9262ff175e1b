"""Questions to the brokers while the coordinator of a group moves, which no real broker does when it is told to: the
brokers are those that librdkafka has inside for its own tests."""

import ctypes
import subprocess
import sys

import pytest

from headwater.kafka import librdkafka as rd
from headwater.kafka.consumer import BulkConsumer

OFFSET_FETCH, NOT_COORDINATOR = 9, 16
ASKING = """
import sys
from headwater.errors import SourceUnavailable
from headwater.kafka.control import Control
control = Control({"bootstrap.servers": sys.argv[1], "log_level": "0"}, "asking about a group", timeout_s=30)
for _ in range(2):
    try:
        print(control.committed("readers", [("orders", 0)]))
    except SourceUnavailable as error:
        print(error)
"""


@pytest.fixture
def moving():
    """`bootstrap.servers` of a broker whose first answer about a group's offsets is that another one has it."""
    library = ctypes.CDLL(rd.library()._name)
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    holder = BulkConsumer({"group.id": "holder", "log_level": "0"}, lambda places: [], lambda places: None)
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(holder._handle), 1))
    library.rd_kafka_mock_push_request_errors(cluster, OFFSET_FETCH, ctypes.c_size_t(1), NOT_COORDINATOR)
    yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    library.rd_kafka_mock_cluster_destroy(cluster)
    holder.close()


def test_a_question_about_a_group_whose_coordinator_moves_ends_in_an_error_not_with_the_process(moving):
    asking = [sys.executable, "-c", ASKING, moving]
    done = subprocess.run(asking, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    refused, answered = done.stdout.splitlines()
    assert refused.startswith("asking about a group") and refused.endswith("Broker: Not coordinator")
    assert answered == "{}"
