"""The lab's certificates, tokens and kubeconfig files, all kept in one directory."""

from __future__ import annotations

import base64
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONTEXT = "cold-site"
HOSTS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
ADDRESSES = ("127.0.0.1", "::1", "10.43.0.1")
_DAYS = 365


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where everything is."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def serving(self) -> tuple[Path, Path]:
        return self.folder / "serving.crt", self.folder / "serving.key"

    @property
    def tokens(self) -> Path:
        """JSON: token -> {"user": name, "groups": [...]}; read again when it changes."""
        return self.folder / "tokens.json"


def _name(common: str, *organisations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organisations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(data)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
    )


class Authority:
    """A certificate authority that is made once and kept in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        cert, key = folder / "ca.crt", folder / "ca.key"
        if cert.exists() and key.exists():
            loaded = serialization.load_pem_private_key(key.read_bytes(), None)
            if not isinstance(loaded, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{key} holds no elliptic curve key")
            self._key, self._cert = loaded, x509.load_pem_x509_certificate(cert.read_bytes())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("coldtui-lab-ca")
        made = _builder(subject, subject, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = made.add_extension(usage, critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self._cert = made.sign(self._key, hashes.SHA256())
        _private(key, _pem(self._key))
        cert.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def serving(self) -> None:
        """The server's certificate, made anew at each start."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(h) for h in HOSTS]
        names += [x509.IPAddress(ipaddress.ip_address(a)) for a in ADDRESSES]
        builder = self._leaf(_name("kube-apiserver"), key, ExtendedKeyUsageOID.SERVER_AUTH)
        cert = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(self._key, hashes.SHA256())
        _private(self._folder / "serving.key", _pem(key))
        (self._folder / "serving.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def client(self, user: str, *groups: str) -> tuple[bytes, bytes]:
        """A client certificate and its key (PEM): the user is the common name, the groups are organisations."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._leaf(_name(user, *groups), key, ExtendedKeyUsageOID.CLIENT_AUTH).sign(self._key, hashes.SHA256())
        return cert.public_bytes(serialization.Encoding.PEM), _pem(key)

    def _leaf(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, use: x509.ObjectIdentifier) -> x509.CertificateBuilder:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            _builder(subject, self._cert.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(issuer_key, critical=False)
        )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_kubeconfig(path: Path, server: str, ca: bytes, user: dict[str, str]) -> None:
    """One kubeconfig with one context, readable by its owner only."""
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _b64(ca)}}],
        "users": [{"name": CONTEXT, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
        "current-context": CONTEXT,
    }
    _private(path, yaml.safe_dump(body, sort_keys=False).encode())


def prepare(folder: Path) -> Credentials:
    """Make or reuse the authority, the serving certificate and the token file."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    authority.serving()
    found = Credentials(folder)
    if not found.tokens.exists():
        tokens = {
            secrets.token_urlsafe(24): {"user": "viewer", "groups": ["lab:viewers"]},
            secrets.token_urlsafe(24): {"user": "operator", "groups": ["system:masters"]},
        }
        _private(found.tokens, msgspec.json.encode(tokens))
    return found


def write_kubeconfigs(found: Credentials, server: str) -> None:
    """``admin`` (client certificate, system:masters), ``view`` (token, role view) and ``token`` (token, system:masters)."""
    ca = found.ca.read_bytes()
    admin = found.folder / "admin.kubeconfig"
    cert, key = Authority(found.folder).client("system:admin", "system:masters")
    write_kubeconfig(admin, server, ca, {"client-certificate-data": _b64(cert), "client-key-data": _b64(key)})
    tokens: dict[str, dict[str, object]] = msgspec.json.decode(found.tokens.read_bytes())
    for token, who in tokens.items():
        name = {"viewer": "view", "operator": "token"}.get(str(who["user"]))
        if name:
            write_kubeconfig(found.folder / f"{name}.kubeconfig", server, ca, {"token": token})
