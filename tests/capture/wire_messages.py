"""Messages of pgoutput made by hand, in XLogData as the server sends them."""

import struct

ENVELOPE = b"w" + bytes(24)


def enveloped(message):
    return ENVELOPE + message


def begin(lsn, time=0, xid=1):
    return b"B" + struct.pack(">QqI", lsn, time, xid)


def commit(lsn, end, time=0):
    return b"C\0" + struct.pack(">QQq", lsn, end, time)


def tuple_data(*values):
    """None is null, ... is an unchanged TOAST value."""
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None or value is ...:
            parts.append(b"n" if value is None else b"u")
        else:
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
    return b"".join(parts)


def _row(kind, oid, body, xid):
    return kind + _id(xid) + struct.pack(">I", oid) + body


def _id(xid):
    """A streamed message has its (sub)transaction's id after its kind."""
    return b"" if xid is None else struct.pack(">I", xid)


def insert(oid, *values, xid=None):
    return _row(b"I", oid, b"N" + tuple_data(*values), xid)


def update(oid, *values, old=None, key=None, xid=None):
    before = b"O" + tuple_data(*old) if old else b"K" + tuple_data(*key) if key else b""
    return _row(b"U", oid, before + b"N" + tuple_data(*values), xid)


def delete(oid, *key, full=False, xid=None):
    return _row(b"D", oid, (b"O" if full else b"K") + tuple_data(*key), xid)


def truncate(*oids, xid=None):
    return b"T" + _id(xid) + struct.pack(">IB", len(oids), 0) + struct.pack(f">{len(oids)}I", *oids)


def relation(oid, name, columns, identity=b"d", xid=None):
    """`columns`: (name, type oid, is it in the key)."""
    described = b"".join(
        bytes([key]) + column.encode() + b"\0" + struct.pack(">Ii", type_oid, -1) for column, type_oid, key in columns
    )
    head = struct.pack(">I", oid) + b"public\0" + name.encode() + b"\0" + identity
    return b"R" + _id(xid) + head + struct.pack(">H", len(columns)) + described


def message(lsn, prefix, content, transactional=True, xid=None):
    flags = bytes([transactional])
    return b"M" + _id(xid) + flags + struct.pack(">Q", lsn) + prefix + b"\0" + struct.pack(">I", len(content)) + content


def stream_start(xid, first):
    return b"S" + struct.pack(">IB", xid, first)


def stream_stop():
    return b"E"


def stream_commit(xid, lsn, end, time=0):
    return b"c" + struct.pack(">IBQQq", xid, 0, lsn, end, time)


def stream_abort(xid, part, lsn=None):
    return b"A" + struct.pack(">II", xid, part) + (b"" if lsn is None else struct.pack(">Qq", lsn, 0))


def begin_prepare(lsn, end, xid, gid=b"g"):
    return b"b" + struct.pack(">QQqI", lsn, end, 0, xid) + gid + b"\0"


def prepared(kind, lsn, end, xid, time=0, gid=b"g"):
    """kind: P Prepare, p Stream Prepare, K Commit Prepared."""
    return kind + struct.pack(">BQQqI", 0, lsn, end, time, xid) + gid + b"\0"


def rollback_prepared(prepare_end, end, xid, gid=b"g"):
    return b"r" + struct.pack(">BQQqqI", 0, prepare_end, end, 0, 0, xid) + gid + b"\0"


def keepalive(lsn, reply=False):
    return b"k" + struct.pack(">QqB", lsn, 0, reply)
