"""`--json` for commands that speak in sentences: what they say is gathered and printed as one object."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from headwater.cli import output

_HELP = "        json: Print one JSON object: what is said, in `said`, `lines`, `tables` and `warnings`.\n"


def as_json(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command the flag `--json`, which prints `{"v": 1, "code", "said", "lines", "tables", "warnings"}` when it
    is done: the sentences of stderr, the lines and tables of stdout, and the warnings with their hints."""

    @functools.wraps(command)
    def speaking(*arguments: Any, json: bool = False, **named: Any) -> int:
        if not json:
            return command(*arguments, **named)
        with output.gathered() as said:
            code = command(*arguments, **named)
        output.print_json({"code": code, **said.as_dict()})
        return code

    signature = inspect.signature(command)
    flag = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    speaking.__signature__ = signature.replace(parameters=[*signature.parameters.values(), flag])  # type: ignore[attr-defined]
    speaking.__annotations__ = {**command.__annotations__, "json": bool}
    speaking.__doc__ = _documented(command.__doc__ or "")
    return speaking


def _documented(text: str) -> str:
    body = text.rstrip()
    return f"{body}\n{_HELP}    " if "    Args:\n" in text else f"{body}\n\n    Args:\n{_HELP}    "
