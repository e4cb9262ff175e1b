"""A source read into a real log, as the runtime does it, that can be made to crash between any two instants."""

import os
import time

from replay import DEADLINE_S, Mirror

from headwater.change import ChangeBatch, Group
from headwater.log.partition import Partition

SIZES = {"pr": 1, "night": 40, "release": 200}
SIZE = SIZES[os.environ.get("HEADWATER_SIZE", "pr")]
"""How many times more than in the suite; `make faults SIZE=night`."""


class Crashed(Exception):
    """The reader is gone; what it had not made durable is lost."""


class Capture:
    """Poll, append, confirm.

    Args:
        source: what to read.
        folder: of the log.
        crash: called at every instant; true makes it crash there.
    """

    def __init__(self, source, folder, crash=lambda: False):
        self.source, self.folder, self.crash = source, folder, crash
        self.partition = self.reader = None
        self.crashes = 0

    def open(self):
        self.partition = Partition.open(self.folder)
        boundary = self.partition.boundary
        self.reader = self.source.open(boundary.resume if boundary else None)
        if boundary:
            self.reader.confirm(boundary)
        return self

    def close(self):
        if self.reader is not None:
            self.reader.close()
        self.partition.close()
        self.reader = self.partition = None

    def step(self, timeout_s=0.05):
        """One round, or a crash and a new beginning."""
        try:
            self._round(timeout_s)
        except Crashed:
            self.crashes += 1
            self.close()
            self.open()

    def _round(self, timeout_s):
        group = self.reader.poll(timeout_s)
        self._instant()
        if group is not None:
            self.partition.append([group])
            self._instant()
            if not group.more:
                self.reader.confirm(group.boundary)
                self._instant()

    def _instant(self):
        if self.crash():
            raise Crashed

    def until(self, done):
        deadline = time.monotonic() + 3 * DEADLINE_S * min(SIZE, 10)  # after hundreds of crashes much is to be read
        while not done():
            assert time.monotonic() < deadline, f"not done after {self.crashes} crashes"
            self.step()

    def to_marker(self, connection):
        """Reads on until a row is in the log that is put into the table `marker` now."""
        looked_to = self.partition.head
        (mark,) = connection.execute("INSERT INTO marker DEFAULT VALUES RETURNING id").fetchone()

        def come():
            # Only what is new: a reader that waits while a long log is read each time is given up by the server.
            nonlocal looked_to
            first, looked_to = min(looked_to, self.partition.head), self.partition.head
            return any(mark in record.rows["id"].to_pylist() for record in self.records("marker", first=first))

        self.until(come)

    def records(self, *streams, first=None):
        """What the log holds, from an offset on."""
        found = self.partition.read(self.partition.base if first is None else first, self.partition.head)
        return [each for each in found if each.stream is not None and (not streams or each.stream.name in streams)]

    def mirror(self):
        """The tables as the log has them, after looking that it holds nothing twice and no transaction in pieces."""
        records = self.records()
        seen, boundary_of = set(), {}
        for record in records:
            rows = record.rows
            for commit, ordinal, weight in zip(*(rows[n].to_pylist() for n in ("_commit", "_ordinal", "_weight"))):  # noqa: B905
                place = record.stream.name, commit, ordinal, weight
                assert place not in seen, f"twice in the log: {place}"
                seen.add(place)
                if not record.boundary.snapshot:
                    whole = boundary_of.setdefault(commit, record.boundary)
                    assert whole == record.boundary, f"transaction {commit} lies in two groups"
        batches = tuple(ChangeBatch(record.stream, record.rows) for record in records)
        return Mirror().apply([Group(records[-1].boundary, batches)]).tables if records else {}


def table_of(connection, name):
    """A table's rows by their key `id`, as `Mirror` has them."""
    cursor = connection.execute(f"SELECT * FROM {name}")
    names = [column.name for column in cursor.description]
    rows = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
    return {(row["id"],): row for row in rows}
