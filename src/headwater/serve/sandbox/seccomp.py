"""Seccomp: a process gives up system calls, for itself and what it starts. See seccomp(2)."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE = 0, 4
"""Where the filter finds the call's number and the architecture."""
_X32 = 0x40000000
"""Calls from here on are the same ones under other numbers."""

_CALLS = {
    "x86_64": (
        0xC000003E,
        {"socket": 41, "connect": 42, "bind": 49},
        {
            "execve": 59, "kill": 62, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
            "execveat": 322, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {"socket": 198, "connect": 203, "bind": 200},
        {
            "execve": 221, "kill": 129, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
            "execveat": 281, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
        },
    ),
}  # fmt: skip
"""By machine: its number as an architecture, the calls of the network, and the others that no query needs."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def restrict(*, network: bool) -> bool:
    """Has the kernel answer "not permitted" to calls that no query needs.

    Args:
        network: sockets are left alone.

    Returns:
        Whether it does.
    """
    known = _CALLS.get(platform.machine())
    if known is None:
        return False
    architecture, sockets, others = known
    code = _filter(architecture, [*others.values(), *(() if network else sockets.values())])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(architecture: int, calls: list[int]) -> bytes:
    """The program: what is not of this architecture, and each of the calls, goes to the refusal at the end."""
    count = len(calls)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 0, count + 3, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, count + 1, 0, _X32),
        *((_IF_EQUAL, count - at, 0, number) for at, number in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
