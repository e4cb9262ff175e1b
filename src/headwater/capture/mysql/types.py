"""MySQL's and MariaDB's types as Arrow's: one mapping for the snapshot and the stream.

The snapshot reads a column with `select_expression` in the text protocol, the stream reads it from row images; both end
in the same Arrow type with the same bits (`headwater.capture.mysql.convert`). The snapshot's session must have
`time_zone = '+00:00'`, `sql_mode = ''` (no PAD_CHAR_TO_FULL_LENGTH) and `SET NAMES utf8mb4`.

| type | Arrow | rejected (the record), unless named under `text_columns` |
|---|---|---|
| tinyint to bigint, year | int8 to int64, uint8 to uint64, int16 | |
| float, double | float32, float64 | |
| decimal(p,s), up to 38 digits; more | decimal128; text | |
| bit(1); bit(n) | bool; uint64 | |
| date | date32 | zero and partial dates |
| datetime(f) | timestamp[us] | the same |
| timestamp(f) | timestamp[us, UTC] | 0000-00-00 |
| time(f) | time64[us] | negative, 24 hours and more |
| char, text, enum, set, json, uuid, inet | text | bytes that are no text |
| binary, blob | binary | |
| geometry | binary: WKB, with an SRID other than 0 EWKB; coordinates in the order x, y | |
| vector | list of float32 | |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from headwater.capture.mysql import charsets
from headwater.errors import SourceStopped

SOURCE_TYPE = b"headwater.source_type"
MAX_PRECISION = 38

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "integer": 32, "bigint": 64}
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_TEXT = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json", "enum", "set"})
_NETWORK = frozenset({"uuid", "inet4", "inet6"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_GEOMETRIES = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    }
)
_FIXED = {
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "year": pa.int16(),
    "vector": pa.list_(pa.float32()),
}
TEMPORAL = frozenset({"date", "time", "datetime", "timestamp"})

_DECLARED = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?(.*)", re.DOTALL)
_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPED = re.compile(r"''|\\(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
"""What a letter after a backslash stands for; any other stands for itself."""


@dataclass(frozen=True)
class Column:
    """A column of a table and how to read it. Made by `describe`.

    Attributes:
        name: the column's name.
        source_type: the type as information_schema.COLUMNS.COLUMN_TYPE writes it, "int(10) unsigned".
        charset: of text, ENUM and SET: "utf8mb4"; None for others.
        nullable: whether it may be null now.
        as_text: the user wants the text (`text_columns`).
        default: the constant that an insert takes which does not name the column, as text; None for null. For row
            images that leave it out.
        default_known: whether `default` says it: a default that is an expression it does not.
        missing: the constant, as text, of rows that were there when it came; None for null.
    """

    name: str
    source_type: str
    charset: str | None = None
    nullable: bool = True
    as_text: bool = False
    default: str | None = None
    default_known: bool = False
    missing: str | None = None

    @cached_property
    def _declared(self) -> tuple[str, str, str]:
        found = _DECLARED.fullmatch(self.source_type)
        return (found[1].lower(), found[2] or "", found[3].lower()) if found else ("", "", "")

    @property
    def base(self) -> str:
        """The type's name without parameters, in lower case."""
        return {"integer": "int", "geomcollection": "geometrycollection"}.get(self._declared[0], self._declared[0])

    @property
    def unsigned(self) -> bool:
        """Whether it is declared UNSIGNED (ZEROFILL is, too)."""
        return "unsigned" in self._declared[2] or "zerofill" in self._declared[2]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in parentheses."""
        return tuple(int(part) for part in self._declared[1].split(",") if part.strip().isdigit())

    @property
    def fsp(self) -> int:
        """Digits after the second."""
        return self.numbers[0] if self.base in TEMPORAL and self.numbers else 0

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of an ENUM or SET, in order. The server writes them as SQL would have them, backslashes included."""
        if self.base not in ("enum", "set"):
            return ()
        return tuple(_ESCAPED.sub(_plain, label) for label in _LABEL.findall(self._declared[1]))

    @cached_property
    def decimal(self) -> tuple[int, int]:
        """Precision and scale of a DECIMAL."""
        precision, scale, *_ = (*self.numbers, *(10, 0)[len(self.numbers) :])
        return precision, scale

    @cached_property
    def natural_type(self) -> pa.DataType:
        """Arrow's type for it, whether or not the user wants text instead."""
        base = self.base
        if base in _INTEGERS:
            return (_UNSIGNED if self.unsigned else _SIGNED)[_INTEGERS[base]]
        if base == "decimal":
            precision, scale = self.decimal
            return pa.decimal128(precision, scale) if precision <= MAX_PRECISION else pa.string()
        if base == "bit":
            return pa.bool_() if (self.numbers or (1,))[0] == 1 else pa.uint64()
        if base in _BYTES or base in _GEOMETRIES:
            return pa.binary()
        return _FIXED.get(base, pa.string())

    @cached_property
    def arrow_type(self) -> pa.DataType:
        """The type that rows of this column have."""
        return pa.string() if self.as_text else self.natural_type

    @property
    def field(self) -> pa.Field:
        """The stream's column. Nullable even under NOT NULL, which the source may give up at any time."""
        return pa.field(self.name, self.arrow_type, metadata={SOURCE_TYPE: self.source_type.encode()})

    @property
    def misfit(self) -> str:
        """Reason code for a value that does not fit."""
        return "invalid_text" if pa.types.is_string(self.arrow_type) else "value_out_of_range"


