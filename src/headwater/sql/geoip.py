"""Where an IP address is, by a database in MaxMind's format (`.mmdb`) that the user has: a function for models.

# functions/geo.py
import headwater

geoip = headwater.geoip("../data/GeoLite2-City.mmdb")

-- models/visits.sql
SELECT clientip, geoip(clientip).country AS country FROM access
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from headwater.errors import Place, UserError
from headwater.sql.functions import Function, arrow_type

if TYPE_CHECKING:
    from maxminddb.reader import Reader

_FIELDS: Mapping[str, tuple[str, tuple[str | int, ...]]] = {
    "continent": ("VARCHAR", ("continent", "code")),
    "country_code": ("VARCHAR", ("country", "iso_code")),
    "country": ("VARCHAR", ("country", "names", "LANGUAGE")),
    "region": ("VARCHAR", ("subdivisions", 0, "names", "LANGUAGE")),
    "city": ("VARCHAR", ("city", "names", "LANGUAGE")),
    "postal_code": ("VARCHAR", ("postal", "code")),
    "latitude": ("DOUBLE", ("location", "latitude")),
    "longitude": ("DOUBLE", ("location", "longitude")),
    "time_zone": ("VARCHAR", ("location", "time_zone")),
    "asn": ("BIGINT", ("autonomous_system_number",)),
    "organisation": ("VARCHAR", ("autonomous_system_organization",)),
}
"""The fields of the answer: their types, and where MaxMind's databases have them."""

RETURNS = "STRUCT(" + ", ".join(f"{name} {kind}" for name, (kind, _) in _FIELDS.items()) + ")"
_CACHED = 100_000


def geoip(path: str | Path, *, name: str = "geoip", language: str = "en") -> Function:
    """A function that says where an IP address is: a STRUCT of continent, country_code, country, region, city,
    postal_code, latitude, longitude, time_zone, asn and organisation. What the database does not know is NULL, and so
    is the whole for an address that it does not have, or a text that is none. What a model computes is known by the
    file's content: with another database it is built anew.

    Args:
        path: of the database, counted from the folder of the file that calls this.
        name: what SQL calls the function.
        language: of names of places.

    Raises:
        UserError: the file is not there or not such a database, or the package maxminddb is not installed.
    """
    frame = sys._getframe(1)
    place = Place(frame.f_code.co_filename, frame.f_lineno, 1)
    file = Path(place.file).parent / path
    try:
        import maxminddb
    except ModuleNotFoundError as error:
        hint = "pip install 'headwater[geoip]'"
        raise UserError("geoip needs the package maxminddb", hint=hint, place=place) from error
    try:
        reader = maxminddb.open_database(str(file))
        print_ = hashlib.sha256(file.read_bytes() + f"{name}\0{language}\0".encode()).hexdigest()[:16]
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        hint = "databases in this format come from MaxMind (GeoLite2), DB-IP and others"
        raise UserError(f"{file} is no geographic database: {error}", hint=hint, place=place) from error
    return Function(name.lower(), ("VARCHAR",), RETURNS, _Lookup(reader, language), place, print_)


class _Lookup:
    """Looks addresses up, each distinct one of a batch once."""

    def __init__(self, reader: Reader, language: str) -> None:
        self._reader = reader
        paths = {
            name: tuple(language if step == "LANGUAGE" else step for step in path)
            for name, (_, path) in _FIELDS.items()
        }
        self._paths = paths
        self._find = lru_cache(_CACHED)(self._found)

    def __call__(self, addresses: pa.Array | pa.ChunkedArray) -> pa.Array:
        whole = addresses.combine_chunks() if isinstance(addresses, pa.ChunkedArray) else addresses
        coded = whole.dictionary_encode()
        answers = [self._find(address) for address in coded.dictionary.to_pylist()]
        return pa.array(answers, arrow_type(RETURNS)).take(coded.indices)

    def _found(self, address: str) -> dict[str, object] | None:
        try:
            record = self._reader.get(address)
        except ValueError:
            return None
        return {name: _at(record, path) for name, path in self._paths.items()} if isinstance(record, dict) else None


def _at(record: object, path: tuple[str | int, ...]) -> object:
    """What stands in a record at a path; None if nothing does."""
    for step in path:
        if isinstance(step, int):
            record = record[step] if isinstance(record, list) and len(record) > step else None
        else:
            record = record.get(step) if isinstance(record, dict) else None
    return record
