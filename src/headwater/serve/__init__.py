"""Reading what a project keeps: SQL over its tables, one table for programs, and what each epoch changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.serve.table import LakeTable, open_table

__all__ = ["LakeTable", "open_table"]


def __getattr__(name: str) -> Any:
    """`open_table` brings PyIceberg and DuckDB, which who only asks how a run stands does not need."""
    if name in __all__:
        from headwater.serve import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