def label_text(label: str) -> str:
    """A label of an ENUM or SET as information_schema.COLUMNS.COLUMN_TYPE writes it."""
    for plain, written in (("\\", "\\\\"), ("'", "''"), ("\0", "\\0"), ("\n", "\\n"), ("\r", "\\r")):
        label = label.replace(plain, written)
    return f"'{label}'"


def _plain(found: re.Match[str]) -> str:
    """The character that an escape stands for."""
    letter = found[1]
    return "'" if letter is None else _ESCAPES.get(letter, letter)


def describe(
    name: str,
    column_type: str,
    charset: str | None,
    nullable: bool = True,
    as_text: bool = False,
    *,
    default: str | None = None,
    default_known: bool = False,
    missing: str | None = None,
) -> Column:
    """A column from what information_schema.COLUMNS says.

    Args:
        name: COLUMN_NAME.
        column_type: COLUMN_TYPE.
        charset: CHARACTER_SET_NAME; None where there is none.
        nullable: whether IS_NULLABLE is YES.
        as_text: the user wants it as text.
        default, default_known, missing: see `Column`.

    Raises:
        SourceStopped: the type or character set is not known here.
    """
    column = Column(name, column_type, charset, nullable, as_text, default, default_known, missing)
    known = (_INTEGERS.keys(), _TEXT, _NETWORK, _BYTES, _GEOMETRIES, _FIXED.keys(), ("decimal", "bit"))
    if not any(column.base in names for names in known):
        raise SourceStopped(
            f"column {name!r} has the type {column_type}, which is not known here",
            hint="leave its table out: tables: [..., '!DATABASE.TABLE']",
        )
    if charset is not None and not charsets.known(charset):
        raise SourceStopped(
            f"column {name!r} is in the character set {charset}, which is not known here",
            hint="leave its table out, or convert it: ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
        )
    return column


def select_expression(column: Column) -> str:
    """How the snapshot selects the column, so that its text loses nothing.

    FLOAT is printed with six digits, DOUBLE(m,d) with d of them; times one it is a DOUBLE, printed so that it reads
    back the same (and unlike `+ 0` keeps the sign of -0). BIT is printed as bytes; plus 0 it is a number.
    """
    name = "`" + column.name.replace("`", "``") + "`"
    if column.base in ("float", "double"):
        return f"{name} * 1e0"
    if column.base == "bit":
        return f"{name} + 0"
    return name
