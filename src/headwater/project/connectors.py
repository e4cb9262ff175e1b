"""Which connectors there are. A new one is one line in `CONNECTORS`; its modules are imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from pydantic import BaseModel

from headwater.capture.source import Source
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.position import Resume
from headwater.project.definition import SourceDefinition
from headwater.schema import StreamSchema

if TYPE_CHECKING:
    from headwater.capture.audit_trail import AuditTrail
    from headwater.registry.store import SchemaStore


@dataclass(frozen=True)
class Connector:
    """One kind of source.

    Attributes:
        type: what `type:` says in `headwater.yml`.
        settings: "module:class" of its settings, a pydantic model.
        source: "module:class" of the source; called with (name, settings, project, identity, clock).
        record: "module:function" that reads a rejected record for people: bytes to rows; raises UserError if
            the bytes are not its own.
        extra: the extra of the package that brings what it needs; empty if it always works.
        schemes: what its URLs begin with.
        url: how such a URL is written.
        tables: the pattern of all tables of a URL's database.
    """

    type: str
    settings: str
    source: str
    record: str
    extra: str = ""
    schemes: tuple[str, ...] = ()
    url: str = ""
    tables: str = "*"


CONNECTORS: tuple[Connector, ...] = (
    Connector(
        "postgres",
        settings="headwater.capture.postgres.settings:PostgresSettings",
        source="headwater.capture.postgres.source:PostgresSource",
        record="headwater.capture.postgres.rows:as_text",
        schemes=("postgresql", "postgres"),
        url="postgresql://user:password@host:5432/database",
        tables="public.*",
    ),
    Connector(
        "mysql",
        settings="headwater.capture.mysql.settings:MysqlSettings",
        source="headwater.capture.mysql.source:MysqlSource",
        record="headwater.capture.mysql.rows:as_text",
        extra="mysql",
        schemes=("mysql", "mariadb"),
        url="mysql://user:password@host:3306/database",
        tables="*",
    ),
    Connector(
        "rabbitmq",
        settings="headwater.capture.rabbitmq.settings:RabbitmqSettings",
        source="headwater.capture.rabbitmq.source:RabbitmqSource",
        record="headwater.capture.messages.message:as_text",
        extra="rabbitmq",
    ),
    Connector(
        "kafka",
        settings="headwater.capture.kafka.settings:KafkaSettings",
        source="headwater.capture.kafka.source:KafkaSource",
        record="headwater.capture.messages.message:as_text",
        extra="kafka",
    ),
    Connector(
        "http",
        settings="headwater.capture.http.settings:HttpSettings",
        source="headwater.capture.http.source:HttpSource",
        record="headwater.capture.messages.message:as_text",
    ),
    Connector(
        "python",
        settings="headwater.capture.python.settings:PythonSettings",
        source="headwater.capture.python.source:PythonSource",
        record="headwater.capture.messages.message:as_text",
    ),
    Connector(
        "files",
        settings="headwater.capture.files.settings:FilesSettings",
        source="headwater.capture.files.source:FilesSource",
        record="headwater.capture.messages.message:as_text",
    ),
)


class _MakesSource(Protocol):
    def __call__(self, name: str, settings: BaseModel, *, project: str, identity: str, clock: Clock) -> Source: ...


def connector(kind: str) -> Connector | None:
    """The connector of a type; None if there is none."""
    return next((known for known in CONNECTORS if known.type == kind), None)


def connector_of_url(url: str) -> Connector:
    """The connector of the database that a URL leads to; libpq's "host=... dbname=..." is one of PostgreSQL.

    Raises:
        UserError: there is none; the hint shows how URLs are written.
    """
    scheme = url.partition("://")[0] if "://" in url else "postgresql" if "=" in url else ""
    found = next((known for known in CONNECTORS if scheme in known.schemes), None)
    if found is None:
        raise UserError(
            "that is not a connection URL", hint=" or ".join(known.url for known in CONNECTORS if known.url)
        )
    return found


def settings_class(known: Connector) -> type[BaseModel]:
    """The class of a connector's settings."""
    return cast(type[BaseModel], _named(known, known.settings))


@runtime_checkable
class _Spilling(Protocol):
    """A source that keeps what is too large for memory in files."""

    scratch: Path | None


@runtime_checkable
class _InFolder(Protocol):
    """A source whose settings name files; relative paths count from the project's folder."""

    folder: Path | None


@runtime_checkable
class _Learning(Protocol):
    """A source that learns its streams' schemas from messages; `schemas` is set before anything is asked of it."""

    schemas: SchemaStore | None


def make_source(
    definition: SourceDefinition,
    project: str,
    identity: str,
    clock: Clock,
    scratch: Path | None = None,
    schemas: Callable[[], SchemaStore | None] = lambda: None,
) -> Source:
    """Makes the source that a definition describes; nothing is connected yet.

    Args:
        definition: the source.
        project: the project's name; part of the default name of what is made in the foreign system.
        identity: identifies the state folder, so that two copies of a project never share a replication slot; empty
            before the first run.
        clock: time.
        scratch: folder for files that a crash may leave nothing of; None: where temporary files go.
        schemas: gives the schemas learnt so far, where new ones are kept; None if there is no such place.

    Raises:
        UserError: the connector's extra is not installed.
    """
    known = connector(definition.type)
    if known is None:
        raise UserError(f"there is no connector {definition.type!r}", place=definition.place)
    make = cast(_MakesSource, _named(known, known.source))
    source = make(definition.name, definition.settings, project=project, identity=identity, clock=clock)
    if isinstance(source, _Spilling):
        source.scratch = scratch
    if isinstance(source, _InFolder):
        source.folder = Path(definition.place.file).parent
    if isinstance(source, _Learning):
        source.schemas = schemas()
    return source


def make_audit(definition: SourceDefinition, source: Source) -> AuditTrail | None:
    """The audit trail that a definition asks for, whose transactions the source then tells of; None if it asks for
    none. To be called before the source is opened."""
    if not definition.audit:
        return None
    from headwater.capture.audit_trail import AuditTrail

    return AuditTrail(definition.name, definition.audit, told=source.tell_transactions())


def streams_of(definition: SourceDefinition, source: Source, resume: Resume | None = None) -> list[StreamSchema]:
    """The streams that a source feeds (`Source.discover`), and those of its audit trail."""
    fed = source.discover(resume)
    audit = make_audit(definition, source)
    return [*fed, *(audit.streams(fed) if audit else ())]


def rows_of_record(record: bytes) -> list[dict[str, object]]:
    """The rows of a record that could not be decoded, for people: values by column, as the source wrote them.

    Raises:
        UserError: no connector knows these bytes.
    """
    for known in CONNECTORS:
        with suppress(UserError):
            return cast(Callable[[bytes], list[dict[str, object]]], _named(known, known.record))(record)
    raise UserError("no connector knows this record")


def _named(known: Connector, path: str) -> object:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not known.extra or (error.name or "").startswith("headwater"):
            raise
        raise UserError(
            f"the connector {known.type!r} needs the package {error.name}",
            hint=f"pip install 'headwater[{known.extra}]'",
        ) from error
