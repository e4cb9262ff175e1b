"""The token of a web server that others can reach and that was given none: made once, kept in the state folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from headwater.errors import StorageFailed, UserError

FILE = "api.token"
_BYTES = 32


def kept_token(state: Path) -> SecretStr:
    """The token, which is made on first use; nobody but the file's owner can read it.

    Raises:
        UserError: the file holds none, or others may read it.
        StorageFailed: it cannot be written.
    """
    path = state / FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {path}: {error}", hint="free some space, or set `api: token:`") from error
    token = secrets.token_urlsafe(_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return SecretStr(token)


def _read(path: Path) -> SecretStr:
    hint = f"remove {path}, and the next start makes another; or set `api: token:`"
    if path.stat().st_mode & 0o077:
        raise UserError(f"others may read {path}, which holds the server's token", hint=f"chmod 600 {path}, or {hint}")
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if len(token) < _BYTES:
        raise UserError(f"{path} holds no token", hint=hint)
    return SecretStr(token)
