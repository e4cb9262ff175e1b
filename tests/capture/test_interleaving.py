"""The assembler against a simple model: random transactions of every kind, interleaved as servers do, cut anywhere."""

import random
from dataclasses import dataclass, field

import pytest
import wire_messages as wm
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.postgres import held, staging
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing, lsn_of
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.types import Column
from headwater.capture.postgres.wire import Frames

TABLES = {7: "t", 8: "u", 9: "other"}
CAPTURED = (7, 8)
COLUMNS = [("id", 23, True), ("v", 25, False)]
STANDING = Standing("1", 1, "shop", "slot", {})


def new_assembler(after):
    columns = (Column("id", 23, -1, 23, -1, "integer"), Column("v", 25, -1, 25, -1, "text"))
    tables = [Table(oid, "public", TABLES[oid], columns, ("id",)) for oid in CAPTURED]
    return Assembler(Relations(tables, (), described), STANDING, after)


def described(name, oid, typmod):
    return Column(name, oid, typmod, oid, typmod, {23: "integer", 25: "text"}[oid])


@dataclass
class Running:
    """A transaction of the model: what it did, and under which of its subtransactions."""

    xid: int
    kind: str
    rows: list = field(default_factory=list)
    aborted: set = field(default_factory=set)
    declared: set = field(default_factory=set)
    began: bool = False


class Server:
    """Makes up what a server sends, and remembers what it means: `expected` rows (table, id, commit, ordinal)."""

    def __init__(self, rng):
        self.rng = rng
        self.sent, self.expected, self.filtered, self.ends = [], [], 0, []
        self.lsn, self.next_xid, self.number = 1000, 100, 0
        self.declared = set()

    def advance(self):
        self.lsn += self.rng.randrange(10, 50)
        return self.lsn

    def put(self, message):
        self.sent.append(wm.enveloped(message))

    def change(self, tx, xid=None, sub=None):
        """One message of a transaction, and the rows that it is."""
        rng, declared = self.rng, tx.declared if xid else self.declared
        oid = rng.choice(list(TABLES))
        if oid not in declared:
            declared.add(oid)
            self.put(wm.relation(oid, TABLES[oid], COLUMNS, xid=xid))
        self.number += 1
        key, what, sub = str(self.number).encode(), rng.random(), sub or xid
        if what < 0.1:
            oids = rng.sample(sorted(declared), rng.randint(1, len(declared)))
            self.put(wm.truncate(*oids, xid=sub))
            tx.rows += [(sub, oid, None) for oid in oids]
        elif what < 0.2:
            self.put(wm.message(self.lsn, b"p", b"c" * rng.randrange(5), xid=sub))
            tx.rows.append((sub, None, None))
        elif what < 0.3:
            self.put(wm.delete(oid, key, None, xid=sub))
            tx.rows.append((sub, oid, self.number))
        elif what < 0.5:
            self.put(wm.update(oid, key, b"x", key=(key, None) if what < 0.4 else None, xid=sub))
            tx.rows += [(sub, oid, self.number)]
        else:
            self.put(wm.insert(oid, key, b"v" * rng.randrange(40), xid=sub))
            tx.rows.append((sub, oid, self.number))

    def finish(self, tx, commit, end):
        ordinal = 0
        for sub, oid, number in tx.rows:
            if sub in tx.aborted:
                continue
            if oid in CAPTURED:
                self.expected.append((TABLES[oid], number, commit, ordinal))
            self.filtered += oid == 9
            ordinal += 1
        self.ends.append((commit, end))

    def ordinary(self):
        tx, commit = Running(self.xid(), "ordinary"), self.advance()
        self.put(wm.begin(commit, xid=tx.xid))
        for _ in range(self.rng.randrange(6)):
            self.change(tx)
        end = self.advance()
        self.put(wm.commit(commit, end))
        self.finish(tx, commit, end)

    def xid(self):
        self.next_xid += 10
        return self.next_xid

    def prepare(self):
        tx, at = Running(self.xid(), "prepared"), self.advance()
        self.put(wm.begin_prepare(at, at + 5, tx.xid))
        for _ in range(self.rng.randrange(6)):
            self.change(tx)
        self.put(wm.prepared(b"P", at, at + 5, tx.xid))
        return tx

    def part(self, tx):
        self.put(wm.stream_start(tx.xid, not tx.began))
        tx.began = True
        for _ in range(self.rng.randrange(6)):
            self.change(tx, tx.xid, tx.xid + self.rng.randrange(3))
        self.put(wm.stream_stop())
        if self.rng.random() < 0.3:
            lost = tx.xid + self.rng.randrange(1, 3)
            tx.aborted.add(lost)
            self.put(wm.stream_abort(tx.xid, lost, self.lsn if self.rng.random() < 0.5 else None))

    def end(self, tx):
        """Commits it, or rolls it back, or (streamed) prepares it."""
        if self.rng.random() < 0.2:
            rollback = wm.rollback_prepared(self.lsn, self.advance(), tx.xid)
            self.put(wm.stream_abort(tx.xid, tx.xid) if tx.kind == "streamed" else rollback)
            return None
        if tx.kind == "streamed" and self.rng.random() < 0.3:
            tx.kind = "prepared"
            self.put(wm.prepared(b"p", self.advance(), self.lsn + 5, tx.xid))
            return tx
        commit, end = self.advance(), self.advance()
        streamed = tx.kind == "streamed"
        self.put(wm.stream_commit(tx.xid, commit, end) if streamed else wm.prepared(b"K", commit, end, tx.xid))
        self.finish(tx, commit, end)
        return None

    def run(self, steps):
        running = []
        for _ in range(steps):
            what = self.rng.random()
            if what < 0.4:
                self.ordinary()
            elif what < 0.5:
                running.append(self.prepare())
            elif what < 0.6:
                self.sent.append(wm.keepalive(self.lsn))
            elif what < 0.75 or not running:
                running.append(Running(self.xid(), "streamed"))
                self.part(running[-1])
            else:
                tx = running.pop(self.rng.randrange(len(running)))
                if tx.kind == "streamed" and self.rng.random() < 0.5:
                    self.part(tx)
                    running.append(tx)
                else:
                    kept = self.end(tx)
                    running += [kept] if kept else []
        return self


