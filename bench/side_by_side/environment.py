"""What other engines need that Headwater does not: virtual environments of their own, and a JDK."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from side_by_side.engine import NotMeasured

_JDKS = (17, 21)
_INSTALL_S = 1800


def virtual_environment(folder: Path, lock: Path) -> Path:
    """A virtual environment with exactly what a lock file names, made anew when the file has changed.

    Args:
        folder: where it is.
        lock: pinned requirements with hashes.

    Returns:
        Its Python.

    Raises:
        NotMeasured: pip could not install it.
    """
    python, stamp = folder / "bin" / "python", folder / "installed.lock"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return python
    sys.stderr.write(f"Installing {lock} into {folder}: hundreds of megabytes, once.\n")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [python, *install, "-r", lock], capture_output=True, text=True, timeout=_INSTALL_S, check=False
    )
    if done.returncode:
        raise NotMeasured(f"pip could not install {lock}: {last_lines(done.stderr)}")
    shutil.copyfile(lock, stamp)
    return python


def site_packages(python: Path) -> Path:
    """Where the packages of a virtual environment are."""
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(found.stdout.strip())


def java_home() -> Path:
    """The folder of a JDK that the engines take, from JAVA_HOME or else of `javac` on the PATH.

    Raises:
        NotMeasured: there is none.
    """
    on_path = shutil.which("javac")
    candidates = [Path(home) for home in (os.environ.get("JAVA_HOME"),) if home]
    candidates += [Path(on_path).resolve().parents[1]] if on_path else []
    found = {home: version for home in candidates if (version := _jdk_version(home))}
    for home, version in found.items():
        if version in _JDKS:
            return home
    told = ", ".join(f"{home} is {version}" for home, version in found.items()) or "there is none"
    raise NotMeasured(
        f"needs a JDK {' or '.join(map(str, _JDKS))} with javac, in JAVA_HOME or on the PATH ({told}); "
        "a JRE is not enough, for the source is compiled here; on Debian: apt-get install openjdk-17-jdk-headless"
    )


def java_version(home: Path) -> str:
    """What the JDK calls itself."""
    done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[0]


def compiled(sources: Path, jars: list[Path], home: Path, builds: Path) -> Path:
    """Java classes of a folder of sources, with its service files, compiled once per content.

    Args:
        sources: a folder of packages; `META-INF` is copied.
        jars: what is compiled against.
        home: of the JDK.
        builds: the folder in which results are kept.

    Raises:
        NotMeasured: javac refused; a mistake in the sources, or other jars.
    """
    files = sorted(path for path in sources.rglob("*") if path.is_file())
    content = b"".join(path.read_bytes() for path in files) + "".join(jar.name for jar in jars).encode()
    target = builds / f"classes-{hashlib.sha256(content).hexdigest()[:12]}"
    if target.exists():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(sources, partial, ignore=shutil.ignore_patterns("*.java"))
    done = subprocess.run(
        [home / "bin" / "javac", "-nowarn", "-d", partial, "-cp", os.pathsep.join(map(str, jars)),
         *(path for path in files if path.suffix == ".java")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotMeasured(f"javac: {last_lines(done.stderr, 10)}")
    partial.rename(target)
    return target


def last_lines(text: str, count: int = 3) -> str:
    """The end of what a program wrote, in one line."""
    return " | ".join(text.strip().splitlines()[-count:])


def _jdk_version(home: Path) -> int | None:
    """The feature version of the JDK in a folder; None if it is not one with a compiler."""
    javac = home / "bin" / "javac"
    if not javac.is_file():
        return None
    told = subprocess.run([javac, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r"javac (\d+)", told.stdout + told.stderr)
    return int(found[1]) if found else None


def jars_of(pom: Path, folder: Path) -> list[Path]:
    """The jars that a Maven project depends on, copied into a folder once per content of its file.

    Raises:
        NotMeasured: there is no Maven, or it cannot get them.
    """
    stamp = folder / "installed.xml"
    if not (stamp.exists() and stamp.read_bytes() == pom.read_bytes()):
        program = shutil.which("mvn")
        if program is None:
            raise NotMeasured("needs Maven on the PATH; on Debian: apt-get install maven")
        sys.stderr.write(f"Copying what {pom} names into {folder}, once.\n")
        shutil.rmtree(folder, ignore_errors=True)
        command = [program, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        if done.returncode:
            raise NotMeasured(f"mvn could not get what {pom} names: {last_lines(done.stdout)}")
        shutil.copyfile(pom, stamp)
    return sorted(folder.glob("*.jar"))
