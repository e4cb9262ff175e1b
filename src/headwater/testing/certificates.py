"""An authority of a test's own, and the certificate of a server on 127.0.0.1 that it signed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LASTS = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM.

    Attributes:
        ca: the authority's certificate.
        certificate: the server's.
        key: the server's key, PKCS #8, without a password.
        both: key and certificate in one file.
    """

    ca: Path
    certificate: Path
    key: Path
    both: Path


def make(folder: Path) -> Certificates:
    """Makes an authority and a certificate for 127.0.0.1 and localhost in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name(f"Authority of {folder.name}")
    ca = (
        _begun(authority, authority, signer.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signer, hashes.SHA256())
    )
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    served = (
        _begun(_name("127.0.0.1"), authority, key.public_key())
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .sign(signer, hashes.SHA256())
    )
    shown = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    found = Certificates(*(folder / f"{name}.pem" for name in ("ca", "server", "key", "both")))
    found.ca.write_bytes(ca.public_bytes(shown[0]))
    found.certificate.write_bytes(served.public_bytes(shown[0]))
    found.key.write_bytes(key.private_bytes(*shown))
    found.both.write_bytes(found.key.read_bytes() + found.certificate.read_bytes())
    return found


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return made.serial_number(x509.random_serial_number()).not_valid_before(now - LASTS).not_valid_after(now + LASTS)