def read(assembler, messages, rng):
    """Feeds messages cut at random; the groups."""
    groups, at = [], 0
    assembler.handed()
    while at < len(messages):
        if assembler.hungry and not assembler.full:
            size = rng.choice([1, 2, 5, 50, 1000])
            assembler.feed(Frames.of(messages[at : at + size]))
            at += size
        if assembler.full or rng.random() < 0.3:
            groups += [group for group in [assembler.take()] if group is not None]
    while assembler.complete or assembler.full:
        groups.append(assembler.take())
    return groups


def changes(groups):
    rows = [(b.stream.name, r) for g in groups for b in g.batches for r in b.rows.to_pylist()]
    found = {(name, row["id"], row["_commit"], row["_ordinal"]) for name, row in rows}
    pairs = [(name, row["_commit"], row["_ordinal"]) for name, row in rows]
    assert len(set(pairs)) == len(found)
    return found


def check(seed, steps, limits):
    rng = random.Random(seed)
    server = Server(rng).run(steps)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in limits:
            patch.setattr(module, name, value)
        assembler = new_assembler(0)
        groups = read(assembler, server.sent, rng)
        told = [commit for each in assembler.handed() for commit in each.commits.tolist()]
        commits = [commit for commit, _ in server.ends]
        assert told == commits[: len(told)] and {row[2] for row in server.expected} <= set(told)
        wanted = server.expected
        assert {row for row in changes(groups) if row[1] is not None} == {r for r in wanted if r[1] is not None}
        truncated = {(row[0], row[2], row[3]) for row in wanted if row[1] is None}
        assert {(row[0], row[2], row[3]) for row in changes(groups) if row[1] is None} == truncated
        assert sum(n for group in groups for n in group.filtered.values()) == server.filtered
        spots = [group.boundary.position for group in groups if not group.more]
        assert spots == sorted(spots) and not (groups and groups[-1].more)
        resumed(groups, server, rng)


def resumed(groups, server, rng):
    """From every boundary on, exactly the rest comes."""
    whole = [(at, group) for at, group in enumerate(groups) if not group.more]
    if not whole:
        return
    at, group = rng.choice(whole)
    again = read(new_assembler(lsn_of(group.boundary.resume)), server.sent, rng)
    assert changes(again) == changes(groups[at + 1 :])


SMALL = [(staging, "GROUP_RECORDS", 3), (staging, "PART_RECORDS", 4), (held, "MEMORY_BYTES", 300)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 5, 40, 120]), st.booleans())
def test_any_interleaving_is_what_the_model_says(seed, steps, small):
    check(seed, steps, SMALL if small else [])
