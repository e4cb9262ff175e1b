"""Settings of a Kafka destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from headwater.formats.settings import FormatSettings, JsonFormat
from headwater.kafka.connection import KafkaConnection


class KafkaSettings(KafkaConnection):
    """A topic that is told a model's changes, each exactly once for who reads committed messages only."""

    type: Literal["kafka"] = Field("kafka", description="Kind of destination.")
    topic: str = Field(
        min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$", description="The topic.", examples=["orders_by_day"]
    )
    envelope: Literal["upsert", "debezium", "changelog"] = Field(
        "upsert",
        description="What a message says. upsert: its key and the row; a deleted row is a tombstone (no value), so "
        "that a compacted topic holds what the model holds. debezium: before, after, op, source and ts_ms, as Debezium "
        "writes them. changelog: the row, with _op (upsert, delete or insert), _seq and _epoch.",
    )
    format: FormatSettings = Field(default=JsonFormat(nan=False), description="How keys and values are written.")
    tombstones: bool = Field(
        True, description="With envelope: debezium, send a tombstone after each delete, for compacted topics."
    )
    create: bool = Field(
        False, description="Make the topic if it is not there: `partitions` of them, compacted if it is for upserts."
    )
    partitions: int = Field(1, ge=1, description="How many partitions a topic that is made gets.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="How batches of messages are compressed."
    )
    progress_topic: str = Field(
        "",
        description="The topic in which each transaction notes which records it holds; made if it is not there. The "
        "default is headwater-PROJECT-SYNC-progress.",
    )
    transaction_timeout_s: int = Field(
        60, ge=5, le=900, description="The brokers give a transaction up that has been open for so many seconds."
    )

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if self.format.type not in ("json", "avro", "protobuf"):
            raise ValueError(f"format: a Kafka destination writes json, avro or protobuf, not {self.format.type}")
        return self
