"""How commands open the project they are about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.project import Project

NOT_SET = "not-set"


def open_project(folder: Path) -> Project:
    """The project in `folder`, for a command that connects to its sources.

    Raises:
        ProjectError: with every mistake in it.
    """
    from headwater.project import load

    return load(folder, environment=os.environ)


def read_project(folder: Path) -> Project:
    """The project in `folder`, for a command that only reads what is on this disk: unset variables do not matter.

    Raises:
        ProjectError: with every mistake in it.
    """
    from headwater.project import load

    return load(folder, environment=_Lenient(os.environ))


class _Lenient(Mapping[str, str]):
    """An environment in which every variable has a value."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __getitem__(self, name: str) -> str:
        return self._environment.get(name) or NOT_SET

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)
