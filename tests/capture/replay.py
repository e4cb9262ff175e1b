"""What the tests of capture share: reading groups to an end, and replaying them into what the tables should hold."""

import json
import time
from contextlib import suppress

from headwater.change import WEIGHT, Op
from headwater.engine.normalise import Normaliser
from headwater.position import Position

DEADLINE_S = 120.0
"""Reached in a failure only: a loaded machine takes long, and compiles kernels in a fresh clone."""


def read_until(reader, done, *, confirm=True, poll_s=0.2):
    """Polls until `done(groups)`; the groups, each confirmed unless told otherwise."""
    groups, deadline = [], time.monotonic() + DEADLINE_S
    while not done(groups):
        assert time.monotonic() < deadline, f"not done after {len(groups)} groups, {sum(map(len, groups))} changes"
        group = reader.poll(poll_s)
        if group is not None:
            groups.append(group)
            if confirm and not group.more:
                reader.confirm(group.boundary)
    return groups


def read_snapshot(reader):
    """All groups of the snapshot, up to the one that ends it."""
    return read_until(reader, lambda groups: bool(groups) and not groups[-1].boundary.snapshot)


def read_changes(reader, count, **options):
    """Groups until they hold `count` records."""
    return read_until(reader, lambda groups: sum(map(len, groups)) >= count, **options)


def read_to_marker(reader, connection, **options):
    """Groups up to a row that is put into the table `marker` now."""
    row = connection.execute("INSERT INTO marker DEFAULT VALUES RETURNING id").fetchone()
    return read_until(reader, lambda groups: any(r["id"] == row[0] for r in rows_of(groups, "marker")), **options)


def rows_of(groups, stream):
    """The stream's changes as dicts, in order."""
    return [row for g in groups for b in g.batches if b.stream.name == stream for row in b.rows.to_pylist()]


def brief(rows, *columns):
    """(op, weight, columns...) of each change."""
    return [(Op(row["_op"]).name, row["_weight"], *(row[name] for name in columns)) for row in rows]


def rejects_of(groups):
    """All rejects as dicts."""
    return [row for group in groups if group.rejects is not None for row in group.rejects.to_pylist()]


def positions(groups):
    """Positions of all changes, each once per record, in the order of the groups."""
    return [Position(r["_commit"], r["_ordinal"]) for g in groups for b in g.batches for r in b.rows.to_pylist()]


def normalised(groups, stream):
    """What the normaliser makes of a stream: its rows as tuples, sorted."""
    batches = [batch for group in groups for batch in group.batches if batch.stream.name == stream]
    normaliser = Normaliser(batches[0].stream)
    for batch in batches:
        normaliser.apply([batch])
    rows = normaliser.rows()
    assert all(weight == 1 for weight in rows.column(WEIGHT).to_pylist())
    return sorted(tuple(row.values()) for row in rows.drop_columns([WEIGHT]).to_pylist())


class Mirror:
    """Keyed tables rebuilt from changes."""

    def __init__(self):
        self.tables = {}

    def apply(self, groups):
        for group in groups:
            for batch in group.batches:
                self._apply(batch)
        return self

    def _apply(self, batch):
        table = self.tables.setdefault(batch.stream.name, {})
        names, before = batch.rows.schema.names[6:], {}
        for row in batch.rows.to_pylist():
            key = tuple(row[name] for name in batch.stream.key)
            if row["_op"] == Op.TRUNCATE:
                table.clear()
            elif row["_weight"] < 0:
                before = table.pop(key)
            else:
                old = table.get(key) or before
                bits = int.from_bytes(row["_unchanged"] or b"", "little")
                table[key] = {n: old[n] if bits >> i & 1 else row[n] for i, n in enumerate(names)}


def slot_state(connection, slot):
    """The slot's row as a dict; None if there is none."""
    row = connection.execute("SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s", (slot,)).fetchone()
    return row and (row[0] if isinstance(row[0], dict) else json.loads(row[0]))


def close_all(readers):
    """Closes what a test opened."""
    for reader in readers:
        with suppress(AssertionError):
            reader.close()
