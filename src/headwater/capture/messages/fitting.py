"""Holds columns as they were found against the columns of a stream.

The rule for a value: it goes to the column of its name if it is the same value in the column's type. Which column a
name has, and of which type, is settled by the first value that came under it, in the order of the messages; so it does
not matter how messages are cut into batches. What does not fit goes where the stream's policy says (`Growth`). Fields
of objects, at any depth, are held against the fields of the column's struct in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.messages.casting import Mask, converted, convertible

Growth = str
"""lenient, evolve, or none: what may become of a type that does not hold a value."""

_SHORT = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float": "float",
    "double": "double",
    "bool": "boolean",
    "string": "varchar",
    "large_string": "varchar",
    "binary": "blob",
    "large_binary": "blob",
    "date32[day]": "date",
}


@dataclass
class Fitted:
    """Columns after rows were held against them.

    Attributes:
        fields: the columns, those that were known first.
        arrays: the rows' values in each of them.
        misfit: rows that hold what may not be taken in.
        reason: what that was, by row; the first of each.
    """

    fields: list[pa.Field]
    arrays: list[pa.Array]
    misfit: Mask
    reason: dict[int, str] = field(default_factory=dict)


def type_name(kind: pa.DataType) -> str:
    """The short name of a type, as the names of columns have it."""
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_map(kind):
        return "map"
    if pa.types.is_nested(kind):
        return type_name(kind.value_type) + "_list"
    if pa.types.is_decimal(kind):
        return "decimal"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    return _SHORT.get(str(kind), str(kind).partition("[")[0])


def is_vague(kind: pa.DataType) -> bool:
    """Whether a type says nothing yet: of nulls, of empty lists, of objects without fields."""
    if pa.types.is_null(kind):
        return True
    if pa.types.is_struct(kind):
        return all(is_vague(child.type) for child in kind)
    return bool(pa.types.is_list(kind) and is_vague(kind.value_type))


class Fitter:
    """Fits the columns of one batch, at one depth.

    Args:
        known: the columns that there are.
        rows: number of rows.
        growth: see `Growth`.
        fixed: columns whose type may not change.
        spelled: the name of a column for the name that was found.
        typed: a column is one though all its values are null, for its type was given and not guessed.
    """

    def __init__(
        self,
        known: Iterable[pa.Field],
        rows: int,
        growth: Growth,
        fixed: Sequence[str] = (),
        spelled: Callable[[str], str] = lambda name: name,
        typed: bool = False,
    ) -> None:
        self._fields = list(known)
        self._places = {f.name.casefold(): place for place, f in enumerate(self._fields)}
        self._parts: list[list[pa.Array]] = [[] for _ in self._fields]
        self._rows = rows
        self._born: dict[int, int] = {}
        self._growth = growth
        self._fixed = frozenset(fixed)
        self._spelled = spelled
        self._typed = typed
        self._misfit = np.zeros(rows, np.bool_)
        self._reason: dict[int, str] = {}

    def fit(self, found: Iterable[tuple[str, pa.Array]]) -> Fitted:
        """Takes in what was found: names, perhaps several times, and values."""
        vague: list[tuple[str, pa.Array]] = []
        for name, values in sorted(found, key=lambda entry: _first(entry[1])):
            if values.null_count == len(values) and not (self._typed and self._growth != "none"):
                continue
            if is_vague(values.type) or (not self._typed and _first(values) == len(values)):
                vague.append((name, values))
            else:
                self._take(self._own_name(name), values)
        for name, values in vague:
            self._take_vague(self._own_name(name), values)
        arrays = [self._joined(place) for place in range(len(self._fields))]
        return Fitted(self._fields, arrays, self._misfit, self._reason)

    def _own_name(self, name: str) -> str:
        """The column's name for a field's name: another one if a column differs from it in case alone."""
        wanted = self._spelled(name)
        number = 1
        while (place := self._places.get(wanted.casefold())) is not None and self._fields[place].name != wanted:
            number += 1
            wanted = f"{self._spelled(name)}__{number}"
        return wanted

    def _take(self, name: str, values: pa.Array, variant: int = 0) -> None:
        place = self._places.get(name.casefold())
        if place is None:
            if self._growth == "none":
                self._refuse(_says_something(values), f"there is no column {name!r}")
                return
            self._places[name.casefold()] = place = len(self._fields)
            self._fields.append(pa.field(name, _settled(values.type)))
            self._parts.append([])
            self._born[place] = _first(values)
            if not self._typed:  # before its first value, as if each message had come by itself
                values = _only(values, np.arange(len(values)) >= self._born[place])
        held = self._fields[place]
        kind, placed, rest = self._placed(held, values)
        if not kind.equals(held.type):
            self._retype(place, kind)
        self._parts[place].append(placed)
        if not rest.any():
            return
        if self._growth == "none" or held.name in self._fixed:
            own, other = type_name(held.type), type_name(values.type)
            told = f"is {own}, not {other}" if own != other else f"is a {own} without all that came"
            self._refuse(rest & _says_something(values), f"column {name!r} {told}")
            return
        other = f"{name}__{type_name(values.type)}" if not variant else f"{name}_{variant + 1}"
        self._take(other, _only(values, rest), variant + 1 if variant else 1)

    def _placed(self, held: pa.Field, values: pa.Array) -> tuple[pa.DataType, pa.Array, Mask]:
        """The column's type from now on, the values in it, and which of them it does not hold."""
        kind, placed, rest = self._held(held.type, values)
        if rest.any() and self._growth == "evolve" and held.name not in self._fixed:
            wider = widened(held.type, values.type)
            if wider is not None:
                return self._held(wider, values, forced=True)
        return kind, placed, rest

    def _held(self, kind: pa.DataType, values: pa.Array, forced: bool = False) -> tuple[pa.DataType, pa.Array, Mask]:
        none = np.zeros(len(values), np.bool_)
        if values.type.equals(kind):
            return kind, values, none
        if pa.types.is_struct(kind) and pa.types.is_struct(values.type):
            return self._struct(kind, values)
        if pa.types.is_list(kind) and pa.types.is_list(values.type):
            return self._list(kind, values)
        if forced:
            return kind, pc.cast(values, kind, safe=False), none
        if self._growth == "evolve" and pa.types.is_string(kind) and not pa.types.is_nested(values.type):
            return kind, pc.cast(values, kind), none
        if convertible(values.type, kind):
            return kind, *converted(values, kind)
        return kind, pa.nulls(len(values), kind), values.is_valid().to_numpy(zero_copy_only=False)

    def _struct(self, kind: pa.DataType, values: pa.Array) -> tuple[pa.DataType, pa.Array, Mask]:
        inner = Fitter(list(kind), len(values), self._growth, typed=self._typed)
        children = zip(values.type, values.flatten(), strict=True)
        fitted = inner.fit([(child.name or "_", array) for child, array in children])
        made = pa.StructArray.from_arrays(fitted.arrays, fields=fitted.fields, mask=values.is_null())
        return made.type, made, fitted.misfit & values.is_valid().to_numpy(zero_copy_only=False)

    def _list(self, kind: pa.DataType, values: pa.Array) -> tuple[pa.DataType, pa.Array, Mask]:
        """Lists fit if all their items do."""
        offsets = values.offsets
        start, stop = offsets[0].as_py(), offsets[len(values)].as_py()
        items = values.values.slice(start, stop - start)
        _, placed, rest = self._held(kind.value_type, items)
        offsets = pc.subtract(offsets, offsets[0])
        made = pa.ListArray.from_arrays(offsets, placed, mask=values.is_null())
        if not rest.any():
            return made.type, made, np.zeros(len(values), np.bool_)
        bad = np.concatenate([[0], np.cumsum(rest)])
        at = offsets.to_numpy()
        misfit = (bad[at[1:]] > bad[at[:-1]]) & values.is_valid().to_numpy(zero_copy_only=False)
        return made.type, _only(made, ~misfit), misfit

    def _take_vague(self, name: str, values: pa.Array) -> None:
        """Nulls, empty lists and empty objects: held where the column is such, unless it came with this batch: then
        only after its first value, as if each message had come by itself."""
        for candidate in (name, f"{name}__{type_name(values.type)}"):
            place = self._places.get(candidate.casefold())
            if place is None or pa.types.is_null(values.type):
                continue
            held = self._fields[place].type
            alike = pa.types.is_list(held) and pa.types.is_list(values.type)
            if alike or (pa.types.is_struct(held) and pa.types.is_struct(values.type)):
                _, placed, rest = self._held(held, values)
                since = np.arange(len(values)) >= self._born.get(place, 0)
                self._parts[place].append(_only(placed, ~rest & since))
                values = _only(values, rest)

    def _retype(self, place: int, kind: pa.DataType) -> None:
        self._fields[place] = self._fields[place].with_type(kind)
        self._parts[place] = [_recast(part, kind) for part in self._parts[place]]

    def _refuse(self, mask: Mask, text: str) -> None:
        for row in np.flatnonzero(mask & ~self._misfit).tolist():
            self._reason[row] = text
        self._misfit |= mask

    def _joined(self, place: int) -> pa.Array:
        kind = self._fields[place].type
        parts = [_recast(part, kind) for part in self._parts[place]]
        if not parts:
            return pa.nulls(self._rows, kind)
        if len(parts) == 1:
            return parts[0]
        return _coalesced(parts, kind)


