"""How a RabbitMQ server is reached: for the source that reads from it and the destination that publishes to it.

The address is an AMQP URI as RabbitMQ documents it: amqp://USER:PASSWORD@HOST:5672/VHOST, amqps:// for TLS. A virtual
host's own slash is written %2F; none at all is the default one, "/".
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from headwater.errors import UserError

if TYPE_CHECKING:
    import pika

PORTS = {"amqp": 5672, "amqps": 5671}
_FORM = "write it as amqp://USER:${PASSWORD}@HOST:5672/VHOST"


def _checked(url: SecretStr) -> SecretStr:
    """Refuses what is no address, without showing it."""
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"that is not an AMQP address: {_FORM}")
    if parts.query:
        raise ValueError("an AMQP address has nothing after a ?: TLS, heartbeats and time limits have their own keys")
    return url


AmqpUrl = Annotated[SecretStr, AfterValidator(_checked)]


class TlsSettings(BaseModel):
    """How an amqps:// server is recognised, and how we are."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca: str | None = Field(
        default=None, description="File of the authorities to trust; the default is the machine's own."
    )
    certificate: str | None = Field(
        default=None, description="File of our own certificate, where the server asks for one."
    )
    key: str | None = Field(default=None, description="File of its key, if it is not in the certificate's.")
    check_name: bool = Field(default=True, description="Whether the server's certificate must be for its host's name.")


def connection_parameters(
    url: SecretStr, tls: TlsSettings, *, name: str, heartbeat_s: float, timeout_s: float
) -> pika.ConnectionParameters:
    """What pika needs to connect.

    Args:
        url: checked (`AmqpUrl`).
        tls: used if the address is amqps://.
        name: what the server's administrators see of this connection.
        heartbeat_s: time between two signs of life; half of it without one and the connection counts as lost.
        timeout_s: longest wait for the connection, and for one step of setting it up.

    Raises:
        UserError: a certificate or key cannot be read.
    """
    import pika

    logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it logs as errors, it raises as well
    parts = urlsplit(url.get_secret_value())
    host = parts.hostname or ""
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    return pika.ConnectionParameters(
        host=host,
        port=parts.port or PORTS[parts.scheme],
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(user, password, erase_on_connect=False),
        heartbeat=max(2, round(heartbeat_s)),
        socket_timeout=timeout_s,
        stack_timeout=timeout_s * 1.5,
        blocked_connection_timeout=timeout_s * 3,
        ssl_options=_ssl(tls, host) if parts.scheme == "amqps" else None,
        client_properties={"connection_name": name, "product": "Headwater"},
    )


def _ssl(tls: TlsSettings, host: str) -> pika.SSLOptions:
    import pika

    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.check_hostname = tls.check_name
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise UserError(
            f"the certificates for RabbitMQ cannot be read: {error}", hint="check tls: ca, certificate and key"
        ) from None
    return pika.SSLOptions(context, host)


def refused(error: Exception) -> bool:
    """Whether a server that answers does not let us in: trying again is no help."""
    from pika import exceptions

    if isinstance(error, exceptions.ConnectionClosedByBroker):
        return error.reply_code in (403, 530)
    return isinstance(
        error,
        exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError | exceptions.AuthenticationError,
    )


def untrusted(error: BaseException) -> str:
    """What mends an error of TLS that no second try does; empty for other errors. pika wraps them in others."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "give the file of the authority that signed the server's certificate: tls: {ca: FILE}; the certificate must"
            " be for the host in url, or set tls: {check_name: false}"
        )
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "the port in url speaks no TLS: amqps:// goes to the server's TLS listener, usually port 5671"
    return next((told for each in _inside(error) if (told := untrusted(each))), "")


def _inside(error: BaseException) -> list[BaseException]:
    """The errors that one of pika's wraps."""
    found = [*error.args, *getattr(error, "exceptions", ()), getattr(error, "exception", None)]
    return [each for each in found if isinstance(each, BaseException)]


def reason(error: Exception) -> str:
    """What an error of pika's says, without its own decoration; it never holds the password."""
    inside = _inside(error)
    if inside and isinstance(inside[-1], Exception):
        return reason(inside[-1])
    text = getattr(error, "reply_text", None) or str(error)
    code = getattr(error, "reply_code", None)
    told = f"{code} {text}" if code else text
    return told or type(error).__name__
