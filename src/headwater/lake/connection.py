"""How a lake's catalog and storage are reached: what the settings say, in words that this room knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

CatalogKind = Literal["sqlite", "postgres", "rest"]
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Connection:
    """Values may be secrets, so none is shown by `repr`.

    Attributes:
        catalog: kind of catalog.
        database: file of an SQLite catalog; `catalog.db` in the warehouse if not given.
        url: of a PostgreSQL or REST catalog.
        credentials: PyIceberg's properties of a REST catalog: token, credential, scope, oauth2-server-uri, warehouse.
        storage: PyIceberg's properties of the storage: s3.endpoint and so on; empty for a local disk.
    """

    catalog: CatalogKind = "sqlite"
    database: Path | None = None
    url: str = field(default="", repr=False)
    credentials: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    storage: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)


LOCAL = Connection()
"""An SQLite catalog beside the tables, on a local disk."""


def is_remote(warehouse: str) -> bool:
    """Whether a warehouse is an address such as `s3://bucket/prefix`, not a folder."""
    return "://" in warehouse
