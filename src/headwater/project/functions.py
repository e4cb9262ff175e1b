"""Reads `functions/*.py`: the project's own functions for SQL. They are the user's code and run in this process."""

from __future__ import annotations

import importlib.util
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from headwater.errors import Place, UserError
from headwater.project.mistakes import Mistakes
from headwater.sql.functions import Function

FOLDER = "functions"


class _Fresh(SourceFileLoader):
    """Compiles a file each time it is loaded: what Python keeps may be of an edit of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        """The file's code as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


def read_functions(folder: Path, mistakes: Mistakes) -> tuple[Function, ...]:
    """The functions of the project in `folder`, by name; files that cannot be loaded are left out and noted."""
    found: dict[str, Function] = {}
    for path in sorted((folder / FOLDER).glob("*.py")):
        module = None if path.name.startswith((".", "_")) else _load(path, mistakes)
        for function in vars(module).values() if module is not None else ():
            if not isinstance(function, Function) or function.place.file != str(path):
                continue
            other = found.setdefault(function.name, function)
            if other is not function:
                hint = f"the other is at {other.place}"
                mistakes.add(f"two functions are called {function.name}", place=function.place, hint=hint)
    return tuple(found[name] for name in sorted(found))


def _load(path: Path, mistakes: Mistakes) -> ModuleType | None:
    """Runs a file; None if that fails, which has then been noted."""
    name = f"headwater_functions_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except UserError as error:
        mistakes.add(error.message, place=error.place or Place(str(path)), hint=error.hint)
        return None
    except SyntaxError as error:
        mistakes.add(f"this is not Python: {error.msg}", place=Place(str(path), error.lineno or 1, error.offset or 1))
        return None
    except Exception as error:  # noqa: BLE001 the user's code may raise anything while it is loaded
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = Place(str(path), (lines[-1] if lines else 1) or 1, 1)
        mistakes.add(f"{type(error).__name__} while the file is loaded: {error}", place=place)
        return None
    return module
