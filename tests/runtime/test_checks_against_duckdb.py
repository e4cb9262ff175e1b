"""Whatever comes, is cut, goes, is checkpointed and restored: what the checks say is DuckDB's answer over all rows."""

import shutil
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.change import Op
from headwater.engine.delta import expanded
from headwater.project.definition import SourceDefinition
from headwater.quality.checks import Check, none_of
from headwater.runtime.checkpoint import CheckpointFolder
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.intake import Intake
from headwater.runtime.nodes import StreamNode
from headwater.runtime.state_store import CheckpointRecord, EpochPlan
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group

A = StreamSchema("a", pa.schema([pa.field("id", pa.int64(), nullable=False), ("k", pa.int64()), ("t", pa.string())]),
                 ("id",), "upsert")  # fmt: skip
B = StreamSchema("b", pa.schema([pa.field("k", pa.int64(), nullable=False)]), ("k",), "upsert")
ROW_CHECKS = {
    "not_null_t": ("not_null", ("t",), '"t" IS NULL'),
    "range_k": ("range", ("k",), '"k" < 1 OR "k" > 3'),
    "accepted_t": ("accepted", ("t",), none_of("t", ["x", "7"])),
    "expression": ("expression", (), "NOT coalesce((\nCAST(t AS INTEGER) > 3\n), true)"),
}
FAILING = {
    "not_null_t": "t IS NULL",
    "range_k": "NOT (k BETWEEN 1 AND 3)",
    "accepted_t": "t NOT IN ('x', '7')",
    "expression": "t IS NOT NULL AND coalesce(TRY_CAST(t AS INTEGER), 0) <= 3",
}


def checks(gate):
    """All checks of `a`; of those of rows, `gate` sets rows aside."""
    found = [
        Check("a", name, kind, "reject" if name == gate else "warn", columns, fails)
        for name, (kind, columns, fails) in ROW_CHECKS.items()
    ]
    found.append(Check("a", "unique", "unique", columns=("k", "t")))
    found.append(Check("a", "referential", "referential", columns=("k",), to="b", to_columns=("k",)))
    found.append(Check("a", "rows", "row_count", least=0))
    return found


def dataflow(gate):
    source = SourceDefinition("s", "postgres", None, mirror=False)
    return Dataflow({stream.name: StreamNode.of(stream, source) for stream in (A, B)}, [], checks=checks(gate))


def oracle(rows, others, gate):
    """By check, how many fail, over all rows as they are."""
    with duckdb.connect() as connection:
        columns = A.columns.names
        a = pa.table([pa.array([row[n] for row in rows], A.columns.field(n).type) for n in columns], names=columns)
        connection.register("computed", a)
        connection.register("b", pa.table({"k": pa.array(others, pa.int64())}))
        kept = f"NOT coalesce({FAILING[gate]}, false)" if gate else "true"
        connection.execute(f"CREATE TEMP VIEW a AS SELECT * FROM computed WHERE {kept}")

        def count(sql):
            return connection.execute(sql).fetchall()[0][0]

        found = {
            name: count(f"SELECT count(*) FROM {'computed' if name == gate else 'a'} WHERE {sql}")
            for name, sql in FAILING.items()
        }
        twice = "SELECT k, t FROM a WHERE k IS NOT NULL AND t IS NOT NULL GROUP BY k, t HAVING count(*) > 1"
        found["unique"] = count(f"SELECT count(*) FROM ({twice})")
        found["referential"] = count("SELECT count(*) FROM a WHERE k IS NOT NULL AND k NOT IN (SELECT k FROM b)")
        found["rows"] = count("SELECT count(*) FROM a")
        return found, sorted(map(str, connection.execute("SELECT * FROM a").fetchall()))


a_change = st.tuples(
    st.just("a"), st.integers(1, 6), st.sampled_from([None, 0, 1, 2, 5]), st.sampled_from([None, "x", "7", "2", "odd"]),
    st.booleans(),
)  # fmt: skip
b_change = st.tuples(st.just("b"), st.sampled_from([0, 1, 2, 5]), st.none(), st.none(), st.booleans())
epochs = st.lists(
    st.tuples(st.lists(st.one_of(a_change, b_change), max_size=8), st.sampled_from(["", "restart", "again"])),
    min_size=1, max_size=6,
)  # fmt: skip


class Rig:
    """A dataflow with its checkpoints, and the rows that there ought to be."""

    def __init__(self, folder, gate):
        self.gate, self.checkpoints = gate, CheckpointFolder(folder)
        self.flow, self.rows, self.others = dataflow(gate), {}, set()
        self.epoch, self.record, self.since = 0, None, []

    def changes(self, wanted):
        """The intake of some changes; one that deletes a row which is not there is left out."""
        told = []
        for stream, number, k, t, goes in wanted:
            there, row = (self.rows, {"id": number, "k": k, "t": t}) if stream == "a" else (self.others, {"k": number})
            if goes and number not in there:
                continue
            told.append(
                (
                    A if stream == "a" else B,
                    Op.DELETE if goes else Op.UPDATE,
                    self._key(stream, number) if goes else row,
                )
            )
            if goes:
                there.remove(number) if stream == "b" else there.pop(number)
            else:
                there.add(number) if stream == "b" else there.__setitem__(number, row)
        return told

    def _key(self, stream, number):
        return {"id": number} if stream == "a" else {"k": number}

    def take(self, told):
        self.epoch += 1
        intake = Intake()
        for batch in scripted_group(self.epoch, told).batches:
            intake.batches[batch.stream.name] = [batch]
        self.flow.step(EpochPlan(self.epoch, {}), intake)
        self.flow.checks.settle(self.flow)

    def checkpoint(self):
        self.checkpoints.write(self.epoch, self.flow, self.record.epoch if self.record else None)
        recorded, gates = self.flow.checks.record()
        self.record = CheckpointRecord(self.epoch, {}, sources={"a": "s", "b": "s"}, checks=recorded, gates=gates)
        self.since = []

    def restart(self):
        """As after a kill: the last checkpoint, and the epochs since once more."""
        self.flow.checks.close()
        self.flow = dataflow(self.gate)
        if self.record is not None:
            self.checkpoints.restore(self.record, self.flow)
        again, self.epoch = self.since, self.record.epoch if self.record else 0
        for told in again:
            self.take(told)

    def compare(self):
        wanted, landed = oracle(list(self.rows.values()), sorted(self.others), self.gate)
        board = self.flow.checks
        said = {one.check.name: one for one in board.judged(self.flow, self.epoch, 0, lambda name: {})}
        assert {n: int(r.value if r.value is not None else r.failing) for n, r in said.items()} == wanted
        rows = expanded(board.admitted("a", self.flow.computed("a"), A.columns))
        assert sorted(str(tuple(row.values())) for row in rows.to_pylist()) == landed
        account = board.nodes["a"].account
        assert account.holds
        if self.gate:
            assert account.rejected - account.withdrawn == wanted[self.gate]


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["", *ROW_CHECKS]), epochs)
def test_checks_say_what_duckdb_says(gate, script):
    folder = Path(tempfile.mkdtemp())
    try:
        rig = Rig(folder, gate)
        for wanted, then in script:
            told = rig.changes(wanted)
            rig.take(told)
            rig.since.append(told)
            rig.compare()
            if then == "restart":
                rig.checkpoint()
            if then:
                rig.restart()
                rig.compare()
        rig.flow.checks.close()
    finally:
        shutil.rmtree(folder)
