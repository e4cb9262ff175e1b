"""`headwater lineage`: where the columns of models come from, and what hangs on a column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.govern.lineage import Origin, ProjectLineage


def lineage(of: str = "", folder: Path = Path(), /, *, uses: bool = False, json: bool = False) -> int:
    """Show where the columns of models come from, through all models between, down to the sources' streams.

    It is read from the SQL and from the columns that the streams had when last asked; nothing is run.

    Args:
        of: A model, one of its columns as MODEL.COLUMN, or all models. With --uses also a stream or STREAM.COLUMN.
        folder: The project's folder.
        uses: Show the other way: what would change if this column did.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.govern.lineage import lineage_of

    known = lineage_of(read_project(folder))
    name, _, column = of.partition(".")
    wanted = _wanted(known, name, column, uses)
    if uses:
        _uses([(node, one, known.uses_of(node, one)) for node, one in wanted], json)
    elif json:
        entries = [_entry(known, node, one) for node, one in wanted]
        output.print_json({"columns": entries, "rows": _rows(known, name), "unknown": dict(known.unknown)})
    else:
        _print(known, wanted, column)
    return output.OK


def _wanted(known: ProjectLineage, name: str, column: str, uses: bool) -> list[tuple[str, str]]:
    """The columns that are asked for, each with its node.

    Raises:
        UserError: there is no such model, stream or column.
    """
    from headwater.errors import UserError
    from headwater.project.mistakes import did_you_mean

    nodes = {f"model:{model}": list(one.columns) for model, one in known.models.items()}
    if uses:
        nodes |= {f"stream:{stream}": list(columns.names) for stream, columns in known.streams.items()}
    if name in known.unknown:
        raise UserError(f"the lineage of {name!r} is not known: {known.unknown[name]}", hint="headwater check")
    chosen = {node: columns for node, columns in nodes.items() if not name or node.partition(":")[2] == name}
    if not chosen and name:
        hint = did_you_mean(name, [node.partition(":")[2] for node in nodes])
        raise UserError(f"there is no {'model or stream' if uses else 'model'} {name!r}", hint=hint)
    listed = [(node, one) for node, columns in chosen.items() for one in columns if column in ("", one)]
    if column and not listed:
        hint = did_you_mean(column, [one for columns in chosen.values() for one in columns])
        raise UserError(f"{name!r} has no column {column!r}", hint=hint)
    return listed


def _uses(rows: Sequence[tuple[str, str, Sequence[Origin]]], json: bool) -> None:
    if json:
        listed = [{"node": node, "column": column, "uses": _told(origins)} for node, column, origins in rows]
        output.print_json({"columns": listed})
        return
    lines = [line for node, column, origins in rows for line in _lines(f"{_plain(node)}.{column}", origins)]
    output.print_table(("COLUMN", "CHANGES", "HOW"), lines)


def _print(known: ProjectLineage, wanted: Sequence[tuple[str, str]], column: str) -> None:
    lines: list[tuple[str, str, str]] = []
    for node, one in wanted:
        model = known.models[_plain(node)]
        lines += _lines(f"{model.model}.{one}", model.columns[one])
        if one == list(model.columns)[-1] and not column:
            lines += _lines(f"{model.model} (which rows)", model.rows)
        ends = known.sources_of(model.model, one)
        if column and ends != model.columns[one]:
            lines += _lines("in the end", ends)
    output.print_table(("COLUMN", "COMES OF", "HOW"), lines)
    for name, why in known.unknown.items():
        output.warn(f"{name}: {why}", "headwater check")


def _lines(first: str, origins: Sequence[Origin]) -> list[tuple[str, str, str]]:
    shown: list[tuple[str, str]] = [(f"{_plain(one.node)}.{one.column}", one.how) for one in origins] or [
        ("nothing", "")
    ]
    return [(first if number == 0 else "", name, how) for number, (name, how) in enumerate(shown or [("nothing", "")])]


def _entry(known: ProjectLineage, node: str, column: str) -> dict[str, object]:
    model = known.models[_plain(node)]
    ends = known.sources_of(model.model, column)
    return {"node": node, "column": column, "from": _told(model.columns[column]), "sources": _told(ends)}


def _rows(known: ProjectLineage, name: str) -> list[dict[str, object]]:
    return [{"node": f"model:{m}", "from": _told(one.rows)} for m, one in known.models.items() if name in ("", m)]


def _told(origins: Iterable[Origin]) -> list[dict[str, str]]:
    return [{"node": one.node, "column": one.column, "how": one.how} for one in origins]


def _plain(node: str) -> str:
    return node.partition(":")[2]
