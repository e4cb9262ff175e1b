"""One check that looks at each row alone, over a whole batch at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.engine.view import View
from headwater.errors import UserError
from headwater.project.quality_check import inputs_of
from headwater.quality.checks import ROW, Check

Positions = NDArray[np.int64]
_NONE = np.zeros(0, np.int64)


class RowCheck:
    """Finds the rows that fail. Keeps nothing: which rows fail depends on nothing but themselves, so that what is set
    aside when it appears is set aside when it goes.

    Args:
        check: of a kind of `ROW_KINDS`.

    Attributes:
        error: why the rows cannot be judged as their columns are now; all of them pass then.
    """

    def __init__(self, check: Check) -> None:
        self.check = check
        self.error: UserError | None = None
        self._columns: pa.Schema | None = None
        self._view: View | None = None

    def failing(self, rows: pa.Table, columns: pa.Schema) -> Positions:
        """Numbers of the rows that fail, ascending.

        Args:
            rows: with these columns, and perhaps more.
            columns: of the stream or model.
        """
        if not rows.num_rows:
            return _NONE
        if self.check.kind == "not_null" and self.check.columns[0] in rows.column_names:
            column = rows.column(self.check.columns[0])
            return np.flatnonzero(column.is_null().to_numpy()) if column.null_count else _NONE
        self._bind(columns)
        if self._view is None or self._columns is None:
            return _NONE
        numbered = rows.select(self._columns.names).append_column(ROW, pa.array(np.arange(rows.num_rows)))
        found = self._view.apply({self.check.node: numbered}).column(ROW).to_numpy()
        broken = _numbers(self._view.take_rejects())
        return np.sort(np.concatenate([found, broken])) if len(broken) else np.sort(found)

    def close(self) -> None:
        """Gives up the connection."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _bind(self, columns: pa.Schema) -> None:
        """Makes ready for rows of these columns, of which only those are taken that the check names."""
        names = self.check.columns or tuple(columns.names)
        wanted = pa.schema([columns.field(name) for name in names if name in columns.names])
        if self._columns is not None and self._columns.equals(wanted):
            return
        self.close()
        self._columns, self.error = wanted, None
        try:
            self._view = View(
                self.check.sql, inputs_of(self.check, {self.check.node: wanted}), keep_result=False, name=self.check.id
            )
        except UserError as mistake:
            self.error = mistake


def _numbers(rejects: pa.RecordBatch | None) -> Positions:
    """Numbers of the rows on which the SQL itself fails: they are not as stated either."""
    if rejects is None:
        return _NONE
    records = rejects.column("record").to_pylist()
    return np.array([pa.ipc.open_stream(one).read_all().column(ROW)[0].as_py() for one in records], np.int64)
