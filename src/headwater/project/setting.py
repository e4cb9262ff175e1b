"""What every class of settings is made from: their parent, names in them, and one entry in place of several."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

NAME_PATTERN = r"[a-z][a-z0-9_]{0,62}"


def is_name(text: str) -> bool:
    """Whether `text` can name a project, source or model."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def _check_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            "expected a name of lower-case letters, digits and _, beginning with a letter, 63 characters at most"
        )
    return text


def one_or_many(value: object) -> object:
    """A single entry as a list of one."""
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_check_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(one_or_many)]


class Settings(BaseModel):
    """Parent of all settings: frozen, no unknown keys, and no input in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
