"""Headwater: a streaming lakehouse that you `pip install`.

`headwater.View` is the engine on its own: a SELECT kept up to date while its inputs change. `headwater.udf` makes a
Python function one that SQL can call, `headwater.geoip` one that says where an IP address is, and
`headwater.source` makes a generator a source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.capture.python.user_code import source as source
    from headwater.engine.view import View as View
    from headwater.sql.functions import udf as udf
    from headwater.sql.geoip import geoip as geoip

__version__ = "0.1.0"
__all__ = ["View", "__version__", "geoip", "source", "udf"]


def __getattr__(name: str) -> object:
    """Loads the engine when it is asked for, so that `headwater --help` need not wait for it."""
    if name == "View":
        from headwater.engine.view import View

        return View
    if name == "udf":
        from headwater.sql.functions import udf

        return udf
    if name == "geoip":
        from headwater.sql.geoip import geoip

        return geoip
    if name == "source":
        from headwater.capture.python.user_code import source

        return source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
