"""Settings that each stream of a source of messages has. Light: forms and reference come from here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from headwater.formats.settings import FormatSettings, JsonFormat

MetadataName = Literal["partition", "offset", "timestamp", "key", "headers"]
MessageSchemaPolicy = Literal["evolve", "lenient", "freeze", "fail"]


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("a column stands there twice")
    return names


Key = Annotated[tuple[str, ...], AfterValidator(_different)]


class MessageStreamSettings(BaseModel):
    """How the messages of one stream are read and what becomes of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: FormatSettings = Field(
        default=JsonFormat(nan=False), description="How messages are written, by name or with its options."
    )
    schema_policy: MessageSchemaPolicy = Field(
        "lenient",
        alias="schema",
        description="What happens when messages bring what the stream does not have. lenient: a new field becomes a "
        "new column, and values of another type go to a column NAME__TYPE. evolve: a new field becomes a new column, "
        "and a column takes a type that holds the other values too. freeze: such messages are rejected. fail: the "
        "source stops.",
    )
    key: Key = Field(
        (),
        description="The columns that name a row: a later message of the same key replaces the row, and a tombstone "
        "(a message with a key and no value) deletes it. Without a key every message is a row of its own.",
        examples=[["order_id"]],
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Types of columns, as DuckDB writes them. A message whose value cannot be cast to it is rejected. "
        "What is not named here is learnt from the messages.",
        examples=[{"order_id": "BIGINT", "price": "DECIMAL(12,2)", "placed": "TIMESTAMPTZ", "extra": "JSON"}],
    )
    metadata: tuple[MetadataName, ...] = Field(
        ("partition", "offset", "timestamp"),
        description="What of the message itself becomes a column: _partition, _offset, _timestamp, _key, _headers.",
    )
