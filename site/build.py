"""Builds docs/ as a site in build/site: `make site`. Nothing is fetched.

The pages are plain Markdown that reads well where it lies, so they link to files beside docs/ as well. A copy is
staged for the generator in which README.md is the index, pages outside of docs/ that are linked to are pages of the
site, and links to anything else outside are text.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS, BUILD = ROOT / "docs", ROOT / "build"
STAGE = BUILD / "stage"
LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\]\[]|\[[^\]]*\])+)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)


def staged(page: Path) -> Path:
    """Where a page of the repository lies in the stage."""
    if page.is_relative_to(DOCS):
        inside = page.relative_to(DOCS)
    else:
        inside = Path("repository") / page.relative_to(ROOT)
    return inside.with_name("index.md") if inside.name == "README.md" else inside


class Stage:
    """The copy that the generator reads."""

    def __init__(self) -> None:
        self.pages: set[Path] = set()

    def fill(self) -> None:
        """Makes it anew."""
        shutil.rmtree(STAGE, ignore_errors=True)
        for file in sorted(DOCS.rglob("*")):
            if file.is_file() and file.suffix != ".md":
                (STAGE / file.relative_to(DOCS)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, STAGE / file.relative_to(DOCS))
        for page in sorted(DOCS.rglob("*.md")):
            self.add(page)

    def add(self, page: Path) -> None:
        """Adds a page, and those outside of docs/ that it leads to."""
        if page in self.pages:
            return
        self.pages.add(page)
        out = STAGE / staged(page)
        out.parent.mkdir(parents=True, exist_ok=True)
        parts = FENCE.split(page.read_text(encoding="utf-8"))
        out.write_text(
            "".join(part if part.startswith("```") else self._linked(page, part) for part in parts), encoding="utf-8"
        )

    def _linked(self, page: Path, text: str) -> str:
        return LINK.sub(lambda found: self._link(page, found["text"], found["target"]), text)

    def _link(self, page: Path, text: str, target: str) -> str:
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return f"[{text}]({target})"
        to = (page.parent / path).resolve()
        if to.is_relative_to(DOCS) and to.is_file() and to.suffix != ".md":
            return f"[{text}]({target})"
        if to.suffix != ".md" or not to.is_file():
            return text
        self.add(to)
        up = "../" * (len(staged(page).parts) - 1)
        return f"[{text}]({up}{staged(to).as_posix()}{mark}{anchor})"


def configuration(pages: list[str]) -> str:
    """The generator's, with the pages that its navigation does not name."""
    text = (ROOT / "site" / "zensical.toml").read_text(encoding="utf-8")
    nav = tomllib.loads(text)["project"]["nav"]
    named = {page for entry in nav for part in entry.values() for page in ([part] if isinstance(part, str) else part)}
    wrong = named - set(pages)
    if wrong:
        raise SystemExit(f"site/zensical.toml names pages that are not there: {', '.join(sorted(wrong))}")
    more = [page for page in pages if page not in named and not page.startswith(("decisions/", "repository/"))]
    return text.replace('    { "More" = [] },\n', f'    {{ "More" = {json.dumps(more)} }},\n' if more else "")


def main() -> int:
    """Builds the site; returns the exit code."""
    stage = Stage()
    stage.fill()
    pages = sorted(staged(page).as_posix() for page in stage.pages)
    (BUILD / "zensical.toml").write_text(configuration(pages), encoding="utf-8")
    command = [Path(sys.executable).parent / "zensical", "build", "--clean"]
    return subprocess.run(command, cwd=BUILD, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
