"""The one way out by HTTP: whoever calls an address that a user or a message names calls it from here.

A name is looked up once for each connection, every address found is judged, and the connection is made to the very
address that was judged, so that a name server which answers differently the second time (DNS rebinding) gains nothing.
TLS is verified for the name in the URL, not for the address. Proxies and other settings of the environment are not
used: they would look the name up again. A redirect is an answer like any other and is not followed.

| addresses | called |
|---|---|
| public | yes |
| loopback, private, shared (RFC 1918, 4193, 6598), benchmark | with `allow_private` |
| IPv4 inside IPv6 (mapped, NAT64, 6to4, Teredo), documentation, reserved | no |
| link-local, multicast, unspecified; metadata services of the clouds | no |

A name with one address that is not to be called is not called at all.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar

import httpcore
import httpx

from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, UserError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TIMEOUT_S = 30.0
MAX_RESPONSE_BYTES = 16 << 20
MAX_CONNECTIONS = 32

_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15",
        "::1/128", "fc00::/7",
    )
)  # fmt: skip
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""AWS and most others, Alibaba, Azure, Oracle; AWS and Google by IPv6."""
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
"""IANA's registries of special-purpose addresses (2025), IPv6 as far as it lies in 2000::/3."""
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6; what lies outside is mapped, NAT64, link-local, multicast or nothing."""


class AddressRefused(UserError):
    """A URL leads to an address that is not called."""

    code = "HW-ADDRESS"


class ResponseTooLarge(HeadwaterError):
    """A server's answer is larger than was allowed; it was not read to its end."""

    code = "HW-RESPONSE-SIZE"
    domain: ClassVar = "external"


def refusal(address: Address, *, allow_private: bool) -> str:
    """Why an address is not called; "" if it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return "it is bound to one network interface"
    if address in _METADATA:
        return "it is a cloud's metadata service"
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return "" if allow_private else "it is a private or loopback address"
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return "it is not a global unicast address"
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return "it is a special-purpose address"
    return ""


def resolve(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """The addresses of a host, all of which may be called.

    Raises:
        AddressRefused: one may not, or there is no such name in a form that can be looked up.
        OSError: the name cannot be looked up now.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise AddressRefused(f"{host!r} is not the name of a host", hint="mend the URL") from error
    addresses = [_address(str(entry[4][0]), entry[4]) for entry in found]
    for address in addresses:
        why = refusal(address, allow_private=allow_private)
        if why:
            private = why.startswith("it is a private")
            raise AddressRefused(
                f"{host} leads to {address}, which is not called: {why}",
                hint="set allow_private: true if it is meant to be" if private else "use a public address",
            )
    return list(dict.fromkeys(addresses))


def _address(text: str, name: tuple[Any, ...]) -> Address:
    address = ipaddress.ip_address(text)
    scoped = isinstance(address, ipaddress.IPv6Address) and len(name) == 4 and name[3] and address.scope_id is None
    return ipaddress.ip_address(f"{text}%{name[3]}") if scoped else address


class _Deadline(threading.local):
    """When the exchange that this thread is in must have ended; none outside of one."""

    at_s: float | None = None


class _Stream(httpcore.NetworkStream):
    """A connection on which no exchange takes longer than its deadline, however its bytes trickle."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline, clock: Clock) -> None:
        self._inner = inner
        self._deadline = deadline
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _left(self, timeout: float | None, late: type[Exception]) -> float | None:
        if self._deadline.at_s is None:
            return timeout
        left = self._deadline.at_s - self._clock.monotonic_s()
        if left <= 0:
            raise late("the exchange took too long")
        return left if timeout is None else min(left, timeout)


class _Pinned(httpcore.NetworkBackend):
    """Connects to addresses that were judged, and to nothing else."""

    def __init__(self, allow_private: bool, deadline: _Deadline, clock: Clock) -> None:
        self._allow_private = allow_private
        self._deadline = deadline
        self._clock = clock
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _Stream:  # fmt: skip
        try:
            addresses = resolve(host, port, allow_private=self._allow_private)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error}") from error
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                made = self._plain.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            return _Stream(made, self._deadline, self._clock)
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("sockets of this machine are not called")


class _Body(httpx.SyncByteStream):
    """An answer's body, up to a size and a time."""

    def __init__(self, transport: PinnedTransport, stream: Any, at_s: float) -> None:
        self._transport = transport
        self._stream = stream
        self._at_s = at_s

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        with self._transport.until(self._at_s), _as_httpx():
            for part in self._stream:
                taken += len(part)
                if taken > self._transport.max_response_bytes:
                    raise ResponseTooLarge(f"the answer is larger than {self._transport.max_response_bytes:,} bytes")
                yield part

    def close(self) -> None:
        self._stream.close()


class PinnedTransport(httpx.BaseTransport):
    """What `client` speaks through. May be used by several threads.

    Args:
        allow_private: whether loopback and private addresses may be called.
        timeout_s: longest that an exchange takes, from the request's beginning to the answer's end.
        max_response_bytes: largest body of an answer.
        ca_file: certificates to trust beside the usual ones' place; None: certifi's.
    """

    def __init__(
        self, *, allow_private: bool, timeout_s: float, max_response_bytes: int, ca_file: str | None = None,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.max_response_bytes = max_response_bytes
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._deadline = _Deadline()
        context = httpx.create_ssl_context(trust_env=False)
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=15.0,
            network_backend=_Pinned(allow_private, self._deadline, self._clock),
        )

    @contextmanager
    def until(self, at_s: float) -> Iterator[None]:
        """Everything that this thread reads and writes inside ends at `at_s`, monotonic seconds."""
        before, self._deadline.at_s = self._deadline.at_s, at_s
        try:
            yield
        finally:
            self._deadline.at_s = before

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange; see `httpx.BaseTransport`."""
        at_s = self._clock.monotonic_s() + self._timeout_s
        url = request.url
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with self.until(at_s), _as_httpx():
            answer = self._pool.handle_request(sent)
        packed = [value for name, value in answer.headers if name.lower() == b"content-encoding"]
        if any(value.strip().lower() not in (b"", b"identity") for value in packed):
            answer.close()
            raise ResponseTooLarge("the answer is compressed, which was not asked for: its size is not known")
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(self, answer.stream, at_s),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Ends all connections."""
        self._pool.close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
)


@contextmanager
def _as_httpx() -> Iterator[None]:
    """What the connection raises, as `httpx` calls it."""
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as e:
        kind = next((ours for theirs, ours in _ERRORS if isinstance(e, theirs)), httpx.TransportError)
        raise kind(str(e)) from e


def client(
    *,
    allow_private: bool = False,
    timeout_s: float = TIMEOUT_S,
    max_response_bytes: int = MAX_RESPONSE_BYTES,
    ca_file: str | None = None,
    clock: Clock | None = None,
) -> httpx.Client:
    """A client that calls nothing it should not; to be closed by whoever made it.

    Its requests raise `AddressRefused`, `ResponseTooLarge`, and httpx's errors (`httpx.TransportError`).

    Args:
        allow_private: whether loopback and private addresses may be called.
        timeout_s: longest that an exchange takes, from the request's beginning to the answer's end.
        max_response_bytes: largest body of an answer.
        ca_file: PEM file of certificates to trust as well, say of a private authority.
        clock: time.
    """
    transport = PinnedTransport(
        allow_private=allow_private, timeout_s=timeout_s, max_response_bytes=max_response_bytes, ca_file=ca_file,
        clock=clock,
    )  # fmt: skip
    return httpx.Client(
        transport=transport,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "headwater", "Accept-Encoding": "identity"},
    )
