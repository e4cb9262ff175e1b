"""Rows as JSON documents, one each, for destinations that keep a record as a document."""

from __future__ import annotations

from typing import cast

import pyarrow as pa

from headwater.formats.encoder import make_encoder
from headwater.formats.settings import JsonFormat


def documents(rows: pa.Table) -> list[bytes]:
    """A JSON object per row, by column name, in UTF-8 (`headwater.formats.encoder.JsonEncoder`)."""
    return cast("list[bytes]", make_encoder(JsonFormat(nan=False)).encode(rows).to_pylist())
