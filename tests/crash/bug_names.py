"""Names of the bugs that can be put in. Light: what they do is loaded by the process that has one."""

from __future__ import annotations

OF_SOURCES = ("confirm-before-fsync", "double", "forget-keys", "forget-places", "lose")
"""Of `seeded_bug.py`."""

OF_DESTINATIONS = ("answer-before-commit", "forget-receipt")
"""Of `wrong_destination.py`."""
