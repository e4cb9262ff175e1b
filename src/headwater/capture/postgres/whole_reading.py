"""One table without a key, or of which old rows are sent whole: read at one place of the stream, in one group.

The reading holds some transactions that the stream has yet to bring: what those did to the table is left out when it
comes. It must not lack one that the stream has brought already; then it is taken anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import psycopg

from headwater import failpoint
from headwater.capture.incremental import left_out, marker
from headwater.capture.postgres.chunk_reader import WholeRead
from headwater.capture.postgres.connection import failed
from headwater.capture.postgres.desk import Desk
from headwater.capture.postgres.keyed_reading import fitted
from headwater.capture.postgres.rows import Places, decode_copy, reject_batch
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.visibility import Commits, Ids32, Lsns, View, among, may_be_late
from headwater.capture.worklist import Task
from headwater.change import Group, Op
from headwater.errors import HeadwaterError


class WholeReading:
    """A table in hand.

    Args:
        desk: what it works with.
        table: the table.
    """

    def __init__(self, desk: Desk, table: Table) -> None:
        self.table = table
        self._desk = desk
        self._commits = Commits()
        self._before: View | None = None
        self._ids: set[int] = set()

    def observe(self, group: Group, lsns: Lsns, ids: Ids32) -> None:
        """Takes note of what the stream brings."""
        self._commits.add(lsns, ids)
        if self._before is not None:
            self._ids.update(self._before.whole(ids).tolist())

    def step(self, task: Task) -> Iterator[Group] | None:
        """The parts of the table's group; None if it cannot be read here and now."""
        desk = self._desk
        try:
            if self._before is None:
                self._before, expected = desk.reader.view(self.table)
                task = replace(task, state="running", expected=expected)
                desk.work.put(task)
            read = desk.reader.whole(self.table)
        except (psycopg.Error, HeadwaterError) as error:
            desk.judge(task, error)
            return None
        if len(self._commits.unseen(read.view)) or may_be_late(read.view, self._before, self._ids):
            self._commits.forget(read.view)
            desk.reader.close()
            desk.later()
            return None
        self.table = desk.relations.adopt(read.table, reached=False)
        return self._parts(task, read)

    def _parts(self, task: Task, read: WholeRead) -> Iterator[Group]:
        """The table emptied and filled.

        Raises:
            SourceUnavailable: the connection broke.
        """
        desk = self._desk
        commit, ordinal, boundary = desk.place(1)
        yield Group(boundary, (marker(self.table.stream, Op.TRUNCATE, -1, commit, ordinal),), more=True)
        rows = 0
        try:
            for frames in read.rows:
                commit, ordinal, boundary = desk.place(len(frames))
                ordinals = np.arange(ordinal, ordinal + len(frames), dtype=np.int64)
                places = Places(np.full(len(frames), commit, np.uint64), ordinals, None)
                decoded = decode_copy(fitted(self.table, read.table), frames, places)
                batches = (decoded.batch,) if decoded.batch else ()
                rows += len(frames)
                desk.course.ask()
                yield Group(boundary, batches, reject_batch(decoded.rejects), more=True)
            high = desk.reader.watermark()
        except psycopg.Error as error:
            failed(error, f"reading table {task.table}")
        note = {"stream": self.table.stream_name, "view": str(read.view), "until": high}
        desk.work.put(replace(task, rows=rows, note=json.dumps(note), message=""))
        failpoint.reach("capture.reread.after_end")
        yield desk.note()


def settled(desk: Desk, task: Task) -> Task | None:
    """The task without its note, once the stream has brought all that the reading held; None until then."""
    if not desk.has_come_to(int(json.loads(task.note)["until"])):
        return None
    return replace(task, note="", state="done" if task.state == "running" else task.state)


def without_held(tasks: Sequence[Task], group: Group, lsns: Lsns, ids: Ids32) -> Group:
    """A group of the stream without the changes of tables that readings of those tables hold."""
    batches, filtered = list(group.batches), dict(group.filtered)
    for note in (json.loads(task.note) for task in tasks):
        view = View.parse(note["view"])
        held = np.sort(lsns[view.sees(view.whole(ids))])
        for place, batch in enumerate(batches):
            if batch.stream.name == note["stream"]:
                batches[place], count = left_out(batch, partial(among, known=held))
                if count:
                    filtered[note["stream"]] = filtered.get(note["stream"], 0) + count
    return replace(group, batches=tuple(batch for batch in batches if len(batch)), filtered=filtered)
