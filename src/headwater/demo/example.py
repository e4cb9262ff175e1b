"""The example project `shop`: where it is, and a copy of it to work in."""

from __future__ import annotations

import shutil
from pathlib import Path

from headwater.errors import UserError

URL_VARIABLE = "SHOP_URL"
"""Environment variable that the example takes its database's URL from."""


def example_folder() -> Path:
    """The example as it was installed with the package, or as it stands in the repository."""
    packaged = Path(__file__).parent / "example"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "examples" / "shop"


def copy_example(folder: Path) -> None:
    """Copies the example into `folder`, made if it is not there.

    Raises:
        UserError: something is in `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder", hint="give --dir a folder that does not exist yet")
    ignored = shutil.ignore_patterns(".headwater", "lake", "__pycache__")
    shutil.copytree(example_folder(), folder, ignore=ignored, dirs_exist_ok=True)
