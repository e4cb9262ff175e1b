"""A column's definition in SQL, as CREATE and ALTER TABLE have it, read into the words of information_schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.capture.mysql.definition import ColumnDefinition
from headwater.capture.mysql.statement import NotUnderstood, Reading, Token
from headwater.capture.mysql.types import label_text

_ALIASES = {
    "INTEGER": "int",
    "INT1": "tinyint",
    "INT2": "smallint",
    "INT3": "mediumint",
    "MIDDLEINT": "mediumint",
    "INT4": "int",
    "INT8": "bigint",
    "DEC": "decimal",
    "NUMERIC": "decimal",
    "FIXED": "decimal",
    "NUMBER": "decimal",
    "REAL": "double",
    "FLOAT8": "double",
    "FLOAT4": "float",
    "CHARACTER": "char",
    "NCHAR": "char",
    "NVARCHAR": "varchar",
    "VARCHAR2": "varchar",
    "VARCHARACTER": "varchar",
    "LONG": "mediumtext",
    "BOOL": "tinyint",
    "BOOLEAN": "tinyint",
    "CLOB": "longtext",
    "GEOMCOLLECTION": "geometrycollection",
}
_DEFAULT_SIZES = {"decimal": "(10,0)", "char": "(1)", "binary": "(1)", "bit": "(1)", "year": "(4)"}
_FLOAT_DIGITS = 24


@dataclass
class ColumnText:
    """What a column's text says.

    Attributes:
        column: the column.
        primary, unique: it is a key by itself.
        place: where it goes: "" at the end or where it was, "FIRST", or the name of the column before it.
        first: it goes first.
    """

    column: ColumnDefinition
    primary: bool = False
    unique: bool = False
    place: str = ""
    first: bool = False


def read_column(found: Sequence[Token]) -> ColumnText:
    """Reads `name type attributes [FIRST | AFTER column]`.

    Raises:
        NotUnderstood: that is not what it is.
    """
    reading = Reading(found)
    name = reading.name()
    word = reading.next()
    if word.kind != "word":
        raise NotUnderstood(f"the type of column {name!r} at {word.text!r}")
    text = _type(word, reading)
    state = _Attributes(unsigned=word.upper == "SERIAL", required=word.upper == "SERIAL", unique=word.upper == "SERIAL")
    if word.upper in ("NCHAR", "NVARCHAR", "NATIONAL"):
        state.charset = "utf8"
    while not reading.over:
        state.take(reading)
    text += (" unsigned" if state.unsigned else "") + (" zerofill" if state.zerofill else "")
    nullable = not (state.required or state.primary)
    column = ColumnDefinition(name, text, state.charset, nullable, state.default, state.computed)
    return ColumnText(column, state.primary, state.unique, state.after, state.first)


def read_default(reading: Reading) -> tuple[str | None, bool]:
    """Reads what follows DEFAULT: the constant, None if there is none, and whether it is computed."""
    state = _Attributes()
    state.take_default(reading)
    return state.default, state.computed


def _type(word: Token, reading: Reading) -> str:
    name = word.upper
    if name == "NATIONAL":
        name = reading.next().upper
    if name == "SERIAL":
        return "bigint(20)"
    plain = _ALIASES.get(name, name.lower())
    if reading.take_any("VARYING"):
        plain = "varchar"
    if name == "DOUBLE":
        reading.take("PRECISION")
    if name == "LONG":
        plain = "mediumblob" if reading.take("VARBINARY") else "mediumtext"
        reading.take("VARCHAR")
    size = _arguments(reading.group()) if reading.peek().text == "(" and reading.peek().kind == "sign" else ""
    if name in ("BOOL", "BOOLEAN"):
        size = "(1)"
    if plain == "decimal" and size and "," not in size:
        size = f"{size[:-1]},0)"
    if plain == "float" and size and "," not in size:
        plain, size = ("double" if int(size[1:-1]) > _FLOAT_DIGITS else "float"), ""
    return plain + (size or _DEFAULT_SIZES.get(plain, ""))


def _arguments(found: Sequence[Token]) -> str:
    """A type's arguments as information_schema writes them."""
    parts = (label_text(token.text) if token.kind == "text" else token.text for token in found)
    return "(" + "".join(parts) + ")"


@dataclass
class _Attributes:
    unsigned: bool = False
    zerofill: bool = False
    charset: str | None = None
    required: bool = False
    default: str | None = None
    computed: bool = False
    primary: bool = False
    unique: bool = False
    after: str = ""
    first: bool = False

    def take(self, reading: Reading) -> None:
        """Takes one attribute; what says nothing about how values are stored is passed over."""
        token = reading.next()
        word = token.upper
        if word in ("UNSIGNED", "ZEROFILL"):
            self.unsigned, self.zerofill = True, self.zerofill or word == "ZEROFILL"
        elif word == "NOT" and reading.take("NULL"):
            self.required = True
        elif word == "DEFAULT":
            self.take_default(reading)
        elif word in ("PRIMARY", "KEY"):
            self.primary = True
            reading.take("KEY")
        elif word == "UNIQUE":
            self.unique = True
            reading.take("KEY")
        elif word == "AFTER":
            self.after = reading.name()
        elif word == "FIRST":
            self.first = True
        elif word == "AUTO_INCREMENT":
            self.required = True
        else:
            self._text_or_rest(token, reading)

    def _text_or_rest(self, token: Token, reading: Reading) -> None:
        word = token.upper
        if word == "CHARSET" or (word == "CHARACTER" and reading.take("SET")):
            reading.take("=")
            self.charset = reading.name().lower()
        elif word == "COLLATE":
            reading.take("=")
            self.charset = reading.name().lower().split("_")[0]
        elif word in ("ASCII", "UNICODE"):
            self.charset = "latin1" if word == "ASCII" else "ucs2"
        elif word in ("COMMENT", "REFERENCES", "ON", "CONSTRAINT", "COLUMN_FORMAT", "STORAGE"):
            reading.next()
        elif token.kind == "sign" and token.text == "(":
            _skip_group(reading)
        elif word in ("AS", "GENERATED"):
            self.computed = True

    def take_default(self, reading: Reading) -> None:
        """Takes what follows DEFAULT: a constant is kept; what is computed is not known here."""
        token = reading.next()
        sign = token.text if token.kind == "sign" and token.text in "+-" else ""
        token = reading.next() if sign else token
        if token.kind == "text":
            self.default = token.text
        elif token.upper[:1].isdigit():
            self.default = sign.strip("+") + token.text
            if reading.take("."):
                self.default += "." + reading.next().text
        elif token.upper in ("TRUE", "FALSE"):
            self.default = "1" if token.upper == "TRUE" else "0"
        elif token.upper != "NULL":
            self.computed = True
            if token.text == "(":
                _skip_group(reading)


def _skip_group(reading: Reading) -> None:
    depth = 1
    while depth and not reading.over:
        token = reading.next()
        if token.kind == "sign":
            depth += (token.text == "(") - (token.text == ")")
