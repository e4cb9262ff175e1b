"""What the streams of a source are called where they come from, by OpenLineage's naming rules for datasets.

The rules are those of `openlineage.client.naming`, the specification's; RabbitMQ has none, and is named as
Kafka is. Only host, port, database and table leave a URL: never a user, a password or an option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from headwater.project.definition import SourceDefinition

Dataset = tuple[str, str]
"""Namespace and name."""


def datasets_of(definition: SourceDefinition, stream: str) -> list[Dataset]:
    """The datasets that feed a stream; none where that is not certain, or where what feeds it is not a dataset (HTTP,
    Python).

    Args:
        definition: the source.
        stream: one of its streams.
    """
    if definition.audit and (stream == f"{definition.name}_transactions" or stream.endswith("_audit")):
        return []  # the audit trail's own
    found = _BY_TYPE.get(definition.type)
    return list(found(definition, stream)) if found is not None else []


def _postgres(definition: SourceDefinition, stream: str) -> Iterator[Dataset]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    from headwater.capture.postgres.selection import matches, qualify
    from headwater.capture.postgres.settings import PostgresSettings

    settings = cast(PostgresSettings, definition.settings)
    try:
        given = conninfo_to_dict(settings.url.get_secret_value())
    except ProgrammingError:
        return
    host = str(given.get("host") or given.get("hostaddr") or "").partition(",")[0]
    database = given.get("dbname") or given.get("user")
    if not database or "service" in given:
        return
    patterns = [qualify(one) for one in settings.tables if not one.startswith("!")]
    unwanted = [qualify(one[1:]) for one in settings.tables if one.startswith("!")]
    table = _table(stream, "public", patterns, lambda one: matches(one, patterns) and not matches(one, unwanted))
    if table:
        where = "localhost" if not host or host.startswith(("/", "@")) else host
        port = str(given.get("port") or 5432).partition(",")[0]
        yield f"postgres://{where}:{port}", f"{database}.{table}"


def _mysql(definition: SourceDefinition, stream: str) -> Iterator[Dataset]:
    from headwater.capture.mysql.selection import Selection
    from headwater.capture.mysql.settings import MysqlSettings
    from headwater.errors import SourceStopped
    from headwater.mysql_url import parse_url

    settings = cast(MysqlSettings, definition.settings)
    try:
        address = parse_url(settings.url.get_secret_value())
    except SourceStopped:
        return
    selection = Selection(settings.tables, settings.text_columns, address.database)
    exact = [selection.full(one) for one in settings.tables if not one.startswith("!")]
    table = _table(stream, address.database, exact, lambda one: selection.wants(*one.split(".", 1)))
    if table:
        yield f"mysql://{address.host}:{address.port}", table


def _table(stream: str, default: str, patterns: Iterable[str], wanted: Callable[[str], bool]) -> str | None:
    """The table, schema.table, of a stream that is called `table` in the default schema and `schema_table` in another:
    one that is named outright, else the only one that the patterns allow; None if there are several."""
    others = (f"{stream[:at]}.{stream[at + 1 :]}" for at, letter in enumerate(stream) if letter == "_" and at)
    possible = [f"{default}.{stream}"] if default else []
    possible += [one for one in others if not one.startswith(f"{default}.") and not one.endswith(".")]
    named = set(patterns).intersection(possible)
    found = [one for one in possible if one in named] or [one for one in possible if wanted(one)]
    return found[0] if len(found) == 1 else None


def _kafka(definition: SourceDefinition, stream: str) -> Iterator[Dataset]:
    from headwater.capture.kafka.settings import KafkaSettings, is_pattern

    settings = cast(KafkaSettings, definition.settings)
    server = settings.servers.partition(",")[0].strip()
    where = server if ":" in server else f"{server}:9092"
    for topic in settings.topics:
        if not topic.startswith("!") and not is_pattern(topic) and settings.stream_of(topic) == stream:
            yield f"kafka://{where}", topic


def _rabbitmq(definition: SourceDefinition, stream: str) -> Iterator[Dataset]:
    from headwater.amqp import PORTS
    from headwater.capture.rabbitmq.settings import RabbitmqSettings

    settings = cast(RabbitmqSettings, definition.settings)
    parts = urlsplit(settings.url.get_secret_value())
    where = f"{parts.scheme}://{parts.hostname}:{parts.port or PORTS[parts.scheme]}"
    yield from ((where, queue) for queue, fed in settings.streams_by_queue().items() if fed == stream)


def _files(definition: SourceDefinition, stream: str) -> Iterator[Dataset]:
    from headwater.capture.files.settings import FilesSettings

    settings = cast(FilesSettings, definition.settings)
    if stream in settings.files:
        folder = Path(definition.place.file).absolute().parent
        yield from (("file", str(folder / path)) for path in settings.files[stream].paths)


_BY_TYPE: dict[str, Callable[[SourceDefinition, str], Iterator[Dataset]]] = {
    "postgres": _postgres, "mysql": _mysql, "kafka": _kafka, "rabbitmq": _rabbitmq, "files": _files,
}  # fmt: skip
