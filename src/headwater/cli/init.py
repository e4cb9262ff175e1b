"""`headwater init`: writes a new project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from headwater.cli import output
from headwater.cli.as_json import as_json
from headwater.errors import Place, UserError

if TYPE_CHECKING:
    from headwater.schema import StreamSchema


@as_json
def init(
    directory: Path = Path(), /, *, url: Annotated[str | None, Parameter(name="--from")] = None, name: str | None = None
) -> int:
    """Write a new project: headwater.yml, a model, .gitignore and README.md.

    With --from the database is asked for its tables, and the project that is written works at once. Nothing is made in
    the database, and its URL is written nowhere: the project refers to an environment variable. No file is overwritten.

    Args:
        directory: The folder to write into; made if it is not there.
        url: A database to begin from, postgresql://user:password@host/database or mysql://user:password@host/database.
        name: Name of the project; the default is the folder's.
    """
    from headwater.project import starter
    from headwater.project.connectors import CONNECTORS, connector_of_url

    if (directory / "headwater.yml").exists():
        place = Place(str(directory / "headwater.yml"))
        raise UserError("there is a project here already", hint="choose another folder", place=place)
    project = starter.name_from(name or directory.absolute().name, "project")
    source = starter.name_from(_database(url), project)
    streams = _discover(url, project, source) if url is not None else ()
    kind = connector_of_url(url) if url is not None else CONNECTORS[0]
    for path in _write(directory, starter.files(project, source, kind, streams)):
        output.note(f"wrote {path}")
    if streams:
        _remember(directory, streams)
    shown = "<the URL that you gave>" if url is not None else kind.url
    _say_next(directory, starter.url_variable(source), shown, streams)
    return output.OK


def _database(url: str | None) -> str:
    """The database's name in a URL; empty if it is not said."""
    if url is None:
        return ""
    from headwater.project.connectors import connector_of_url

    connector_of_url(url)
    return urlsplit(url).path.strip("/")


def _discover(url: str, project: str, source: str) -> tuple[StreamSchema, ...]:
    """The streams of the database, once it has said that it can be captured."""
    from headwater.clock import SystemClock
    from headwater.project.connectors import connector_of_url, make_source, settings_class
    from headwater.project.definition import SourceDefinition

    kind = connector_of_url(url)
    settings = settings_class(kind).model_validate({"url": url})
    made = make_source(SourceDefinition(source, kind.type, settings), project, identity="", clock=SystemClock())
    for intention in made.check():
        output.note(f"{source}: {intention}")
    return tuple(made.discover())


def _write(directory: Path, files: dict[str, str]) -> list[Path]:
    """Writes what is not there yet; a .gitignore that is there gets the lines it lacks."""
    written = []
    for name, text in files.items():
        path = directory / name
        if path.exists() and name != ".gitignore":
            output.warn(f"{path} is there already and stays as it is")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_merged(path, text) if path.exists() else text, encoding="utf-8")
        written.append(path)
    return written


def _merged(path: Path, text: str) -> str:
    before = path.read_text(encoding="utf-8")
    lacking = [line for line in text.splitlines() if line not in before.splitlines()]
    return before + ("" if before.endswith("\n") or not before else "\n") + "".join(f"{line}\n" for line in lacking)


def _remember(directory: Path, streams: tuple[StreamSchema, ...]) -> None:
    """Keeps what the source said, so that the project can be checked while it is away."""
    from headwater.project.discovery import save_streams

    save_streams(directory / ".headwater", streams)


def _say_next(directory: Path, variable: str, url: str, streams: tuple[StreamSchema, ...]) -> None:
    folder = "" if directory == Path() else f" {directory}"
    found = f"{output.counted(len(streams), 'table')} found. " if streams else ""
    output.note(f"\n{found}Next:\n  export {variable}='{url}'\n  headwater check{folder}\n  headwater run{folder}")
