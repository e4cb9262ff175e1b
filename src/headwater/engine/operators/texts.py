"""Functions of one text: computed once for each distinct text of a batch, as long as texts repeat."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import ORIGIN
from headwater.engine.operators.linear import LinearOperator
from headwater.engine.session import ROW_ERRORS
from headwater.engine.worker import Worker
from headwater.sql.bind import quote
from headwater.sql.plan import Linear

_FEW = 1024
"""Of so few rows each is computed: to look for equal ones would not pay."""

_PAYS = 3
"""It pays if there are so many rows to a text."""

_PAUSE = 15
"""So many batches pass after one in which it did not pay before it is tried again."""


class TextsOperator(LinearOperator):
    """Runs a `Linear` node whose last columns are functions of one text each."""

    def __init__(self, node: Linear, worker: Worker, direct: str) -> None:
        super().__init__(node, worker, direct)
        self._session = worker.session
        self._by_column = _by_column(node)
        self._pause = 0

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or delta.num_rows < _FEW:
            return super().step(deltas)
        if self._pause:
            self._pause -= 1
            return super().step(deltas)
        computed = self._computed(delta)
        if computed is None:
            self._pause = _PAUSE
            return super().step(deltas)
        carried = [name for name in (WEIGHT, ORIGIN) if name in delta.column_names]
        names = [*self._node.names, *carried]
        arrays = [computed[name] if name in computed else delta.column(name) for name in names]
        return pa.Table.from_arrays(arrays, names=names)

    def _computed(self, delta: pa.Table) -> dict[str, pa.Array] | None:
        """What is computed, by name; None if texts hardly repeat, or one of them fails."""
        source, found = self._node.inputs[0], {}
        for column, parts in self._by_column.items():
            encoded = _encoded(delta.column(column))
            if len(encoded.dictionary) * _PAYS > delta.num_rows:
                return None
            listed = ", ".join(f"{expression} AS {quote(name)}" for expression, name in parts)
            distinct = pa.table({column: encoded.dictionary})
            try:
                result = self._session.run(f"SELECT {listed} FROM {quote(source.name)}", {source: distinct})
            except ROW_ERRORS:
                return None
            for _, name in parts:
                found[name] = result.column(name).combine_chunks().take(encoded.indices)
        return found


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """The distinct texts, NULL among them, and which of them each row has."""
    return column.combine_chunks().dictionary_encode(null_encoding="encode")


def _by_column(node: Linear) -> dict[str, list[tuple[str, str]]]:
    """The (expression, name) pairs by the column of the input that they read."""
    name = re.compile(rf'{re.escape(quote(node.inputs[0].name))}\."((?:[^"]|"")+)"')
    found: dict[str, list[tuple[str, str]]] = {}
    for expression, output in node.select[-node.texts :]:
        (column,) = {match.replace('""', '"') for match in name.findall(expression)}
        found.setdefault(column, []).append((expression, output))
    return found
