"""Settings of a destination of files in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FilesSettings(BaseModel):
    """A folder that a model's changes are written to as files, each whole and each change in one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["files"] = Field("files", description="Kind of destination.")
    folder: str = Field(
        min_length=1,
        description="The folder, counted from the project's. It is made if it is not there.",
        examples=["out/scores"],
    )
    format: Literal["csv", "ndjson", "parquet"] = Field("ndjson", description="How the files are written.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What stands between two fields of CSV.")
