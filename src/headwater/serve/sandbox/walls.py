"""What the operating system holds a turn to, before it reads a byte of what a user wrote.

- limits of memory, CPU time, files and file size (setrlimit(2)), and a lower priority than the pipeline's;
- the files that it may read, and none that it may write (landlock(7), Linux 5.13 and later; TCP from 6.7 on);
- no sockets, programs, signals or looking into other processes (seccomp(2) on Linux).

Where a kernel lacks one of these, the others hold. `Walls.standing` says which do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headwater.serve.sandbox import landlock, seccomp

NICE = 10
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
OPEN_FILES = 512


@dataclass(frozen=True)
class Walls:
    """The limits of a turn.

    Attributes:
        memory_bytes: address space beyond what the process has when it begins.
        cpu_s: seconds of CPU time.
        reads: folders and files that may be read.
        network: sockets may be used, as the lake is elsewhere.
    """

    memory_bytes: int
    cpu_s: int
    reads: Sequence[Path] = field(default_factory=tuple)
    network: bool = False

    def raise_up(self) -> list[str]:
        """Closes this process in, for good. To be called before it has a second thread.

        Returns:
            Which walls stand.
        """
        os.nice(NICE)
        _limit("RLIMIT_CORE", 0)
        _limit("RLIMIT_FSIZE", 0)
        _limit("RLIMIT_NOFILE", OPEN_FILES)
        _limit("RLIMIT_CPU", self.cpu_s)
        _limit("RLIMIT_AS", address_space() + self.memory_bytes)
        standing = ["limits"]
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            standing += ["landlock"] if landlock.restrict(self.reads, network=self.network) else []
            standing += ["seccomp"] if seccomp.restrict(network=self.network) else []
        return standing


def address_space() -> int:
    """Bytes of address space that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit(name: str, most: int) -> None:
    """Lowers a limit; one that is lower already stays."""
    number = getattr(resource, name)
    _, hard = resource.getrlimit(number)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (value, value))
