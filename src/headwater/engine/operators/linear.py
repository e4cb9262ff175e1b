"""Filter, project and unnest: DuckDB SQL over the delta alone.

DuckDB is only shown to compute what is computed. Columns that are passed on as they are come from the delta itself:
without a copy where every row passes, gathered where a filter lets some go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.coded import plain, plain_table
from headwater.engine.delta import ORIGIN, absolute, has_origin, mask, numbered, rows_at, with_origin
from headwater.engine.evaluation import Evaluator, probe_of
from headwater.engine.lazy import Delta, Lazy
from headwater.engine.operator import Stateless
from headwater.engine.plain_values import computed
from headwater.engine.row_test import passes
from headwater.engine.worker import Worker
from headwater.sql.bind import quote
from headwater.sql.plan import Linear, Node, Windowed
from headwater.sql.row_plan import RowTest

_POSITION = "_position in the delta"
"""The number of a row, shown to DuckDB beside the row; no column of a stream is called like that."""


_Work = Callable[[pa.Table], pa.Table]
_Columns = dict[str, pa.ChunkedArray]


class LinearOperator(Stateless):
    """Runs a `Linear` node.

    Args:
        direct: the input whose rows come here one by one, "" if others have worked on them.
    """

    def __init__(self, node: Linear, worker: Worker, direct: str) -> None:
        self._node, self._ledger, self._direct = node, worker.ledger, direct
        self._passed, self._schema = _passed(node), delta_schema(node.schema)
        self._read = _read(node, self._passed)
        self._evaluator = Evaluator(worker.session, worker.ledger, node.inputs[0], direct, node.name, _probe(node))
        self._renames = not node.where and not node.multiplies and len(self._passed) == len(node.select)
        self._one_by_one = not any(one.multiplies for one in _path(node))
        self._sql = _sql(node, [] if node.multiplies else list(self._passed), direct)
        self._asks = len(self._passed) + len(node.formulas) < len(node.select)
        self._rest_sql = _sql(node, [*self._passed, *node.formulas], direct) if self._asks else ""

    def step(self, deltas: Sequence[Delta | None]) -> Delta | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        if isinstance(delta, Lazy):
            if self._renames:
                return delta.renamed([*self._passed.items(), *((name, name) for name in _carried(delta))])
            delta = delta.table()
        if self._node.multiplies:
            return self._counted(delta, self._multiplied)
        if self._node.where:
            return self._counted(delta, self._filtered)
        return self._projected(delta)

    def _counted(self, delta: pa.Table, work: _Work) -> pa.Table | None:
        """The result of the delta; counts the rows of input that have none left."""
        rejected = self._ledger.counts.rejected
        result = work(delta)
        if self._direct:
            before, after = (self._weighed(rows) for rows in (delta, result))
            self._ledger.counts.filtered += before - after - (self._ledger.counts.rejected - rejected)
        return result if result.num_rows else None

    def _weighed(self, rows: pa.Table) -> int:
        return absolute(rows) if self._one_by_one else self._ledger.weigh(self._direct, rows)

    def _multiplied(self, delta: pa.Table) -> pa.Table:
        """Rows that may each give several."""
        return self._evaluator.run(self._sql, with_origin(delta) if self._direct else delta)

    def _filtered(self, delta: pa.Table) -> pa.Table:
        """The rows for which the condition holds."""
        if self._node.test is not None:
            return self._tested(self._node.test, delta)
        delta = plain_table(delta, self._node.inputs[0].schema)
        found = self._evaluator.run(self._sql, numbered(delta, _POSITION))
        positions = found.column(_POSITION)
        columns = dict(zip(found.column_names, found.columns, strict=True))
        if found.num_rows == delta.num_rows:
            return self._assembled(delta, columns)
        source = with_origin(delta) if self._direct else delta
        wanted = dict.fromkeys([*self._passed.values(), *_carried(source)])
        return self._assembled(rows_at(source.select(list(wanted)), positions.to_numpy()), columns)

    def _tested(self, test: RowTest, delta: pa.Table) -> pa.Table:
        """The rows that pass a test, and only then what is computed of them."""
        kept = passes(test, delta)
        if not kept.all():
            source = with_origin(delta) if self._direct else delta
            delta = mask(source.select([*self._read, *_carried(source)]), kept)
        found = self._projected(delta) if delta.num_rows else None
        return delta.slice(0, 0) if found is None else found

    def _projected(self, delta: pa.Table) -> pa.Table | None:
        """Every row, as far as it does not fail."""
        made = self._plain_values(delta)
        if made is not None and not self._asks:
            return self._assembled(delta, made)
        given, sql = plain_table(delta, self._node.inputs[0].schema), self._sql if made is None else self._rest_sql
        found, rest = self._evaluator.apart(sql, given)
        if not rest.num_rows:
            return None
        if made and rest.num_rows < delta.num_rows:
            made = self._plain_values(rest)
        return self._assembled(rest, dict(zip(found.column_names, found.columns, strict=True)) | (made or {}))

    def _plain_values(self, delta: pa.Table) -> _Columns | None:
        """The columns that need no SQL; None if one of them does, for these rows."""
        types = self._node.schema
        found = {name: computed(f, delta, types.field(name).type) for name, f in self._node.formulas.items()}
        made = {name: column for name, column in found.items() if column is not None}
        return made if len(made) == len(found) else None

    def _assembled(self, rows: pa.Table, found: _Columns) -> pa.Table:
        """The node's columns: those passed on from `rows`, the others as they are `found`."""
        passed = self._passed
        columns = [
            plain(rows.column(passed[c.name]), c.arrow) if c.name in passed else found[c.name]
            for c in self._node.columns
        ]
        columns.append(rows.column(WEIGHT))
        made = pa.Table.from_arrays(columns, schema=self._schema)
        return made.append_column(ORIGIN, rows.column(ORIGIN)) if has_origin(rows) else made


