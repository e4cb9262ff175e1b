"""The versions of models that have run, kept in the state folder so that `headwater rollback` can bring one back.

versions/MODEL/NUMBER.sql    a file of `models/` as it was
versions/MODEL/versions.json which ran from when, oldest first
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from headwater.errors import UserError
from headwater.project.definition import Model
from headwater.project.state_file import write_atomically

FOLDER = "versions"
KEPT = 20


@dataclass(frozen=True)
class Version:
    """A version of a model.

    Attributes:
        number: from 1.
        fingerprint: `Model.fingerprint`.
        since_us: when it began to run, microseconds since 1970 UTC.
    """

    number: int
    fingerprint: str
    since_us: int


def models_digest(models: Iterable[Model]) -> str:
    """Stands for what all models compute and for their front matter."""
    parts = [[m.name, m.fingerprint, m.settings.model_dump(mode="json")] for m in sorted(models, key=lambda m: m.name)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def texts_of(models: Iterable[Model]) -> dict[str, str]:
    """By model, its file as it is; those that are gone left out."""
    found = {}
    for model in models:
        with suppress(OSError, UnicodeDecodeError):
            found[model.name] = Path(model.file).read_text(encoding="utf-8")
    return found


class Versions:
    """The versions of a project's models.

    Args:
        state: the state folder.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def of(self, model: str) -> list[Version]:
        """Those of a model, oldest first."""
        path = self._folder / model / "versions.json"
        try:
            return [Version(**one) for one in json.loads(path.read_text(encoding="utf-8"))["versions"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be understood: {error}", hint=f"remove {path.parent}") from error

    def keep(self, models: Iterable[Model], now_us: int, texts: Mapping[str, str] | None = None) -> None:
        """Keeps the files of models that run now, those whose fingerprint is another than the last one kept.

        Args:
            models: which run.
            now_us: from when, microseconds since 1970 UTC.
            texts: by model, its file as it was read; files not named are read now.

        Raises:
            StorageFailed: one could not be written.
        """
        for model in models:
            known = self.of(model.name)
            if known and known[-1].fingerprint == model.fingerprint:
                continue
            text = (texts or {}).get(model.name) or texts_of([model]).get(model.name)
            if text is None:
                continue  # a file that went a moment ago: there is nothing to keep
            number = known[-1].number + 1 if known else 1
            write_atomically(self._folder / model.name / f"{number}.sql", text)
            kept = [*known, Version(number, model.fingerprint, now_us)]
            gone, kept = kept[:-KEPT], kept[-KEPT:]
            contents = {"v": 1, "versions": [asdict(one) for one in kept]}
            write_atomically(self._folder / model.name / "versions.json", json.dumps(contents))
            for one in gone:
                (self._folder / model.name / f"{one.number}.sql").unlink(missing_ok=True)

    def text(self, model: str, version: Version) -> str:
        """The model's file as it was.

        Raises:
            UserError: it is gone.
        """
        path = self._folder / model / f"{version.number}.sql"
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"version {version.number} of {model!r} cannot be read: {error.strerror}") from error

    def before(self, model: str, running: str) -> Version:
        """The version that ran before the one with the fingerprint `running`.

        Raises:
            UserError: there is none.
        """
        known = self.of(model)
        while known and known[-1].fingerprint != running:
            known.pop()
        earlier = [one for one in known[:-1] if one.fingerprint != running]
        if not earlier:
            raise UserError(f"no version of {model!r} ran before the one that runs now", hint="headwater plan")
        return earlier[-1]
