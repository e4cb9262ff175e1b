"""Hatch's build hook: the console's page is in every wheel and sdist, built first where it is not there yet."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _npm(root: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("console_npm", Path(root) / "console" / "npm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ConsoleHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page before files are gathered. An editable installation leaves that to `make setup`."""

    def dependencies(self) -> list[str]:
        """What a build needs beside hatchling: node, where the page has still to be built."""
        npm = _npm(self.root)
        return [] if npm.built() else [npm.NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel or sdist is made."""
        if version != "editable" and _npm(self.root).build() != 0:
            raise SystemExit("the console could not be built; see above")
