"""`headwater tables`: what is in the lake, and each table's past."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from headwater.lake.moment import Moment, TableSnapshot
    from headwater.lake.table_format import Lake, Table
    from headwater.project import Project

app = App(name="tables", help="List the tables in the lake, and look into their past.")
tag_app = App(name="tag", help="Name moments of a table, so that they are kept.")
branch_app = App(name="branch", help="Name moments of a table that other engines may write on from.")
app.command(tag_app)
app.command(branch_app)


@app.default
def ls(folder: Path = Path(), /, *, json: bool = False) -> int:
    """List the tables of the project in FOLDER with their columns and the epoch that each holds.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    with _lake(folder) as lake:
        found = [lake.open_table(name) for name in lake.names()]
        if json:
            output.print_json({"tables": [_as_json(table) for table in found]})
            return output.OK
        for table in found:
            committed = table.committed()
            held = f", {committed.held}" if committed and committed.held else ""
            output.print_data(f"{table.spec.name}  {_key(table)}, epoch {_epoch(table)}{held}")
            for field in table.spec.columns:
                output.print_data(f"    {field.name}  {field.type}")
    return output.OK


app.command(ls, name="ls")


@app.command
def history(table: str, folder: Path = Path(), /, *, limit: int = 50, json: bool = False) -> int:
    """List the table snapshots that are kept, newest first: when, which epoch, how far in each source, what changed.

    Args:
        table: The table.
        folder: The project's folder.
        limit: Most snapshots that are listed.
        json: Print one JSON object.
    """
    with _lake(folder) as lake:
        kept = lake.open_table(table).snapshots()
    shown = kept[:limit]
    if json:
        output.print_json({"table": table, "snapshots": [vars(one) for one in shown]})
        return output.OK
    output.print_table(
        ["snapshot", "time", "epoch", "operation", "added", "deleted", "rows", "files", "positions", "named"],
        [_history_row(one) for one in shown],
    )
    if len(kept) > limit:
        output.note(f"{limit} of {len(kept)} snapshots; --limit shows more")
    return output.OK


def _history_row(one: TableSnapshot) -> list[str]:
    from headwater.lake.moment import time_text

    numbers = [one.rows_added, one.rows_deleted, one.rows, one.files]
    positions = {
        name.removeprefix("source.").removesuffix(".position"): value
        for name, value in one.properties.items()
        if name.endswith(".position")
    }
    return [
        f"{one.snapshot}{'*' if one.current else ''}",
        time_text(one.committed_at_us),
        "" if one.epoch is None else str(one.epoch),
        "maintenance" if one.maintenance else one.operation,
        *("" if number is None else f"{number:,}" for number in numbers),
        " ".join(f"{source}:{position}" for source, position in positions.items()),
        " ".join(one.refs),
    ]


@app.command
def diff(
    table: str, before: str, after: str = "now", folder: Path = Path(), /, *, limit: int = 100, json: bool = False
) -> int:
    """Show what changed in a table between two moments: counts, then rows with their weight, -1 gone and +1 come.

    Rows that compaction only moved to other files are left out. Moments are written as for `headwater query --at`.

    Args:
        table: The table.
        before: The earlier moment.
        after: The later one.
        folder: The project's folder.
        limit: Most rows that are printed; with --json all are.
        json: Print one JSON object.
    """
    from headwater.runtime.rewind import differences
    from headwater.serve.moments import printable

    with _lake(folder) as lake:
        opened = lake.open_table(table)
        until = None if after.strip().lower() == "now" else _moment(after)
        found = differences(opened, _moment(before), until)
        key = [name for name in opened.spec.key if name in found.delta.column_names]
    delta = printable(found.delta.sort_by([(name, "ascending") for name in (*key, "_weight")]))
    counts = {"added": found.added, "removed": found.removed, "updated": found.updated}
    if json:
        print(dumps({"v": 1, "table": table, **counts, "rows": delta.to_pylist()}, default=str, ensure_ascii=False))
        return output.OK
    output.print_data(", ".join(f"{count:,} {what}" for what, count in counts.items()))
    names = ["_weight", *(name for name in delta.column_names if name != "_weight")]
    rows = delta.select(names).slice(0, limit).to_pylist()
    output.print_table(names, [[f"{row['_weight']:+}", *(str(row[name]) for name in names[1:])] for row in rows])
    if delta.num_rows > limit:
        output.note(f"{limit} of {delta.num_rows:,} rows; --limit shows more")
    return output.OK


@app.command
@as_json
def rollback(
    table: str,
    folder: Path = Path(),
    /,
    *,
    to: str | None = None,
    to_position: int | None = None,
    into: str | None = None,
) -> int:
    """Put a table back to what it held at a moment, or write what a mirror held at a source position into a new table.

    A table that the project feeds can only be rolled back while the project is stopped. It is left alone from then on,
    while all others go on, until `headwater tables resume TABLE`, after which the next run builds it anew.

    Args:
        table: The table.
        folder: The project's folder.
        to: The moment, written as for `headwater query --at`.
        to_position: A commit of the source, as `headwater tables history` shows positions: the rows after exactly it.
        into: With --to-position, the new table.
    """
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.runtime.rewind import rewind, roll_back

    project = _project(folder)
    if (to is None) == (to_position is None) or (to_position is None) != (into is None):
        raise UserError("say where to go back to", hint="--to MOMENT, or --to-position N --into NEW_TABLE")
    if to_position is not None and into is not None:
        rewind(project, table, to_position, into, SystemClock())
        output.print_data(f"{into}: {table} as of position {to_position}")
        return output.OK
    done = roll_back(project, table, _moment(to or ""), SystemClock())
    output.print_data(f"{table} is rolled back to snapshot {done.snapshot}")
    if done.held:
        output.note(f"the pipeline leaves it alone until: headwater tables resume {table}")
    return output.OK


