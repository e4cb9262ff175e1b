"""How the memory that a run may take is shared out."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headwater.engine.state.memory import Memory
from headwater.project.definition import Project
from headwater.project.quantity import memory_bytes
from headwater.runtime.intake import MOST_BYTES, Slicing

_LEAST_SLICE = 1 << 20
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class MemoryPlan:
    """Half is for what is being worked on, a quarter for what streams and tables remember, a quarter for models.

    Attributes:
        state: for what streams and tables remember.
        view_bytes: for the state of each model.
        spill: folder of what is kept in files.
        slicing: how large a slice of an epoch may be.
    """

    state: Memory
    view_bytes: int
    spill: Path
    slicing: Slicing


def plan_memory(project: Project) -> MemoryPlan:
    """The plan for a project on this machine."""
    total = memory_bytes(project.run.memory, machine_bytes())
    spill = project.state / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    slicing = Slicing(project.run.epoch_max_records, min(max(total // 32, _LEAST_SLICE), MOST_BYTES))
    return MemoryPlan(Memory(total // 4, spill), total // 4 // max(len(project.models), 1), spill, slicing)


def machine_bytes() -> int:
    """The memory of this machine, or of the container that limits us, in bytes."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            sizes.append(int(file.read_text(encoding="ascii")))
    return min(sizes)
