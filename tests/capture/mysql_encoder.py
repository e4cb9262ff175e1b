"""An encoder of MySQL's binlog, written from the documented formats and sharing nothing with the decoder under test:
for what only MySQL writes, of which no server can be started here.

Sources: "Replication Protocol" and `mysql::binlog::event` in MySQL's source documentation (dev.mysql.com/doc/dev), the
internals manual's chapter "Binary Log", "JSON binary format" (json_binary.h), worklog 2955 (partial updates), worklog
3549 (transaction payloads), "Serialization library" (tagged GTIDs).
"""

import struct
import zlib
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import pyarrow as pa

INT, JSON, VARCHAR, VECTOR = 3, 245, 15, 242


def lenenc(value):
    """A length-encoded integer."""
    if value < 251:
        return bytes([value])
    if value < 1 << 16:
        return b"\xfc" + struct.pack("<H", value)
    if value < 1 << 24:
        return b"\xfd" + struct.pack("<I", value)[:3]
    return b"\xfe" + struct.pack("<Q", value)


def event(kind, body, *, checksum=True, flags=0, time=1_700_000_000, server=7, position=0):
    """A whole event."""
    size = 19 + len(body) + (4 if checksum else 0)
    whole = struct.pack("<IBIIIH", time, kind, server, size, position, flags) + body
    return whole + struct.pack("<I", zlib.crc32(whole)) if checksum else whole


def format_description(checksum=True, server="8.4.3"):
    """A FORMAT_DESCRIPTION; without checksums zeros stand in the place of its own."""
    body = struct.pack("<H50sIB", 4, server.encode(), 0, 19) + bytes(41) + bytes([1 if checksum else 0])
    return event(15, body, checksum=True) if checksum else event(15, body + bytes(4), checksum=False)


