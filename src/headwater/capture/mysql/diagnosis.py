"""Looks at a MySQL or MariaDB server from all sides for `headwater doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from headwater.capture.mysql.connection import Connection, connect, execute
from headwater.capture.mysql.preconditions import RETENTION_WANTED_S, retention_s
from headwater.capture.mysql.server import read_server
from headwater.capture.mysql.watch import MysqlWatcher
from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.finding import Finding, distance, failing, sentences, way
from headwater.mysql_url import parse_url
from headwater.position import Resume

if TYPE_CHECKING:
    from headwater.capture.mysql.source import MysqlSource

ANSWER_S = 20.0
_WAY = "make the url mysql://...?ssl_ca=/path/to/ca.pem and let the server offer TLS"


def diagnose(source: MysqlSource, resume: Resume | None, clock: Clock) -> Sequence[Finding]:
    """All findings; see `headwater.capture.diagnosable.Diagnosable`."""
    settings = source.settings
    connection = connect(settings, timeout_s=ANSWER_S)
    try:
        found = [
            *_version(connection),
            way(parse_url(settings.url.get_secret_value()).host, encrypted=_encrypted(connection), mend=_WAY),
            *distance(lambda: int(execute(connection, "SELECT UNIX_TIMESTAMP(NOW(6)) * 1000000")[0][0]), clock),
            *_retention(connection),
        ]
    finally:
        connection.close()
    found += sentences("capture", source.check)
    return [*found, *_standing(source, resume, clock)]


def _version(connection: Connection) -> Iterator[Finding]:
    server = read_server(connection)
    yield Finding("version", "ok", f"{server.flavor} {server.settings.get('version', '')}")


def _encrypted(connection: Connection) -> bool:
    rows = execute(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return bool(rows and rows[0][1])


def _retention(connection: Connection) -> Iterator[Finding]:
    kept_s = retention_s(read_server(connection))
    if kept_s is not None and 0 < kept_s < RETENTION_WANTED_S:
        yield Finding(
            "retention", "warn", f"the binary log is kept for {kept_s / 3600:.1f} hours: if we stand still longer, it "
            "is lost",
            f"run as an administrator: SET GLOBAL binlog_expire_logs_seconds = {7 * RETENTION_WANTED_S};",
        )  # fmt: skip
        return
    told = "until somebody purges it" if not kept_s else f"for {kept_s / 86_400:.0f} days"
    yield Finding("retention", "ok", f"the binary log is kept {told}")


def _standing(source: MysqlSource, resume: Resume | None, clock: Clock) -> list[Finding]:
    """Whether reading could go on, and how much there is to be read."""
    if resume is None:
        return []
    watcher = MysqlWatcher(source.name, source.settings, clock)
    looks: Sequence[Callable[[], Finding]] = (
        lambda: _position(source, resume),
        lambda: _behind(watcher, resume),
    )
    found = []
    try:
        for look in looks:
            try:
                found.append(look())
            except HeadwaterError as error:
                found.append(failing("position", error))
    finally:
        watcher.close()
    return found


def _position(source: MysqlSource, resume: Resume) -> Finding:
    lost = source.examine(resume)
    if lost is not None:
        return failing("position", lost)
    return Finding("position", "ok", "the server has all that follows the log's end")


def _behind(watcher: MysqlWatcher, resume: Resume) -> Finding:
    health = watcher.look(resume)
    if health.alarms:
        return Finding("log kept", "warn", health.alarms[0].message, health.alarms[0].hint or "headwater status")
    behind = health.figures.get("log_behind_bytes")
    return Finding("log kept", "ok", f"{behind or 0:,} bytes of the binary log were not read yet")
