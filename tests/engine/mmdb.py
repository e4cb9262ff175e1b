"""Writes small databases in MaxMind's format (version 2.0 of its specification), for tests."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping

_MARKER = b"\xab\xcd\xefMaxMind.com"
_SHORT = ("record_size", "ip_version", "binary_format_major_version", "binary_format_minor_version")


def database(networks: Mapping[str, Mapping[str, object]]) -> bytes:
    """A database of IPv4 networks, which must not overlap, and their records."""
    data, nodes = b"", [[None, None]]
    for network, record in networks.items():
        place, data = len(data), data + _encoded(record)
        range_ = ipaddress.ip_network(network)
        bits = f"{int(range_.network_address):032b}"[: range_.prefixlen]
        node = 0
        for bit in map(int, bits[:-1]):
            if nodes[node][bit] is None:
                nodes.append([None, None])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][int(bits[-1])] = ("data", place)
    tree = b"".join(_record(side, len(nodes)) for node in nodes for side in node)
    about = {
        "node_count": len(nodes),
        "record_size": 24,
        "ip_version": 4,
        "database_type": "Test",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "description": {"en": "t"},
    }
    return tree + bytes(16) + data + _MARKER + _encoded(about)


def _record(side: object, count: int) -> bytes:
    if side is None:
        return count.to_bytes(3, "big")
    value = side if isinstance(side, int) else count + 16 + side[1]
    return value.to_bytes(3, "big")


def _encoded(value: object, key: str = "") -> bytes:
    if isinstance(value, Mapping):
        return _control(7, len(value)) + b"".join(_encoded(k) + _encoded(v, k) for k, v in value.items())
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encoded, value))
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    assert isinstance(value, int)
    raw = value.to_bytes(4, "big").lstrip(b"\0")
    return _control(5 if key in _SHORT else 9 if key == "build_epoch" else 6, len(raw)) + raw


def _control(kind: int, size: int) -> bytes:
    assert size < 285
    first, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([kind << 5 | first]) if kind <= 7 else bytes([first, kind - 7])) + rest
