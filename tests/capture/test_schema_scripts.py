"""T-PG-09: tables are redefined at random in mid-stream, with changes of rows before, between and after, in one and in
several transactions, while they are read and while nobody reads. In the end every mirror equals its table.

`HEADWATER_SIZE` says how many scripts run (`make faults SIZE=night`).
"""

import random
import time

import pytest
from capturing import SIZE
from schema_script import Script

from headwater.change import WEIGHT
from headwater.engine.normalise import Normaliser

SCRIPTS, ROUNDS = 50, 6
DEADLINE_S = 120


class Mirrors:
    """What the tables should hold, by the changes that were read."""

    def __init__(self):
        self.nodes = {}
        self.last = None
        self.parts = []

    def take(self, reader, group):
        """Takes a group in as the runtime does: parts of one together, and what was confirmed counts."""
        self.parts.append(group)
        if not group.more:
            self.apply(self.parts)
            self.last, self.parts = group.boundary, []
            reader.confirm(group.boundary)

    def apply(self, groups):
        batches = {}
        for batch in (batch for group in groups for batch in group.batches):
            batches.setdefault(batch.stream.name, []).append(batch)
        for name, found in batches.items():
            self.nodes.setdefault(name, Normaliser(found[0].stream)).apply(found)

    def rows(self, name, columns):
        table = self.nodes[name].rows().select([*columns, WEIGHT])
        return sorted(repr(row[:-1]) for row in plain(table, columns) for _ in range(row[-1]))


def plain(table, columns):
    return [(*(row[name] for name in columns), row[WEIGHT]) for row in table.to_pylist()]


def read_all(db, reader, mirrors):
    """Reads until a mark that is made now has come and no table is being read anew."""
    (mark,) = db.connection.execute("INSERT INTO marks DEFAULT VALUES RETURNING id").fetchone()
    deadline, come, quiet = time.monotonic() + DEADLINE_S, False, 0
    while not (come and quiet >= 3):
        assert time.monotonic() < deadline, reader.progress()
        group = reader.poll(0.02)
        busy = any(task.state in ("waiting", "running") for task in reader.progress())
        quiet = 0 if busy or group is not None else quiet + 1
        if group is None:
            continue
        mirrors.take(reader, group)
        come |= any(row["id"] == mark for b in group.batches if b.stream.name == "marks" for row in b.rows.to_pylist())


def source_rows(db, script):
    columns = list(script.columns)
    found = db.connection.execute(f"SELECT {', '.join(columns)} FROM {script.table}").fetchall()
    return columns, sorted(repr(row) for row in found)


@pytest.mark.parametrize("part", range(4 * SIZE))
def test_mirrors_equal_their_tables_after_random_scripts(db, part):
    dice = random.Random(part)
    scripts = [Script(part * 1000 + number, f"t{number}") for number in range(SCRIPTS)]
    db.run("CREATE TABLE marks (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    for script in scripts:
        db.run("; ".join(script.create()))
    source, mirrors = db.source(), Mirrors()
    reader = db.open(source)
    read_all(db, reader, mirrors)
    for _ in range(ROUNDS):
        stopped = dice.random() < 0.3
        if stopped:
            reader.close()
            mirrors.parts = []
        for script in dice.sample(scripts, len(scripts)):
            play(db, script)
            if not stopped and dice.random() < 0.1:
                group = reader.poll(0)
                if group is not None:
                    mirrors.take(reader, group)
        if stopped:
            reader = db.open(source, mirrors.last.resume)
        if dice.random() < 0.5:
            read_all(db, reader, mirrors)
    for script in scripts:
        db.run(script.insert())  # PostgreSQL tells of a new definition with the next change of a row
    read_all(db, reader, mirrors)
    for number, script in enumerate(scripts):
        columns, expected = source_rows(db, script)
        assert mirrors.rows(script.table, columns) == expected, f"seed {part * 1000 + number}"


def play(db, script):
    """One step: a transaction, or its statements one by one."""
    statements = script.step()
    if script.dice.random() < 0.5:
        for statement in statements:
            db.run(statement)
    elif statements:
        db.run("; ".join(statements))
