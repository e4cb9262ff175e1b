"""Server programs for tests that come as Debian packages: found if they are there, installed if not.

`make test` runs this module, so that a fresh machine sets all up by itself. No package starts a service: the tests
start what they need in folders of their own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import UserError

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICE = "#!/bin/sh\nexit 101\n"
"""Asked by every package's installation whether it may start its service; 101 forbids it."""


@dataclass(frozen=True)
class Programs:
    """What a test needs of a package.

    Attributes:
        package: the Debian package's name.
        folder: where its programs are.
        needed: the programs that must be there.
    """

    package: str
    folder: Path
    needed: tuple[str, ...]

    @property
    def there(self) -> bool:
        """Whether all of them are installed."""
        return all((self.folder / name).exists() for name in self.needed)


CHROMIUM = Programs("chromium", Path("/usr/bin"), ("chromium",))
MARIADB = Programs("mariadb-server-core", Path("/usr/sbin"), ("mariadbd", "../bin/mariadb-install-db"))
POSTGRES_15 = Programs("postgresql-15", Path("/usr/lib/postgresql/15/bin"), ("postgres", "initdb", "pg_recvlogical"))
PGBOUNCER = Programs("pgbouncer", Path("/usr/sbin"), ("pgbouncer",))
RABBITMQ = Programs("rabbitmq-server", Path("/usr/lib/rabbitmq/lib"), ("../bin/rabbitmq-server", "../../../bin/epmd"))
REDIS = Programs("redis-server", Path("/usr/bin"), ("redis-server",))
ALL = (CHROMIUM, MARIADB, POSTGRES_15, PGBOUNCER, RABBITMQ, REDIS)


def ensure(programs: Programs) -> Path:
    """The folder of `programs`, which are installed first if they are missing and we are root.

    Raises:
        UserError: they are missing and cannot be installed; the hint is the command to run.
    """
    if not programs.there:
        with _alone():
            if not programs.there:
                _install(programs)
    return programs.folder


def _install(programs: Programs) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", programs.package]
    hint = f"run: sudo {' '.join(command)}"
    if shutil.which("apt-get") is None:
        raise UserError(
            f"the programs of {programs.package} are missing in {programs.folder}, and this is no Debian",
            hint=f"put them (or links to them) there: {', '.join(programs.needed)}",
        )
    if os.geteuid() != 0:
        raise UserError(f"the tests need the package {programs.package}", hint=hint)
    with _no_services():
        done = _run(command)
        if done.returncode != 0:
            _run(["apt-get", "update"])
            done = _run(command)
    if done.returncode != 0 or not programs.there:
        raise UserError(f"{programs.package} could not be installed: {done.stderr.strip()[-500:]}", hint=hint)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@contextmanager
def _alone() -> Iterator[None]:
    """One process installs at a time: the workers of a test run come here together."""
    with open(Path(tempfile.gettempdir()) / "headwater-apt.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_services() -> Iterator[None]:
    if _POLICY.exists():  # the machine has a policy of its own
        yield
        return
    _POLICY.write_text(_NO_SERVICE)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def main() -> int:
    """Ensures all that the test suite needs; what is missing is said, and the tests that need it fail by name."""
    for programs in ALL:
        try:
            ensure(programs)
        except UserError as error:
            sys.stderr.write(f"{error}\n  {error.hint}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