def _carried(delta: Delta) -> list[str]:
    return [WEIGHT, ORIGIN] if has_origin(delta) else [WEIGHT]


def _passed(node: Linear) -> dict[str, str]:
    """The columns of the result that are the input's, by name, with the input's name."""
    return {output: name for name, output in node.carries(0)}


def _read(node: Linear, passed: Mapping[str, str]) -> list[str]:
    """The columns of the input that the result is made of."""
    computed = " ".join(expression for expression, name in node.select if name not in passed)
    wanted = set(passed.values())
    return [name for name in node.inputs[0].names if name in wanted or quote(name) in computed]


def _path(node: Node) -> list[Linear | Windowed]:
    """The stateless nodes up to this one."""
    return [*_path(node.inputs[0]), node] if isinstance(node, Linear | Windowed) else []


def _sql(node: Linear, passed: list[str], direct: str) -> str:
    """What DuckDB is to compute: all but the columns passed on, and which rows they are of."""
    (source,) = node.inputs
    listed = [f"{expression} AS {quote(name)}" for expression, name in node.select if name not in passed]
    if node.multiplies:
        listed += [f"{quote(source.name)}.{name}" for name in ([WEIGHT, ORIGIN] if direct else [WEIGHT])]
    elif node.where and node.test is None:
        listed.append(f"{quote(source.name)}.{quote(_POSITION)}")
    where = f" WHERE {node.where}" if node.where and node.test is None else ""
    return f"SELECT {', '.join(listed)} FROM {quote(source.name)}{node.lateral}{where}"


def _probe(node: Linear) -> str:
    """Where a row gives several, no single expression tells whether it fails."""
    (source,) = node.inputs
    plain = {f"{quote(source.name)}.{quote(name)}" for name in source.names}
    computed = [expression for expression, _ in node.select if expression not in plain]
    return "" if node.multiplies else probe_of(node.where, computed)
