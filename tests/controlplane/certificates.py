"""The keys and certificates of one control plane: an authority, the server, a client for each user, the service-account signer."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=1)
_SLACK = dt.timedelta(minutes=5)
"""Back-dated by this, so that a clock set back a little does not make them invalid."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes what it issues into one folder. P-256 keys: made in a millisecond."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "ca.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coldtui-test-ca")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self._root = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(self._root.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, *, dns: tuple[str, ...], addresses: tuple[str, ...]) -> Pair:
        """A serving certificate for these names and addresses."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        alternatives += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        return self._issue(name, common_name=name, group=None, alternatives=alternatives)

    def client(self, name: str, *, user: str, group: str | None = None) -> Pair:
        """A client certificate: Kubernetes reads the user from CN and the group from O."""
        return self._issue(name, common_name=user, group=group, alternatives=[])

    def signer(self, name: str) -> Path:
        """A bare private key, for signing service-account tokens."""
        return _write_key(self.folder / f"{name}.key", ec.generate_private_key(ec.SECP256R1()))

    def _issue(self, name: str, *, common_name: str, group: str | None, alternatives: list[x509.GeneralName]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if group is not None:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(x509.Name(subject), self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        path = self.folder / f"{name}.crt"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return Pair(path, _write_key(self.folder / f"{name}.key", key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key, serial_number=x509.random_serial_number())
    return builder.not_valid_before(now - _SLACK).not_valid_after(now + _VALID)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return path
