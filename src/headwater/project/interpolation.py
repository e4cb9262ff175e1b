"""Fills `${...}` references in the values of `headwater.yml`.

| written | becomes |
|---|---|
| `${NAME}` | the environment variable; a mistake if it is not set or empty |
| `${NAME:-default}` | the default when it is not set or empty |
| `${file:/run/secrets/x}` | the file's text without its last line end; relative paths count from the project's folder |
| `$${` | a plain `${` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from headwater.errors import Place
from headwater.project.mistakes import Mistakes, did_you_mean

_REFERENCE = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<body>[^}\n]*)(?P<end>\}?)")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class Interpolator:
    """Looks references up.

    Args:
        environment: environment variables.
        folder: what relative `${file:...}` paths count from.
        mistakes: takes references that lead nowhere.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, mistakes: Mistakes) -> None:
        self._environment = environment
        self._folder = folder
        self._mistakes = mistakes
        self.substituted: set[str] = set()
        """Values that came from outside the file; no message may show them."""

    def expand(self, text: str, place: Place, exact: bool) -> str | None:
        """`text` with its references filled in; None if one could not be, which has then been noted.

        Args:
            text: a scalar of the file.
            place: where it begins.
            exact: the text stands in the file as it is, so that columns may be counted.
        """
        if "${" not in text:
            return text
        parts: list[str] = []
        end, failed = 0, False
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            at = Place(place.file, place.line, place.column + match.start()) if exact and "\n" not in text else place
            value = self._value(match, at)
            failed |= value is None
            parts.append(value or "")
        return None if failed else "".join([*parts, text[end:]])

    def _value(self, match: re.Match[str], place: Place) -> str | None:
        if match["escape"]:
            return "${"
        if not match["end"]:
            self._mistakes.add("this `${` has no `}`", place=place, hint="write $${ for a plain ${")
            return None
        if match["body"].startswith("file:"):
            return self._file(match["body"].removeprefix("file:"), place)
        variable = _VARIABLE.fullmatch(match["body"])
        if variable is None:
            hint = "use ${NAME}, ${NAME:-default} or ${file:PATH}; write $${ for a plain ${"
            self._mistakes.add("this is not a reference", place=place, hint=hint)
            return None
        return self._variable(variable["name"], variable["default"], place)

    def _variable(self, name: str, default: str | None, place: Place) -> str | None:
        value = self._environment.get(name, "")
        if value:
            self.substituted.add(value)
            return value
        if default is not None:
            return default
        state = "empty" if name in self._environment else "not set"
        near = did_you_mean(name, self._environment) if state == "not set" else ""
        hint = f"export {name}=..., or give a default: ${{{name}:-default}}"
        if near.startswith("did you mean"):
            hint = f"{near} Or {hint}"
        self._mistakes.add(f"the environment variable {name} is {state}", place=place, hint=hint)
        return None

    def _file(self, name: str, place: Place) -> str | None:
        path = self._folder / Path(name).expanduser()
        try:
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._mistakes.add(f"cannot read {path}: {reason}", place=place, hint="make the file or correct its name")
            return None
        if not value:
            self._mistakes.add(f"{path} is empty", place=place, hint="write the value into the file")
            return None
        self.substituted.add(value)
        return value
