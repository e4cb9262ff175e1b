"""`headwater mirror`: tables of a database as live lake tables, with nothing prepared."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.errors import HeadwaterError
    from headwater.project import Project

URL_VARIABLE = "DATABASE_URL"
_TEMPLATE = """\
# Written by `headwater mirror`. This is an ordinary project: put SELECT statements into models/NAME.sql,
# set {variable}, and `headwater run` keeps them up to date as well.
name: {name}

sources:
  {name}:
    type: {kind}
    url: ${{{variable}}}
    tables: [{tables}]

lake:
  warehouse: lake
"""


def mirror(
    url: str,
    /,
    *,
    tables: list[str] | None = None,
    to: Path | None = None,
    once: bool = False,
    json: bool = False,
) -> int:
    """Mirror the tables of a PostgreSQL, MySQL or MariaDB database into a lake folder, live, until Ctrl-C.

    Needs no project. Looks first whether the database can be captured and says what it will make there. Running it
    again goes on where it stopped.

    Args:
        url: The database, as postgresql://user:password@host/database or mysql://user:password@host/database.
        tables: Patterns on schema.table (of MySQL database.table) with * and ?; a leading ! excludes. By default all of
            schema public, or of the url's database.
        to: Folder for the lake; by default one with the database's name.
        once: Stop when the tables hold what the database holds now.
        json: Print one JSON object when it has stopped; nothing else is said meanwhile.
    """
    if json:
        with output.gathered() as said:
            code = _mirror(url, tables, to, once)
        output.print_json({"code": code, **said.as_dict()})
        return code
    return _mirror(url, tables, to, once)


def _mirror(url: str, tables: list[str] | None, to: Path | None, once: bool) -> int:
    folder = to if to is not None else Path(project_name(url))
    project = _open(folder, url, tables)
    _announce(project)
    error = _run(project, once)
    if error is None:
        _suggest(project)
        return output.OK
    output.print_error(error)
    return output.exit_code(error)


def project_name(url: str) -> str:
    """A project name made of the database's name in `url`.

    Raises:
        UserError: `url` is not a connection URL.
    """
    from urllib.parse import unquote, urlsplit

    from headwater.project.connectors import connector_of_url

    connector_of_url(url)
    named = re.search(r"\bdbname\s*=\s*'?([^\s']+)", url)
    database = named.group(1) if named else unquote(urlsplit(url).path.strip("/")) or "mirror"
    name = re.sub(r"[^a-z0-9_]+", "_", database.lower())[:50].strip("_")
    return name if re.match(r"[a-z]", name) else f"mirror_{name}".rstrip("_")


def _open(folder: Path, url: str, tables: list[str] | None) -> Project:
    """The project in `folder`, written first if there is none. The URL, which may hold a password, is written nowhere.

    Raises:
        UserError: the folder mirrors other tables, or is something else.
    """
    from headwater.errors import UserError
    from headwater.project import load
    from headwater.project.connectors import connector_of_url

    file = folder / "headwater.yml"
    if not file.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} is not an empty folder", hint="give another one: --to DIR")
        folder.mkdir(parents=True, exist_ok=True)
        kind = connector_of_url(url)
        listed = ", ".join(dumps(table) for table in tables or [kind.tables])
        text = _TEMPLATE.format(name=project_name(url), kind=kind.type, variable=URL_VARIABLE, tables=listed)
        file.write_text(text, encoding="utf-8")
    project = load(folder, environment={**os.environ, URL_VARIABLE: url})
    there = [getattr(source.settings, "tables", ()) for source in project.sources]
    if tables and there != [tuple(tables)]:
        raise UserError(f"{file} says to mirror other tables", hint="edit it, or give another folder: --to DIR")
    return project


def _announce(project: Project) -> None:
    """Says what the database will be asked to make and which tables will be mirrored.

    Raises:
        SourceStopped, SourceUnavailable: it cannot be captured.
        UserError: there is nothing to mirror.
    """
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.project.connectors import make_source
    from headwater.runtime.identity import state_identity

    for definition in project.sources:
        source = make_source(definition, project.name, state_identity(project.state), SystemClock())
        streams = source.discover()
        if not streams:
            raise UserError("no table matches", hint="--tables 'schema.*'; patterns know * and ?")
        for sentence in source.check():
            output.note(f"  {sentence}")
        for stream in streams:
            key = f"key {', '.join(stream.key)}" if stream.key else "no key, every row is kept"
            output.note(f"  {stream.name}: {output.counted(len(stream.columns), 'column')}, {key}")
    output.note(f"  into {_warehouse(project)}; Ctrl-C stops, running this again goes on")


def _run(project: Project, once: bool) -> HeadwaterError | None:
    from rich.console import Console

    from headwater.demo.live import LiveView
    from headwater.runtime.journal import Journal
    from headwater.runtime.supervisor import Supervisor

    console = Console(stderr=True)
    with LiveView(console, "headwater mirror") as view, open(project.state / "run.log", "a", encoding="utf-8") as log:
        journal = Journal(log if console.is_terminal else None)
        supervisor = Supervisor(project, journal, once=once, watch=view.show)
        supervisor.stop_on_signals()
        return supervisor.run()


def _suggest(project: Project) -> None:
    from headwater.project.connectors import connector

    table = next(iter(sorted(_tables(project))), "TABLE")
    output.note(f"  The tables are in {_warehouse(project)}. Ask them things, while this runs or after:")
    output.note(f"    cd {project.folder}")
    output.note("    headwater tables")
    output.note(f'    headwater query "FROM {table} LIMIT 10"')
    output.note("  That folder is a project: put SELECT statements into models/NAME.sql there, then")
    kind = connector(project.sources[0].type)
    scheme = kind.schemes[0] if kind is not None and kind.schemes else "postgresql"
    output.note(f"    {URL_VARIABLE}={scheme}://... headwater run")


def _tables(project: Project) -> Sequence[str]:
    from headwater.serve.query import open_lake

    lake = open_lake(project)
    try:
        return lake.names()
    finally:
        lake.close()


def _warehouse(project: Project) -> str:
    return project.lake.warehouse
