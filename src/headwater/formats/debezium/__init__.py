"""Debezium's change events: the envelope of an old row, a new row and what happened."""