@app.command
@as_json
def resume(table: str, folder: Path = Path(), /) -> int:
    """Let the pipeline feed a table again that was rolled back; its next start builds it anew.

    Args:
        table: The table.
        folder: The project's folder.
    """
    from headwater.clock import SystemClock
    from headwater.runtime.rewind import resume as release

    running = release(_project(folder), table, SystemClock())
    output.print_data(f"{table} is built anew at the next start of the project")
    if running:
        output.note("the project runs: stop it and start it again (headwater run)")
    return output.OK


def _make(kind: str, table: str, name: str, at: str | None, folder: Path) -> int:
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.lake.iceberg.past import resolve
    from headwater.lake.iceberg.refs import set_ref
    from headwater.runtime.rewind import iceberg, open_for_change

    lake = open_for_change(_project(folder), SystemClock())
    try:
        handle = iceberg(lake.open_table(table)).handle
        snapshot = resolve(handle.load().metadata, None if at is None else _moment(at), table)
        if snapshot is None:
            raise UserError(f"table {table!r} has no rows to name yet", hint=f"headwater tables history {table}")
        set_ref(handle, kind, name, snapshot)
    finally:
        lake.close()
    output.print_data(f"{kind} {name} of {table}: snapshot {snapshot.snapshot_id}")
    return output.OK


def _remove(table: str, name: str, folder: Path) -> int:
    from headwater.clock import SystemClock
    from headwater.lake.iceberg.refs import remove_ref
    from headwater.runtime.rewind import iceberg, open_for_change

    lake = open_for_change(_project(folder), SystemClock())
    try:
        remove_ref(iceberg(lake.open_table(table)).handle, name)
    finally:
        lake.close()
    return output.OK


def _list(kind: str, table: str, folder: Path, json: bool) -> int:
    from headwater.lake.iceberg.refs import refs_of
    from headwater.runtime.rewind import iceberg

    with _lake(folder) as lake:
        found = [ref for ref in refs_of(iceberg(lake.open_table(table)).handle.load()) if ref[1] == kind]
    if json:
        output.print_json({"table": table, kind: {name: snapshot for name, _, snapshot in found}})
    else:
        output.print_table(["name", "snapshot"], [[name, str(snapshot)] for name, _, snapshot in found])
    return output.OK


@tag_app.command(name="make")
@as_json
def tag_make(table: str, name: str, folder: Path = Path(), /, *, at: str | None = None) -> int:
    """Name a moment of a table: it is kept until the tag is removed, and can be read with --at "tag NAME".

    Args:
        table: The table.
        name: The tag; one that is there is moved.
        folder: The project's folder.
        at: The moment, written as for `headwater query --at`; now, if not given.
    """
    return _make("tag", table, name, at, folder)


@tag_app.command(name="ls")
def tag_ls(table: str, folder: Path = Path(), /, *, json: bool = False) -> int:
    """List a table's tags.

    Args:
        table: The table.
        folder: The project's folder.
        json: Print one JSON object.
    """
    return _list("tag", table, folder, json)


@tag_app.command(name="remove")
@as_json
def tag_remove(table: str, name: str, folder: Path = Path(), /) -> int:
    """Remove a tag; what it named can be expired from then on.

    Args:
        table: The table.
        name: The tag.
        folder: The project's folder.
    """
    return _remove(table, name, folder)


@branch_app.command(name="make")
@as_json
def branch_make(table: str, name: str, folder: Path = Path(), /, *, at: str | None = None) -> int:
    """Begin a branch at a moment of a table, for other engines to write to; the pipeline never does.

    Args:
        table: The table.
        name: The branch; one that is there is moved.
        folder: The project's folder.
        at: The moment, written as for `headwater query --at`; now, if not given.
    """
    return _make("branch", table, name, at, folder)


@branch_app.command(name="ls")
def branch_ls(table: str, folder: Path = Path(), /, *, json: bool = False) -> int:
    """List a table's branches besides main.

    Args:
        table: The table.
        folder: The project's folder.
        json: Print one JSON object.
    """
    return _list("branch", table, folder, json)


@branch_app.command(name="remove")
@as_json
def branch_remove(table: str, name: str, folder: Path = Path(), /) -> int:
    """Remove a branch.

    Args:
        table: The table.
        name: The branch.
        folder: The project's folder.
    """
    return _remove(table, name, folder)


@contextmanager
def _lake(folder: Path) -> Iterator[Lake]:
    """The project's lake, for reading."""
    from headwater.serve.query import open_lake

    lake = open_lake(_project(folder))
    try:
        yield lake
    finally:
        lake.close()


def _project(folder: Path) -> Project:
    from headwater.cli.opening import read_project

    return read_project(folder)


def _moment(text: str) -> Moment:
    from headwater.clock import SystemClock
    from headwater.serve.moment_text import parse_moment

    return parse_moment(text, SystemClock().now_us())


def _key(table: Table) -> str:
    return f"key {', '.join(table.spec.key)}" if table.spec.key else "no key"


def _as_json(table: Table) -> dict[str, object]:
    committed = table.committed()
    columns = {field.name: str(field.type) for field in table.spec.columns}
    held = committed.held if committed else None
    return {
        "name": table.spec.name, "key": list(table.spec.key), "epoch": _epoch(table), "held": held, "columns": columns
    }  # fmt: skip


def _epoch(table: Table) -> int | None:
    committed = table.committed()
    return committed.epoch if committed else None
