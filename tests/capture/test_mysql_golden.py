"""What a recorded binlog of MariaDB 10.11 is decoded to stays what it was (`golden_mysql` records both files anew)."""

import json

from golden_mysql import DECODED, LOG, decode


def test_the_recorded_log_is_decoded_as_ever():
    expected = json.loads(DECODED.read_text())
    assert len(expected) > 70
    made = decode(LOG.read_bytes(), expected)
    assert {name: entry for name, entry in made.items() if entry != expected[name]} == {}
