"""`headwater tables`: what is in the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.lake.table_format import Table


def tables(folder: Path = Path(), /, *, json: bool = False) -> int:
    """List the tables of the project in FOLDER with their columns and the epoch that each holds.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.serve.query import open_lake

    lake = open_lake(read_project(folder))
    found = [lake.open_table(name) for name in lake.names()]
    if json:
        output.print_json({"tables": [_as_json(table) for table in found]})
    else:
        for table in found:
            output.print_data(f"{table.spec.name}  {_key(table)}, epoch {_epoch(table)}")
            for field in table.spec.columns:
                output.print_data(f"    {field.name}  {field.type}")
    lake.close()
    return output.OK


def _key(table: Table) -> str:
    return f"key {', '.join(table.spec.key)}" if table.spec.key else "no key"


def _as_json(table: Table) -> dict[str, object]:
    columns = {field.name: str(field.type) for field in table.spec.columns}
    return {"name": table.spec.name, "key": list(table.spec.key), "epoch": _epoch(table), "columns": columns}


def _epoch(table: Table) -> int | None:
    committed = table.committed()
    return committed.epoch if committed else None
