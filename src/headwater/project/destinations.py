"""Which destinations there are. A new one is one line in `DESTINATIONS`; its modules are imported only when it is
used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel

from headwater.deliver.destination import Destination
from headwater.errors import InvariantBroken, UserError
from headwater.project.definition import SyncDefinition


@dataclass(frozen=True)
class DestinationKind:
    """One kind of destination.

    Attributes:
        type: what `type:` says in `headwater.yml`.
        settings: "module:class" of its settings, a pydantic model with a `type` of its own.
        destination: "module:class" of the destination; called with the settings.
        extra: the extra of the package that brings what it needs; empty if it always works.
    """

    type: str
    settings: str
    destination: str
    extra: str = ""


DESTINATIONS: tuple[DestinationKind, ...] = (
    DestinationKind(
        "postgres",
        settings="headwater.deliver.postgres_settings:PostgresSettings",
        destination="headwater.deliver.postgres:PostgresDestination",
    ),
    DestinationKind(
        "mysql",
        settings="headwater.deliver.mysql_settings:MysqlSettings",
        destination="headwater.deliver.mysql:MysqlDestination",
        extra="mysql",
    ),
    DestinationKind(
        "elasticsearch",
        settings="headwater.deliver.elasticsearch_settings:ElasticsearchSettings",
        destination="headwater.deliver.elasticsearch:ElasticsearchDestination",
    ),
    DestinationKind(
        "http",
        settings="headwater.deliver.http_settings:HttpSettings",
        destination="headwater.deliver.http:HttpDestination",
    ),
    DestinationKind(
        "rabbitmq",
        settings="headwater.deliver.rabbitmq_settings:RabbitmqSettings",
        destination="headwater.deliver.rabbitmq:RabbitmqDestination",
        extra="rabbitmq",
    ),
    DestinationKind(
        "files",
        settings="headwater.deliver.files_settings:FilesSettings",
        destination="headwater.deliver.files:FilesDestination",
    ),
    DestinationKind(
        "redis",
        settings="headwater.deliver.redis_settings:RedisSettings",
        destination="headwater.deliver.redis:RedisDestination",
        extra="redis",
    ),
    DestinationKind(
        "kafka",
        settings="headwater.deliver.kafka_settings:KafkaSettings",
        destination="headwater.deliver.kafka:KafkaDestination",
        extra="kafka",
    ),
)


def settings_class(known: DestinationKind) -> type[BaseModel]:
    """The class of a destination's settings."""
    return cast(type[BaseModel], _named(known, known.settings))


def make_destination(sync: SyncDefinition) -> Destination:
    """Makes the destination of a sync; nothing is connected yet.

    Raises:
        UserError: its extra is not installed.
    """
    known = next((one for one in DESTINATIONS if one.type == sync.type), None)
    if known is None:
        raise InvariantBroken(f"there is no destination {sync.type!r}")
    return cast(Callable[[BaseModel], Destination], _named(known, known.destination))(sync.own)


def _named(known: DestinationKind, path: str) -> object:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not known.extra or (error.name or "").startswith("headwater"):
            raise
        raise UserError(
            f"the destination {known.type!r} needs the package {error.name}",
            hint=f"pip install 'headwater[{known.extra}]'",
        ) from error
