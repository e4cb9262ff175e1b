"""`/v1/models`: the text of models: tried on live data, read, and saved to the project."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from headwater.api.problem import Problem
from headwater.console.endpoint import Call, Endpoint, missing
from headwater.console.shapes import models as shapes
from headwater.console.sql import passed
from headwater.durable import make_folder, replace_file
from headwater.project.definition import Project
from headwater.project.models import FOLDER, model_files
from headwater.project.setting import is_name

_writing = threading.Lock()
"""One model is written at a time: what a file was is compared and the file replaced as one step."""


async def preview(call: Call) -> bytes:
    """A model before it runs."""
    said = call.of(shapes.Draft)
    return passed(call, await call.room.ask("preview", sql=said.sql, name=said.name, limit=said.limit or 100))


def read(call: Call) -> shapes.ModelText:
    """Its text."""
    path = _file_of(call.running.project, call.path["name"])
    if path is None:
        raise missing("model", call.path["name"])
    text = _text(path)
    return shapes.ModelText(sql=text, digest=digest(text), path=_shown(call.running.project, path))


async def save(call: Call) -> bytes:
    """Checks a text and writes it.

    Raises:
        Problem: the name is none (400), the text has mistakes (400), or the file is not as it was read (409).
    """
    said, name = call.of(shapes.SavedText), call.path["name"]
    if not is_name(name):
        raise Problem(400, f"{name!r} cannot be a model's name", hint="lower-case letters, digits and _")
    _require_unchanged(_file_of(call.running.project, name), said.digest)
    passed(call, await call.room.ask("check", name=name, sql=said.sql))
    saved = await call.aside(_write, call.running.project, name, said)
    return saved.model_dump_json().encode()


def digest(text: str) -> str:
    """What tells one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(project: Project, name: str, said: shapes.SavedText) -> shapes.Saved:
    with _writing:
        path = _file_of(project, name)
        _require_unchanged(path, said.digest)
        path = path or project.folder / FOLDER / f"{name}.sql"
        make_folder(path.parent)
        replace_file(path, said.sql)
    return shapes.Saved(path=_shown(project, path), digest=digest(said.sql))


def _file_of(project: Project, name: str) -> Path | None:
    """The file of a model, which is found by listing the folder, so that no name leads out of it.

    Raises:
        Problem: it is a link to somewhere else.
    """
    found = next((path for path in model_files(project.folder) if path.stem == name), None)
    if found is not None and not found.resolve().is_relative_to((project.folder / FOLDER).resolve()):
        raise Problem(403, f"the file of model {name!r} lies outside of the project")
    return found


def _require_unchanged(path: Path | None, known: str | None) -> None:
    now = digest(_text(path)) if path is not None else None
    if now != known:
        detail = "the model was changed meanwhile" if known and now else "there is a model of that name"
        raise Problem(409, detail if now else "the model is gone", hint="read it again", digest=now)


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _shown(project: Project, path: Path) -> str:
    return path.relative_to(project.folder).as_posix()


ENDPOINTS = (
    Endpoint("POST", "/v1/models/preview", "A model on live data, before it runs.", shapes.ModelPreview,
             asks=shapes.Draft, wait=preview),
    Endpoint("GET", "/v1/models/{name}", "The text of a model.", shapes.ModelText, read),
    Endpoint("PUT", "/v1/models/{name}", "Checks the text of a model and saves it to the project.", shapes.Saved,
             asks=shapes.SavedText, wait=save),
)  # fmt: skip
