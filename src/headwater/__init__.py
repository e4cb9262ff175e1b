"""Headwater: a streaming lakehouse that you `pip install`.

`headwater.View` is the engine on its own: a SELECT kept up to date while its inputs change. `headwater.udf` makes a
Python function one that SQL can call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.engine.view import View as View
    from headwater.sql.functions import udf as udf

__version__ = "0.1.0"
__all__ = ["View", "__version__", "udf"]


def __getattr__(name: str) -> object:
    """Loads the engine when it is asked for, so that `headwater --help` need not wait for it."""
    if name == "View":
        from headwater.engine.view import View

        return View
    if name == "udf":
        from headwater.sql.functions import udf

        return udf
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
