"""What is called by HTTP and what is not: every form of every address, rebinding, redirects, size and time."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import outgoing
from headwater.outgoing import AddressRefused, ResponseTooLarge, client, refusal, resolve

PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
NEVER = ["169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "0.0.0.0/8", "192.0.0.0/24", "203.0.113.0/24"]
NEVER_6 = [
    "fe80::/10",
    "ff00::/8",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "2001::/32",
    "::/128",
]
METADATA = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"]


def within(networks: list[str]) -> st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Any address of any of the networks."""
    parsed = [ipaddress.ip_network(text) for text in networks]
    return st.sampled_from(parsed).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(lambda number: network[number])
    )


def forms(address: ipaddress.IPv4Address) -> list[str]:
    """Ways of writing an IPv4 address that resolvers take: one number, short, octal, hexadecimal."""
    a, b, c, d = address.packed
    number = int(address)
    return [
        str(address), str(number), hex(number), f"0{number:o}", f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{c << 8 | d}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
    ]  # fmt: skip


@given(within([*PRIVATE, *NEVER]), st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_no_way_of_writing_an_inner_address_gets_there(address: ipaddress.IPv4Address, way: int) -> None:
    with pytest.raises(AddressRefused):
        resolve(forms(address)[way], 80, allow_private=False)


@given(within([*PRIVATE, *NEVER]))
def test_nor_inside_an_ipv6_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in ("::ffff:0:0", "64:ff9b::", "::"):
        wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number)
        assert refusal(wrapped, allow_private=False)
        assert wrapped == ipaddress.IPv6Address("::1") or refusal(wrapped, allow_private=True)
    assert refusal(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1), allow_private=True)


@given(within([*NEVER, *NEVER_6]) | st.sampled_from([ipaddress.ip_address(text) for text in METADATA]))
def test_some_are_never_called(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert refusal(address, allow_private=False)
    assert refusal(address, allow_private=True)


@given(within(PRIVATE).filter(lambda address: str(address) not in METADATA))
def test_private_ones_are_called_when_that_is_allowed(address: ipaddress.IPv4Address) -> None:
    assert refusal(address, allow_private=False)
    assert not refusal(address, allow_private=True)


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address) | st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
@settings(max_examples=1000)
def test_what_python_does_not_call_global_is_not_called(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refusal(address, allow_private=False)


@pytest.mark.parametrize("public", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_public_ones_are_called(public: str) -> None:
    assert not refusal(ipaddress.ip_address(public), allow_private=False)


def test_a_scoped_address_is_not_called() -> None:
    assert refusal(ipaddress.ip_address("fc00::1%1"), allow_private=True)


class Answering(BaseHTTPRequestHandler):
    """Answers by path."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        getattr(self, "answer_" + self.path.strip("/"))()

    def answer_plain(self) -> None:
        self.say(200, b"here")

    def answer_away(self) -> None:
        self.say(302, b"", Location="http://169.254.169.254/latest/meta-data")

    def answer_large(self) -> None:
        self.say(200, b"x" * 5000)

    def answer_packed(self) -> None:
        self.say(200, b"\x1f\x8b", **{"Content-Encoding": "gzip"})

    def answer_trickle(self) -> None:
        """A byte of the head now and then, for as long as anybody listens."""
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not self.server.closing.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a free port of 127.0.0.1; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.closing = threading.Event()  # type: ignore[attr-defined]
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.closing.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with answering() as found:
        yield found


def test_a_server_on_this_machine_is_called_only_when_that_is_allowed(port: int) -> None:
    with client() as refusing, pytest.raises(AddressRefused, match="private or loopback"):
        refusing.get(f"http://127.0.0.1:{port}/plain")
    with client(allow_private=True) as calling:
        assert calling.get(f"http://localhost:{port}/plain").text == "here"


def test_a_name_is_looked_up_once_and_the_address_that_was_judged_is_called(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebinding name server: a private address that is allowed at first, then one that is not."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: str, *args: object, **named: object) -> object:
        if host != "rebind.example":
            return real(host, *args, **named)  # type: ignore[arg-type]
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with client(allow_private=True) as calling:
        assert calling.get(f"http://rebind.example:{port}/plain").text == "here"
    assert len(asked) == 1
    with client(allow_private=True) as calling, pytest.raises(AddressRefused):
        calling.get(f"http://rebind.example:{port}/plain")


def test_one_inner_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda *args, **named: found)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        resolve("mixed.example", 80, allow_private=False)


def test_a_redirect_is_not_followed(port: int) -> None:
    with client(allow_private=True) as calling:
        assert calling.get(f"http://127.0.0.1:{port}/away").status_code == 302
        with pytest.raises(AddressRefused):
            calling.get(f"http://127.0.0.1:{port}/away", follow_redirects=True)


def test_the_environment_does_not_lead_elsewhere(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with client(allow_private=True) as calling:
        assert calling.get(f"http://127.0.0.1:{port}/plain").text == "here"


def test_an_answer_is_read_up_to_its_limit(port: int) -> None:
    with client(allow_private=True, max_response_bytes=4999) as calling, pytest.raises(ResponseTooLarge):
        calling.get(f"http://127.0.0.1:{port}/large")
    with client(allow_private=True, max_response_bytes=5000) as calling:
        assert len(calling.get(f"http://127.0.0.1:{port}/large").content) == 5000
        with pytest.raises(ResponseTooLarge, match="compressed"):
            calling.get(f"http://127.0.0.1:{port}/packed")
        assert calling.get(f"http://127.0.0.1:{port}/plain").text == "here"


def test_an_answer_that_trickles_ends_in_time(port: int) -> None:
    with client(allow_private=True, timeout_s=0.5) as calling, pytest.raises(httpx.TimeoutException):
        calling.get(f"http://127.0.0.1:{port}/trickle")


def test_no_answer_no_name_no_scheme(port: int) -> None:
    with client(allow_private=True) as calling:
        with pytest.raises(httpx.ConnectError):
            calling.get("http://127.0.0.1:1/")
        with pytest.raises((AddressRefused, httpx.TransportError)):
            calling.get("http://name.invalid/")
        with pytest.raises(httpx.UnsupportedProtocol):
            calling.get("ftp://127.0.0.1/")


def test_tls_is_verified_for_the_name_in_the_url(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    authority = certificate_for("good.example", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **named: real("127.0.0.1" if "example" in host else host, *args, **named),
    )
    with answering(context) as port, client(allow_private=True, ca_file=str(authority)) as calling:
        assert calling.get(f"https://good.example:{port}/plain").text == "here"
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            calling.get(f"https://other.example:{port}/plain")
        with client(allow_private=True) as strict, pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            strict.get(f"https://good.example:{port}/plain")


def certificate_for(name: str, folder):  # type: ignore[no-untyped-def]
    """A self-signed certificate and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file