def widened(held: pa.DataType, found: pa.DataType) -> pa.DataType | None:
    """The type that a column of one type takes for values of another, under `evolve`: a wider number, or else text;
    None if there is none."""
    if held.equals(found):
        return held
    if pa.types.is_nested(held) or pa.types.is_nested(found) or pa.types.is_binary(held) or pa.types.is_binary(found):
        return None
    if pa.types.is_integer(held) and pa.types.is_integer(found):
        return (
            pa.int64()
            if pa.types.is_signed_integer(held) and pa.types.is_signed_integer(found)
            else pa.decimal128(38, 0)
        )
    plain = [kind for kind in (held, found) if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    if len(plain) == 2:
        return pa.float64()
    whole = [kind for kind in (held, found) if pa.types.is_decimal(kind) and kind.scale == 0]
    if len(whole) == 2 or (whole and plain and pa.types.is_integer(plain[0])):
        return pa.decimal128(38, 0)
    return pa.string()


def _settled(kind: pa.DataType) -> pa.DataType:
    """The type that a new column begins with: structs get their fields as these are taken in."""
    if pa.types.is_struct(kind):
        return pa.struct([])
    if pa.types.is_list(kind):
        return pa.list_(_settled(kind.value_type))
    return kind


def _first(values: pa.Array) -> int:
    """The place of the first value that says something; their number if none does."""
    if values.null_count == 0 and not pa.types.is_nested(values.type):
        return 0
    said = _says_something(values)
    return int(np.argmax(said)) if said.any() else len(values)


def _says_something(values: pa.Array) -> Mask:
    """Which values are more than null, an empty list or an object without fields, or made of such."""
    valid = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    if pa.types.is_struct(values.type):
        inner = [_says_something(child) for child in values.flatten()]
        return np.asarray(valid & np.logical_or.reduce(inner), np.bool_) if inner else np.zeros(len(values), np.bool_)
    if pa.types.is_list(values.type):
        offsets = values.offsets.to_numpy()
        items = values.values.slice(offsets[0], offsets[-1] - offsets[0])
        counts = np.concatenate([[0], np.cumsum(_says_something(items))])
        at = offsets - offsets[0]
        return np.asarray(valid & (counts[at[1:]] > counts[at[:-1]]), np.bool_)
    return valid


def _only(values: pa.Array, keep: Mask) -> pa.Array:
    """The values, null where they are not kept."""
    if keep.all():
        return values
    return pc.take(values, pa.array(np.arange(len(values)), mask=~keep))


def _recast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return values if values.type.equals(kind) else pc.cast(values, kind, safe=False)


def _coalesced(parts: list[pa.Array], kind: pa.DataType) -> pa.Array:
    """Per row the value of the part that has one."""
    if not pa.types.is_nested(kind):
        return pc.coalesce(*parts)
    count = len(parts[0])
    numbers, missing = np.zeros(count, np.int64), np.ones(count, np.bool_)
    for place, part in enumerate(parts):
        valid = part.is_valid().to_numpy(zero_copy_only=False) & missing
        numbers[valid] = place * count + np.flatnonzero(valid)
        missing &= ~valid
    return pc.take(pa.concat_arrays(parts), pa.array(numbers, mask=missing))
