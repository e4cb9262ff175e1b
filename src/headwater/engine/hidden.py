"""Rows of an upsert stream that cannot be shown: a column of theirs is not known.

It came with a value that its type cannot hold, or an update left it out as unchanged and nobody ever saw it. Such a row
is no row with a null: it is kept out of sight, whole but for what is not known, so that later changes can fill in from
it, and comes into sight with the change that leaves nothing unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, ChangeBatch, key_text, unchanged_bits
from headwater.engine.evolution import Evolution
from headwater.engine.state.row_store import RowStore
from headwater.index.kernels import Longs, Mask
from headwater.schema import StreamSchema

UNKNOWN, NEVER = "_unknown", "_never"
MARKS = (pa.field(UNKNOWN, pa.binary()), pa.field(NEVER, pa.bool_()))
"""Bits of the columns that are not known; and whether that is because nobody ever sent one of them."""


@dataclass(frozen=True)
class Lacks:
    """What is not known of some rows.

    Attributes:
        unknown: by column of which that is true of any row, in which rows it is not known.
        never: of which rows a column was never sent, rather than sent with a value that cannot be held.
    """

    unknown: dict[str, Mask]
    never: Mask

    def any(self, count: int) -> Mask:
        """Of which of so many rows something is not known."""
        found = np.zeros(count, np.bool_)
        for mask in self.unknown.values():
            found |= mask
        return found


class HiddenRows:
    """The hidden rows of a stream by key; one thread at a time.

    Args:
        columns, key: the stream's.

    """

    def __init__(self, columns: pa.Schema, key: Sequence[str]) -> None:
        self.columns = columns
        self.key = tuple(key)
        self._healed = dict[str, None]()
        self._rows: RowStore | None = None

    def __len__(self) -> int:
        return self._rows.num_rows if self._rows else 0

    def rows_of(self, keys: pa.Table) -> pa.Table:
        """The hidden rows of these keys: the stream's columns, and which of them are not known."""
        if self._rows is None:
            return pa.schema([*self.columns, *MARKS]).empty_table()
        return self._rows.rows_of(keys).select([*self.columns.names, UNKNOWN, NEVER])

    def lacks(self, rows: pa.Table, *, after: int = 0) -> Lacks:
        """What is not known of `rows_of`, which stand after so many other rows of which all is known."""
        flags = np.zeros((len(self.columns), after + len(rows)), np.bool_)
        for row, bits in enumerate(rows.column(UNKNOWN).to_pylist(), after):
            found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[: len(self.columns)]
            flags[: len(found), row] = found
        never = np.zeros(after + len(rows), np.bool_)
        never[after:] = rows.column(NEVER).to_numpy()
        unknown = {name: flags[place] for place, name in enumerate(self.columns.names) if flags[place].any()}
        return Lacks(unknown, never)

    def settle(self, hidden: pa.Table, rows: pa.Table, last: Longs, lacks: Lacks, unsent: Mapping[str, Mask]) -> Longs:
        """Puts hidden rows in the place of others.

        Args:
            hidden: as `rows_of` gave them for the keys of `rows`.
            rows: the changed rows.
            last: numbers of those that are there in the end.
            lacks: what is not known of the rows.
            unsent: by column, in which of the rows it was not sent.

        Returns:
            The numbers in `last` of the rows that are in sight.
        """
        hide = lacks.any(len(rows))
        out_of_sight, in_sight = last[hide[last]], last[~hide[last]]
        flags = {name: mask[out_of_sight] for name, mask in lacks.unknown.items()}
        self._replace(hidden, rows.take(pa.array(out_of_sight)), Lacks(flags, lacks.never[out_of_sight]))
        partly = np.zeros(len(rows), np.bool_)
        for mask in unsent.values():
            partly |= mask
        self._healed.update(dict.fromkeys(self._key_texts(rows, in_sight[partly[in_sight]])))
        for text in self._key_texts(rows, out_of_sight):
            self._healed.pop(text, None)
        return in_sight

    def _replace(self, old: pa.Table, new: pa.Table, lacks: Lacks) -> None:
        """Takes `old` away, as `rows_of` gave it, and adds `new`."""
        if not old.num_rows and not new.num_rows:
            return
        if self._rows is None:
            self._rows = RowStore(pa.schema([*self.columns, *MARKS]), self.key)
        none = np.zeros(len(new), np.bool_)
        flags = np.array([lacks.unknown.get(name, none) for name in self.columns.names])
        new = pa.table([*new.columns, unchanged_bits(flags), pa.array(lacks.never)], schema=self._rows.columns)
        signs = np.repeat(np.array([-1, 1]), [len(old), len(new)])
        self._rows.apply(pa.concat_tables([old, new]).append_column(WEIGHT, pa.array(signs)))

    def merged(self, replay: ChangeBatch) -> ChangeBatch:
        """A batch of one row in which nothing counts as sent but what is not known of the hidden row of its key; the
        batch itself if none is hidden."""
        hidden = self.rows_of(pa.Table.from_batches([replay.rows]))
        if len(hidden) != 1 or len(replay) != 1:
            return replay
        unknown = self.lacks(hidden).unknown
        known = np.array([[name not in unknown and name not in self.key] for name in replay.stream.columns.names])
        place = replay.rows.schema.get_field_index("_unchanged")
        columns = [*replay.rows.columns]
        columns[place] = unchanged_bits(known)
        return ChangeBatch(replay.stream, pa.RecordBatch.from_arrays(columns, schema=replay.rows.schema))

    def moved(self, stream: StreamSchema, change: Evolution) -> HiddenRows:
        """The same under the schema that a change of the columns leads to."""
        moved = HiddenRows(stream.columns, stream.key)
        moved._healed = self._healed
        rows = self.all()
        if rows.num_rows:
            lacks, carried = self.lacks(rows), change.carry(rows)
            names = dict(zip(change.origin, change.columns.names, strict=True))
            unknown = {names[name]: mask for name, mask in lacks.unknown.items() if name in names}
            columns = [
                carried.column(field.name) if field.name in carried.column_names else pa.nulls(len(rows), field.type)
                for field in stream.columns
            ]
            carried = pa.table(columns, schema=stream.columns)
            moved._replace(moved.all(), carried, Lacks(unknown, lacks.never))
        return moved

    def forget(self, gone: Mask) -> None:
        """Takes rows of `all` away."""
        rows = self.all().filter(pa.array(gone))
        self._replace(rows, rows.slice(0, 0).drop_columns([UNKNOWN, NEVER]), Lacks({}, np.zeros(0, np.bool_)))

    def never_sent(self) -> pa.Table:
        """The rows of which a column was never sent."""
        rows = self.all()
        return rows.filter(rows.column(NEVER))

    def keys(self) -> list[str]:
        """The hidden rows' keys, as rejects have them."""
        rows = self.all()
        return self._key_texts(rows, np.arange(len(rows)))

    def take_healed(self) -> list[str]:
        """Keys, as rejects have them, of rows that changes with columns left out have brought back into sight."""
        healed, self._healed = self._healed, {}
        return list(healed)

    def _key_texts(self, rows: pa.Table, at: Longs) -> list[str]:
        chosen = rows.select(self.key).take(pa.array(at))
        texts = [key_text(column.combine_chunks()) for column in chosen.columns]
        return [json.dumps(list(values)) for values in zip(*texts, strict=True)]

    def all(self) -> pa.Table:
        """Every hidden row, as `rows_of` gives it."""
        if self._rows is None:
            return self.rows_of(self.columns.empty_table())
        return self._rows.rows().select([*self.columns.names, UNKNOWN, NEVER])

    def clear(self) -> None:
        """The stream was emptied."""
        self._rows = None
        self._healed = {}

    def checkpoint(self, folder: Path, previous: Path | None) -> bool:
        """Writes the rows into `folder`; whether there are any."""
        if not len(self):
            return False
        assert self._rows is not None
        before = previous / "hidden" if previous and (previous / "hidden").is_dir() else None
        self._rows.checkpoint(folder / "hidden", before)
        return True

    def restore(self, folder: Path) -> None:
        """Takes the rows that `checkpoint` wrote."""
        self._rows = RowStore.restore(folder / "hidden")
