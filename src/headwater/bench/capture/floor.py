"""The floor: `pg_recvlogical`, PostgreSQL's own reader in C, which writes the bytes of the same stream to a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from headwater.bench.capture.backlog import Backlog
from headwater.bench.child import Figures
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import SystemClock

NAME = "pg_recvlogical"


def receive(waiting: Backlog, publication: str, slot: str, file: Path, timeout_s: float) -> Figures:
    """Reads the backlog into a file, with an fsync a second.

    Args:
        waiting: what to read.
        publication: the tables.
        slot: from where.
        file: to write.
        timeout_s: when it is killed.

    Returns:
        rows, seconds, cpu_s and bytes, as `drain.drain` has them; or `error`.
    """
    command = [
        str(waiting.programs / NAME), "-d", waiting.url, "--slot", slot, "--start", "-f", str(file),
        "--endpos", waiting.end, "--no-loop", "--fsync-interval", "1",
        "-o", "proto_version=1", "-o", f"publication_names={publication}",
    ]  # fmt: skip
    watch = Stopwatch(SystemClock())
    try:
        with watch:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {timeout_s:,.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-300:]}
    return {"rows": waiting.rows, "seconds": watch.seconds, "bytes": file.stat().st_size}
