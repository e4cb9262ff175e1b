"""What tells a state folder from a copy of the project."""

from __future__ import annotations

import secrets
from pathlib import Path

from headwater.project.state_file import write_atomically


def state_identity(state: Path) -> str:
    """Eight hex digits that tell this state folder from others; made on first use, durable when this returns."""
    path = state / "identity"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4))
    return path.read_text(encoding="ascii").strip()


def index_folder(state: Path) -> Path:
    """Where the key indexes of the lake's tables are kept."""
    return state / "index"
