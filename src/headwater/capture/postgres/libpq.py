"""The libpq that psycopg has loaded, called from compiled loops: no Python object for each message, and no GIL.

psycopg hands out the address of its `PGconn`; the functions must be those of the very library that made it. Where that
library cannot be found with certainty, `functions` says so, and psycopg's own calls do the same work, slower.
Source of the functions' meaning: "libpq", "COPY" and "Asynchronous Command Processing" in PostgreSQL's manual.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.metadata
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from psycopg import pq

_INT, _POINTER = ir.IntType(32), ir.IntType(64)
"""C's int, and a pointer, which travels as a number."""


class Functions(NamedTuple):
    """Addresses of PQgetCopyData, PQfreemem and PQconsumeInput."""

    get_copy_data: int
    free: int
    consume_input: int


@cache
def functions() -> Functions | None:
    """The functions' addresses; None if the library in use cannot be found, or kernels are not compiled."""
    if (
        os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
        or ctypes.sizeof(ctypes.c_void_p) != 8
        or not hasattr(pq.PGconn, "pgconn_ptr")
    ):
        return None
    for path in _candidates():
        library = _loaded(path)
        if library is not None and library.PQlibVersion() == pq.version():
            found = (library.PQgetCopyData, library.PQfreemem, library.PQconsumeInput)
            return Functions(*(ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found))
    return None


def _candidates() -> list[str]:
    """Where the library may lie: bundled in psycopg's wheel, or the system's."""
    if pq.__impl__ != "binary":
        system = ctypes.util.find_library("pq")
        return [system] if system else []
    try:
        files = importlib.metadata.files("psycopg-binary") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if Path(file).name.startswith("libpq") and "libs" in str(file.parent)]


def _loaded(path: str) -> ctypes.CDLL | None:
    """The library at `path` if this process has loaded it already; another copy would not know its connections."""
    only_loaded = getattr(os, "RTLD_NOLOAD", None)
    if only_loaded is None:
        return None
    try:
        return ctypes.CDLL(path, mode=only_loaded | os.RTLD_NOW)
    except OSError:
        return None


def _get_copy_data(typing: Any, function: Any, connection: Any) -> Any:
    """PQgetCopyData(connection, &message, async=1): (its result, the message's address)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        message = cgutils.alloca_once(builder, _POINTER)  # type: ignore[no-untyped-call]
        call = ir.FunctionType(_INT, [_POINTER, _POINTER.as_pointer(), _INT]).as_pointer()
        callee = builder.inttoptr(arguments[0], call)
        length = builder.call(callee, [arguments[1], message, ir.Constant(_INT, 1)])
        return context.make_tuple(
            builder, signature.return_type, [builder.sext(length, _POINTER), builder.load(message)]
        )

    return types.UniTuple(types.int64, 2)(types.int64, types.int64), generate  # type: ignore[no-untyped-call]


def _consume_input(typing: Any, function: Any, connection: Any) -> Any:
    """PQconsumeInput(connection): reads what the socket has, without waiting; 0 if the connection broke."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        callee = builder.inttoptr(arguments[0], ir.FunctionType(_INT, [_POINTER]).as_pointer())
        return builder.sext(builder.call(callee, [arguments[1]]), _POINTER)

    return types.int64(types.int64, types.int64), generate


def _free(typing: Any, function: Any, message: Any) -> Any:
    """PQfreemem(message)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        callee = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), [_POINTER]).as_pointer())
        builder.call(callee, [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _copy_bytes(typing: Any, to: Any, message: Any, length: Any) -> Any:
    """memcpy(to, message, length), both by address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, message = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memcpy(  # type: ignore[no-untyped-call]
            builder, to, message, arguments[2], ir.Constant(_POINTER, 1)
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


get_copy_data: Any = intrinsic(_get_copy_data)
consume_input: Any = intrinsic(_consume_input)
free: Any = intrinsic(_free)
copy_bytes: Any = intrinsic(_copy_bytes)
