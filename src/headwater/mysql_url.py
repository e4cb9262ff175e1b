"""The connection URL: mysql://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS. Nothing here ever shows it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from headwater.errors import SourceStopped

FORM = "mysql://USER:${PASSWORD}@HOST:3306/DATABASE"
SCHEMES = ("mysql", "mariadb")
DEFAULT_PORT = 3306
_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
_OPTIONS = ("ssl", "ssl_ca", "ssl_cert", "ssl_key", "socket")


@dataclass(frozen=True)
class Address:
    """Where the server is and who we are there. `repr` shows no password.

    Attributes:
        options: what stands after the `?`, checked.
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    options: dict[str, str]

    def __repr__(self) -> str:
        return f"Address({self.user}@{self.host}:{self.port}/{self.database})"

    def arguments(self) -> dict[str, Any]:
        """Arguments for `pymysql.connect`.

        Raises:
            SourceStopped: a certificate or key cannot be read.
        """
        given: dict[str, Any] = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        if self.database:
            given["database"] = self.database
        if "socket" in self.options:
            given["unix_socket"] = self.options["socket"]
        return {**given, **self._tls()}

    def _tls(self) -> dict[str, Any]:
        mode = self.options.get("ssl", "required" if "ssl_ca" in self.options else "preferred")
        if mode == "disabled":
            return {"ssl_disabled": True}
        if mode == "preferred" and "ssl_cert" not in self.options:
            return {}
        verified = mode.startswith("verify") or "ssl_ca" in self.options
        try:
            context = ssl.create_default_context(cafile=self.options.get("ssl_ca"))
            context.check_hostname = mode == "verify_identity"
            context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
            if "ssl_cert" in self.options:
                context.load_cert_chain(self.options["ssl_cert"], self.options.get("ssl_key"))
        except OSError as error:
            raise SourceStopped(
                f"the certificates of the source's url cannot be read: {error}",
                hint="check ssl_ca, ssl_cert and ssl_key in the source's url",
            ) from None
        return {"ssl": context}


def parse_url(text: str) -> Address:
    """The parts of a URL.

    Raises:
        SourceStopped: it is none.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORT
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _no_url("it cannot be read") from None
    if parts.scheme not in SCHEMES:
        raise _no_url("it does not begin with mysql://")
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise _no_url(f"there is no option {unknown[0]!r}; there are {', '.join(_OPTIONS)}")
    if options.get("ssl", "preferred") not in _MODES:
        raise _no_url(f"ssl is one of {', '.join(_MODES)}")
    named = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(parts.hostname or "localhost", port, *named, unquote(parts.path.strip("/")), options)


def _no_url(reason: str) -> SourceStopped:
    return SourceStopped(f"the source's url is not a MySQL connection URL: {reason}", hint=f"write it as {FORM}")
