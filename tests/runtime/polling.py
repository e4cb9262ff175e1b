"""Clients that poll a model while it is swapped, and what their answers may be."""

import threading

from scripted_project import wait_until
from swapped_shop import text

from headwater.clock import SystemClock

FEW = 8
"""Answers, epochs, transactions: so many are waited for at each stage."""


class Reader(threading.Thread):
    """Asks again and again, and keeps what it was told.

    Args:
        ask_once: gives rows.
        rest_s: between two answers.
    """

    def __init__(self, ask_once, rest_s=0.005):
        super().__init__(daemon=True)
        self.rest_s = rest_s
        self.ask_once, self.told, self.error, self.ended = ask_once, [], None, threading.Event()
        self.start()

    def run(self):
        clock = SystemClock()
        while not clock.wait(self.ended, self.rest_s):
            try:
                self.told.append(text(self.ask_once()))
            except Exception as error:  # noqa: BLE001 told by stop
                self.error = error
                return

    def stop(self):
        self.ended.set()
        self.join()
        if self.error is not None:
            raise self.error

    def wait_for_more(self):
        """Waits until it has been told some more."""
        wanted = len(self.told) + FEW
        wait_until(lambda: len(self.told) >= wanted or self.error, "more answers")


def position(told, known):
    """(version, prefix) of each answer, in order; fails at one that is none, and at a step back."""
    at, found = (0, 0), []
    for rows in told:
        places = [(v, n) for v, name in enumerate(("old", "new")) for n in known[name].get(rows, ()) if (v, n) >= at
                  and (v == at[0] or n >= at[1])]  # fmt: skip
        assert places, f"no version's answer over a prefix that comes after {at}: {rows}"
        at = min(places)
        found.append(at)
    return found
