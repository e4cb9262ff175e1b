"""Which machine the figures are from, and which of its cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from side_by_side.engine import NotMeasured


def pin(cores: int) -> list[int]:
    """Keeps this process and all it starts to the last `cores` cores it may use; the first are busiest with others.

    Raises:
        NotMeasured: there are fewer, or the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise NotMeasured("cores can be kept to on Linux only")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < cores:
        raise NotMeasured(f"{cores} cores are asked for and {len(allowed)} may be used")
    os.sched_setaffinity(0, allowed[-cores:])
    return allowed[-cores:]


def facts() -> dict[str, str | float]:
    """Processor, number of cores, memory and system; `busy` is how many processes ran per core just before."""
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "busy": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
    }


def _line(file: str, name: str) -> str:
    path = Path(file)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