def bitmap(bits):
    """Bits, the first one the lowest of the first byte."""
    return bytes(sum(bit << i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def table_map(table_id, database, table, columns, optional=b""):
    """A TABLE_MAP's body. columns: pairs of type and metadata bytes."""
    names = bytes([len(database)]) + database.encode() + b"\0" + bytes([len(table)]) + table.encode() + b"\0"
    types, metas = bytes(kind for kind, _ in columns), b"".join(meta for _, meta in columns)
    head = struct.pack("<Q", table_id)[:6] + b"\1\0"
    nulls = bitmap([1] * len(columns))
    return head + names + lenenc(len(columns)) + types + lenenc(len(metas)) + metas + nulls + optional


def tlv(kind, value):
    """A field of the optional metadata."""
    return bytes([kind]) + lenenc(len(value)) + value


def strings(*values):
    return b"".join(lenenc(len(value)) + value for value in values)


def image(values, present=None):
    """A row image: the null bitmap over the present columns, and the values that are not null."""
    chosen = [value for i, value in enumerate(values) if present is None or present[i]]
    return bitmap([value is None for value in chosen]) + b"".join(value for value in chosen if value is not None)


def rows(kind, table_id, width, *images, present=None, after=None, extra=b""):
    """A ROWS event's body: v2 with extra data, v1 without."""
    head = struct.pack("<Q", table_id)[:6] + b"\1\0"
    if kind >= 30:
        head += struct.pack("<H", 2 + len(extra)) + extra
    head += lenenc(width) + bitmap(present or [1] * width)
    if kind in (24, 31, 39):
        head += bitmap(after or present or [1] * width)
    return head + b"".join(images)


def partial(values, diffs, json_columns, present=None):
    """The after image of a PARTIAL_UPDATE_ROWS event; `diffs` are the JSON columns that hold changes, by their place
    among the JSON columns."""
    if not json_columns:
        return b"\0" + image(values, present)
    return b"\1" + bitmap([i in diffs for i in range(json_columns)]) + image(values, present)


def diff(operation, path, value=None):
    """One change of a JSON document: 0 replace, 1 insert, 2 remove."""
    changed = bytes([operation]) + lenenc(len(path)) + path.encode()
    return changed if value is None else changed + lenenc(len(value)) + value


def blob(data, width=4):
    """A value with its length before it."""
    return len(data).to_bytes(width, "little") + data


def payload(*events, compression=0, size=None):
    """A TRANSACTION_PAYLOAD's body."""
    content = b"".join(events)
    packed = content if compression else pa.compress(content, codec="zstd", asbytes=True)
    fields = ((2, compression), (3, len(content) if size is None else size), (1, len(packed)))
    head = b"".join(lenenc(kind) + lenenc(len(lenenc(value))) + lenenc(value) for kind, value in fields)
    return head + b"\0" + packed


def gtid(uuid, number, commit_time_us, original=None):
    """A GTID's body as MySQL 8 writes it."""
    head = b"\1" + UUID(uuid).bytes + struct.pack("<q", number) + b"\2" + struct.pack("<qq", 1, 2)
    immediate = commit_time_us | (1 << 55 if original else 0)
    times = struct.pack("<Q", immediate)[:7] + (struct.pack("<Q", original)[:7] if original else b"")
    return head + times + lenenc(300) + struct.pack("<I", 80403)


def varlen(value, *, signed=False):
    """An integer of the serialization library: unary count of more bytes, a zero, the value."""
    if signed:
        value = value << 1 if value >= 0 else (~value << 1) | 1
    for more in range(8):
        if value < 1 << 7 * (more + 1):
            return (value << more + 1 | (1 << more) - 1).to_bytes(more + 1, "little")
    return b"\xff" + value.to_bytes(8, "little")


def tagged_gtid(uuid, tag, number, commit_time_us):
    """A GTID_TAGGED's body."""
    fields = [
        varlen(0) + varlen(1),
        varlen(1) + b"".join(map(varlen, UUID(uuid).bytes)),
        varlen(2) + varlen(number, signed=True),
        varlen(3) + varlen(len(tag)) + tag.encode(),
        varlen(4) + varlen(0, signed=True),
        varlen(5) + varlen(1, signed=True),
        varlen(6) + varlen(commit_time_us),
        varlen(8) + varlen(337),
        varlen(9) + varlen(80403),
    ]
    rest = varlen(0) + b"".join(fields)
    for width in (1, 2):
        size = varlen(1 + width + len(rest))
        if len(size) == width:
            return varlen(1) + size + rest
    raise ValueError("too long")


def query(database, sql, collation=255, error_code=0):
    """A QUERY's body with the status variables that MySQL 8 writes."""
    variables = b"\0" + struct.pack("<I", 0) + b"\1" + struct.pack("<Q", 0) + b"\x06\x03std"
    variables += b"\4" + struct.pack("<HHH", collation, collation, 255)
    head = struct.pack("<IIBHH", 1, 0, len(database.encode()), error_code, len(variables))
    return head + variables + database.encode() + b"\0" + sql


@dataclass
class Opaque:
    """A value of JSON that has none of its types."""

    kind: int
    data: bytes


@dataclass
class Document:
    """Writes binary JSON of Python's values, objects and arrays as `large` ones if asked."""

    large: bool = False
    opened: int = field(default=0)

    def encode(self, value):
        """Type byte and value."""
        kind, data = self._value(value)
        return bytes([kind]) + data

    def _value(self, value):
        if isinstance(value, dict):
            return (1 if self.large else 0), self._container(list(value.values()), self._keys(value))
        if isinstance(value, list):
            return (3 if self.large else 2), self._container(value, [])
        if value is None or isinstance(value, bool):
            return 4, bytes([{None: 0, True: 1, False: 2}[value]])
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return 11, struct.pack("<d", value)
        if isinstance(value, str):
            return 12, length7(len(value.encode())) + value.encode()
        if isinstance(value, Decimal):
            return self._value(Opaque(246, decimal(value)))
        return 15, bytes([value.kind]) + length7(len(value.data)) + value.data

    def _integer(self, value):
        for kind, code in ((5, "<h"), (6, "<H"), (7, "<i"), (8, "<I"), (9, "<q"), (10, "<Q")):
            try:
                return kind, struct.pack(code, value)
            except struct.error:
                continue
        raise ValueError("no integer of JSON")

    def _keys(self, value):
        return [key.encode() for key in value]

    def _container(self, values, keys):
        wide = 4 if self.large else 2
        entries = len(keys) * (wide + 2) + len(values) * (1 + wide)
        at = 2 * wide + entries
        key_entries = value_entries = tail = b""
        for key in keys:
            key_entries += (at + len(tail)).to_bytes(wide, "little") + struct.pack("<H", len(key))
            tail += key
        for value in values:
            kind, data = self._value(value)
            if kind in (4, 5, 6) or (self.large and kind in (7, 8)):
                value_entries += bytes([kind]) + data.ljust(wide, b"\0")
            else:
                value_entries += bytes([kind]) + (at + len(tail)).to_bytes(wide, "little")
                tail += data
        size = at + len(tail)
        return len(values).to_bytes(wide, "little") + size.to_bytes(wide, "little") + key_entries + value_entries + tail


def document(value, *, large=False):
    """Binary JSON of Python's values; members in the order given (the server has them sorted by length, then bytes)."""
    return Document(large).encode(value)


def length7(size):
    """A length of 7 bits a byte."""
    parts = []
    while True:
        parts.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes(parts)


def decimal(value):
    """Precision, scale and the binary decimal: groups of nine digits in four bytes, high byte first."""
    sign, digits, exponent = value.as_tuple()
    scale = -exponent
    text = "".join(map(str, digits)).rjust(scale + 1, "0")
    whole, part = text[: len(text) - scale], text[len(text) - scale :]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    groups = [whole[: len(whole) % 9]] + [whole[i : i + 9] for i in range(len(whole) % 9, len(whole), 9)]
    groups += [part[i : i + 9] for i in range(0, len(part), 9)]
    data = b"".join(int(group).to_bytes(sizes[len(group)], "big") for group in groups if group)
    flipped = bytes(byte ^ 0xFF for byte in data) if sign else data
    return bytes([len(whole) + scale, scale, flipped[0] ^ 0x80]) + flipped[1:]
