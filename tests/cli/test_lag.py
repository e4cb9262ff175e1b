"""How far behind a source is, is told in what its broker can say."""

from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.kafka.source import KafkaSource
from headwater.cli import source as source_command
from headwater.cli import status as status_command


def test_kafkas_lag_is_told_in_messages() -> None:
    kafka = KafkaSource("k", KafkaSettings.model_validate({"servers": "h:1", "topics": ["t"]}), project="p")
    entry = {"name": "k", "state": "running", "lag_bytes": 1200, "lag_unit": kafka.lag_unit, "decision": None}
    assert status_command._lag(entry) == "1,200 messages"
    assert source_command._line(entry)[2] == "1,200 messages"
    assert status_command._lag({**entry, "lag_unit": "bytes"}) == "1,200 bytes"
