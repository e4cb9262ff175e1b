"""Servers for tests that come as jars: copied from Maven once, with the small program that starts them compiled.

`make test` runs the modules that use this, so that a fresh machine sets all up by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from headwater.errors import UserError
from headwater.testing import debian

JAVA = Path(__file__).with_name("java")
_JDK = debian.Programs("openjdk-17-jdk-headless", Path("/usr/bin"), ("java", "javac"))
_MAVEN = debian.Programs("maven", Path("/usr/bin"), ("mvn",))


def installed(name: str, pom: Path, program: Path) -> Path:
    """The folder of the jars that `pom` asks for and of the compiled `program`, made first if it is not there.

    Args:
        name: of the folder, to which a digest of both files is added.
        pom: a Maven project without code.
        program: a Java class over its dependencies.

    Raises:
        UserError: it cannot be made.
    """
    content = hashlib.sha256(pom.read_bytes() + program.read_bytes()).hexdigest()[:12]
    target = Path.home() / ".cache" / "headwater" / f"{name}-{content}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _install(target, pom, program)
    return target


def _install(target: Path, pom: Path, program: Path) -> None:
    for programs in (_JDK, _MAVEN):
        if any(shutil.which(name) is None for name in programs.needed):
            debian.ensure(programs)
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    _run(["mvn", "-B", "-q", "-f", str(pom), *copy])
    _run(["javac", "-nowarn", "-cp", f"{partial}/*", "-d", str(partial), str(program)])
    partial.rename(target)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"{command[0]} failed: {(done.stderr + done.stdout).strip()[-800:]}",
            hint="some servers of the tests come from Maven: see mvn's settings",
        )
