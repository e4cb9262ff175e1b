"""Settings of a Python source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.capture.messages.settings import Key, MessageSchemaPolicy


class PythonSettings(BaseModel):
    """A generator in the project's folder that yields rows and the position behind them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    type: Literal["python"] = Field("python", description="Kind of source.")
    file: str = Field(
        description="The file, counted from the project's folder.", examples=["sources/weather.py"], min_length=1
    )
    function: str = Field("", description="The function in it; the default is the one that is marked as a source.")
    stream: str = Field("", description="Name of the stream; the default is the source's.")
    arguments: dict[str, object] = Field(
        default_factory=dict,
        description="Handed to the function by name, besides the position.",
        examples=[{"url": "https://api.example.com", "token": "${API_TOKEN}"}],
    )
    every_s: float = Field(
        1.0, gt=0, description="Seconds after which the function is called again when it has come to its end."
    )
    schema_policy: MessageSchemaPolicy = Field(
        "lenient", alias="schema", description="What happens to rows that do not fit the stream; as for other sources."
    )
    key: Key = Field((), description="The columns that name a row: a later row of the same key replaces it.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="Types of columns, as DuckDB writes them; others are learnt from the rows."
    )
