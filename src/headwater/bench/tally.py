"""Reads changes as a sink would: how many rows they leave, and a checksum that does not hang on their order."""

from __future__ import annotations

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.sql.prelude import shared

_MODULUS = 1 << 64


class Tally:
    """Adds up changes.

    The checksum is the sum of the rows' DuckDB hashes, each times its weight, modulo 2^64: equal for equal results
    however they came about. Floating point columns count to nine digits.
    """

    def __init__(self) -> None:
        self._connection = shared("tally")
        self.changes = 0
        self.rows = 0
        self._checksum = 0

    @property
    def checksum(self) -> str:
        """Sixteen hexadecimal digits."""
        return f"{self._checksum % _MODULUS:016x}"

    def add(self, changes: pa.Table) -> None:
        """Takes in changes, rows with `_weight` (without: all +1)."""
        if not changes.num_rows:
            return
        if WEIGHT not in changes.column_names:
            changes = changes.append_column(WEIGHT, pa.repeat(pa.scalar(1, pa.int64()), changes.num_rows))
        columns = ", ".join(_hashed(field) for field in changes.schema if field.name != WEIGHT)
        self._connection.register("changes", changes)
        found = self._connection.execute(
            f"SELECT sum({WEIGHT}), sum(hash({columns})::HUGEINT * {WEIGHT}) FROM changes"
        ).fetchall()[0]
        self._connection.unregister("changes")
        self.changes += changes.num_rows
        self.rows += int(found[0])
        self._checksum += int(found[1])

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._connection.close()


def _hashed(field: pa.Field) -> str:
    name = '"' + field.name.replace('"', '""') + '"'
    return f"printf('%.9g', {name} + 0)" if pa.types.is_floating(field.type) else name
