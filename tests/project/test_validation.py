"""Messages of a connector's own validators: shown, unless they would give a secret away."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from headwater.project.document import read_yaml
from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.project.validation import validate


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    depth: int = Field(0, description="How deep.")


class Chatty(BaseModel):
    """Settings whose validators repeat what they were given, as a connector's author might write them."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr
    label: str = ""
    inner: Nested | None = None
    more: dict[str, Nested] = {}
    many: tuple[Nested, ...] = ()

    @field_validator("url")
    @classmethod
    def _refuse(cls, url: SecretStr) -> SecretStr:
        if "bad" in url.get_secret_value():
            raise ValueError(f"cannot use {url.get_secret_value()}")
        if "pass" in url.get_secret_value():
            raise ValueError(f"the password {url.get_secret_value().split(':')[2].split('@')[0]} is too short")
        if "empty" in url.get_secret_value():
            raise ValueError("this has no host")
        return url

    @field_validator("label")
    @classmethod
    def _echo(cls, label: str) -> str:
        if label:
            raise ValueError(f"{label} is not a label")
        return label


def found(text: str, substituted: tuple[str, ...] = ()) -> list[str]:
    mistakes = Mistakes()
    document = read_yaml(text, file="f", mistakes=mistakes)
    assert document is not None
    validate(Chatty, document.data, document=document, path=(), mistakes=mistakes, substituted=substituted)
    return [f"{mistake} | {mistake.hint}" for mistake in mistakes.found]


@pytest.mark.parametrize(
    ("text", "shown", "hidden"),
    [
        ("url: bad-hunter2", "f:1:6: url: this value is not valid (it is not shown", "hunter2"),
        ("url: postgresql://u:pass@h", "f:1:6: url: this value is not valid", "pass@"),
        ("url: empty-hunter2", "f:1:6: url: this has no host", "hunter2"),
        ("url: x\nlabel: plain", "f:2:8: label: plain is not a label, but this is 'plain'", "???"),
        ("url: x\ninner: {dept: 1}", "f:2:9: unknown key 'dept' | did you mean 'depth'?", "???"),
        ("url: x\nmore: {a: {dept: 1}}", "f:2:12: unknown key 'dept' | did you mean 'depth'?", "???"),
        (
            "url: x\nmany: [{}, {depth: x}]",
            "f:2:20: depth: expected a whole number, but this is 'x' | How deep.",
            "???",
        ),
        ("url: x\nmany: [{}, 3]", "f:2:12: many: expected `key: value` lines", "???"),
    ],
)
def test_messages(text: str, shown: str, hidden: str) -> None:
    (mistake,) = found(text)
    assert mistake.startswith(shown)
    assert hidden not in mistake


def test_a_value_from_outside_is_not_repeated() -> None:
    (mistake,) = found("url: x\nlabel: hunter2", substituted=("hunter2",))
    assert mistake.startswith("f:2:8: label: this value is not valid (it is not shown")


def test_did_you_mean() -> None:
    assert did_you_mean("tabels", ["tables", "slot"]) == "did you mean 'tables'?"
    assert did_you_mean("ORDERS", ["orders"]) == "did you mean 'orders'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known here: a, b"
    assert did_you_mean("zzz", []) == ""
