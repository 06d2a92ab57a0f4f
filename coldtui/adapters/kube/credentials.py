"""From a kubeconfig entry to what a connection needs: address, TLS, and headers that stay fresh.

All common forms are handled here with `ssl` alone, since importing the `kubernetes` package costs more than all the rest of a start.
Only `auth-provider` (OIDC and its kin) is left to that package. No error text ever contains what was in a credential.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from ...domain.errors import Misconfigured, Unauthorized
from ...domain.secret import Secret
from ...domain.text import plain
from .kubeconfig import Chosen, Entry, Places

TOKEN_FILE_S = 60.0
"""A token file is read again after this; the kubelet renews it long before it expires."""
PLUGIN_S = 15.0
"""A credential plugin may ask a server of its own, but must not hold the console for longer."""
_EARLY_S = 10.0
"""A credential is renewed this long before it expires."""

_CLUSTER_KEYS = {
    "server", "certificate-authority", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify", "proxy-url",
    "disable-compression", "extensions",
}  # fmt: skip
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_.\-]{32,}")
"""What may be a token in the output of a program."""


class Auth(Protocol):
    """Headers for each request."""

    def headers(self) -> dict[str, str]:
        """Raises Unauthorized or Misconfigured."""
        ...

    def renew(self) -> bool:
        """After a 401: get the credential anew. False: there is nothing to renew."""
        ...


@dataclass(slots=True)
class Fixed:
    """A token, a password, or a client certificate (then there are no headers)."""

    _headers: dict[str, str] = field(default_factory=dict, repr=False)

    def headers(self) -> dict[str, str]:
        return self._headers

    def renew(self) -> bool:
        return False


class TokenFile:
    """A token in a file that someone else rotates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = Secret("")
        self._read_at = float("-inf")

    def headers(self) -> dict[str, str]:
        if time.monotonic() - self._read_at >= TOKEN_FILE_S:
            self._read()
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def renew(self) -> bool:
        before = self._token
        self._read()
        return self._token != before

    def _read(self) -> None:
        try:
            text = self.path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise Unauthorized(f"token file {self.path} cannot be read", detail=reason or "") from None
        if not text or any(c.isspace() or not c.isprintable() for c in text):
            raise Unauthorized(f"token file {self.path} holds no token")
        self._token, self._read_at = Secret(text), time.monotonic()


@dataclass(slots=True)
class Access:
    """Everything a connection needs."""

    server: str
    """URL without credentials, without a slash at the end."""
    tls: ssl.SSLContext | None
    """None for plain http."""
    auth: Auth
    context: str = ""
    namespace: str = ""
    tls_server_name: str | None = None
    proxy: Secret | None = None
    """URL, perhaps with a password in it."""
    insecure: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    """Our client certificate (PEM), to tell when it has expired."""
    source: str = ""
    """The file that the user comes from."""
    impersonate: tuple[tuple[str, str], ...] = ()
    """Headers."""

    @property
    def has_token(self) -> bool:
        """Whether requests carry a bearer token."""
        return self.auth.headers().get("Authorization", "").startswith("Bearer ")

    def refused(self, detail: str = "") -> Unauthorized:
        """401 in words, with the reason if we can see it."""
        expired, k3s = self._certificate_facts()
        recopy = "re-copy /etc/rancher/k3s/k3s.yaml from the K3s server: it renews its certificates at a restart, copies go stale"
        if expired is not None:
            title = f"client certificate expired on {expired:%Y-%m-%d}"
            return Unauthorized(
                title, detail=self.source, hint=recopy if k3s else f"renew the credentials in {self.source or 'the kubeconfig'}"
            )
        hint = recopy if k3s else f"renew the credentials in {self.source}" if self.source else ""
        return Unauthorized("credentials refused", detail=detail, hint=hint)

    def _certificate_facts(self) -> tuple[datetime | None, bool]:
        """(when it expired, whether K3s issued it); only after a refusal, hence the late import."""
        named = Path(self.source).name == "k3s.yaml"
        if self.certificate is None:
            return None, named
        from cryptography import x509

        try:
            found = x509.load_pem_x509_certificate(self.certificate)
        except ValueError:
            return None, named
        k3s = named or "k3s" in found.issuer.rfc4514_string()
        ended = found.not_valid_after_utc
        return (ended if ended < datetime.now(UTC) else None), k3s


# --- making it -------------------------------------------------------------------------------------------------------------------------


def in_cluster(places: Places) -> Access:
    """The service account of the pod that we run in."""
    host, port = places.environ["KUBERNETES_SERVICE_HOST"], places.environ.get("KUBERNETES_SERVICE_PORT", "443")
    authority = places.account / "ca.crt"
    try:
        tls = _tls(authority.read_text())
    except (OSError, ValueError, ssl.SSLError):
        raise Misconfigured(f"{authority} cannot be used as certificate authority") from None
    namespace = places.account / "namespace"
    inside = plain(namespace.read_text().strip()) if namespace.exists() else ""
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server, tls, TokenFile(places.account / "token"), "in-cluster", inside, source=str(places.account))


def access(chosen: Chosen, environ: Mapping[str, str]) -> Access:
    """Raises Misconfigured."""
    cluster, user = chosen.cluster, chosen.user
    for key in sorted(set(cluster.value) - _CLUSTER_KEYS):
        raise cluster.wrong(f"unknown field {plain(key)}", key=key, hint="remove it or correct its name")
    server = _server(cluster)
    insecure = cluster.value.get("insecure-skip-tls-verify") is True
    found = Access(
        server,
        None,
        Fixed(),
        chosen.context,
        chosen.namespace,
        tls_server_name=cluster.text("tls-server-name") or None,
        proxy=_proxy(cluster),
        insecure=insecure,
        source=str(user.file),
        impersonate=_impersonate(user),
    )
    if server.startswith("https:"):
        authority = _data(cluster, "certificate-authority")
        try:
            found.tls = _tls(authority.decode("ascii") if authority else None, insecure=insecure)
        except (ValueError, ssl.SSLError):
            raise cluster.wrong("its certificate authority is no PEM certificate", key="certificate-authority-data") from None
        found.certificate = _load_pair(found.tls, user)
    found.auth = _auth(user, cluster, found, environ)
    return found


def _server(cluster: Entry) -> str:
    server = cluster.text("server").rstrip("/")
    if not server:
        raise cluster.wrong("it has no server", hint="add `server: https://ADDRESS:6443`")
    try:
        parts = urlsplit(server if "://" in server else f"https://{server}")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise cluster.wrong("its server is no http or https address", key="server", hint="such as https://192.168.15.110:6443")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _proxy(cluster: Entry) -> Secret | None:
    url = cluster.text("proxy-url")
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise cluster.wrong("only http and https proxies are supported", key="proxy-url", hint="use an http proxy")
    return Secret(url)


def _tls(authority: str | None, *, insecure: bool = False) -> ssl.SSLContext:
    tls = ssl.create_default_context(cadata=authority)  # with cadata the system's store is not read
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # default since Python 3.13; authorities that clusters make themselves do not all pass it
    if insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _data(entry: Entry, key: str) -> bytes | None:
    """A field that is given as base64 (`KEY-data`, which wins) or as a file."""
    if encoded := entry.text(f"{key}-data"):
        try:
            return base64.b64decode(encoded, validate=False)
        except (binascii.Error, ValueError):
            raise entry.wrong(f"{key}-data is not base64", key=f"{key}-data", hint="re-copy the file; a line may have been cut") from None
    if name := entry.text(key):
        return _file(entry, key, entry.file.parent / Path(name).expanduser())
    return None


def _file(entry: Entry, key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise entry.wrong(f"{key} {path} cannot be read: {error.strerror}", key=key) from None


def _load_pair(tls: ssl.SSLContext, user: Entry) -> bytes | None:
    certificate, key = _data(user, "client-certificate"), _data(user, "client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        lacking = "client-certificate" if certificate is None else "client-key"
        raise user.wrong(f"{lacking} is missing", hint="a client certificate needs its key, and the other way round")
    try:
        load_pair(tls, certificate, key)
    except (ssl.SSLError, ValueError, OSError):
        raise user.wrong(
            "client certificate and key cannot be used together",
            key="client-key-data",
            hint="both must be PEM, unencrypted and of one pair",
        ) from None
    return certificate


def load_pair(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`load_cert_chain` wants a path; this one never reaches a disk. Raises ssl.SSLError, ValueError."""

    def no_passphrase() -> str:
        raise ValueError("the key is encrypted")  # OpenSSL would ask on the terminal, beneath the console

    with _unnamed(certificate + b"\n" + key) as path:
        tls.load_cert_chain(path, password=no_passphrase)


@contextlib.contextmanager
def _unnamed(content: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:  # 0600
            file.write(content)
            file.flush()
            yield file.name


def _auth(user: Entry, cluster: Entry, found: Access, environ: Mapping[str, str]) -> Auth:
    if name := user.text("tokenFile"):
        return TokenFile(user.file.parent / Path(name).expanduser())
    if token := user.text("token"):
        if any(c.isspace() or not c.isprintable() for c in token):
            raise user.wrong("its token has blanks or control characters in it", key="token", hint="re-copy it")
        return Fixed({"Authorization": f"Bearer {token}"})
    if "exec" in user.value:
        return Plugin(user, cluster, found, environ)
    if "auth-provider" in user.value:
        return Provider(user)
    if name := user.text("username"):
        pair = f"{name}:{user.text('password')}".encode()
        return Fixed({"Authorization": f"Basic {base64.b64encode(pair).decode()}"})
    return Fixed()


def _impersonate(user: Entry) -> tuple[tuple[str, str], ...]:
    """`as`, `as-uid`, `as-groups`: the credential of one, the rights of another."""
    groups = user.value.get("as-groups") or []
    if not isinstance(groups, list) or not all(isinstance(g, str) for g in groups):
        raise user.wrong("as-groups must be a list of names", key="as-groups")
    found = [("Impersonate-User", user.text("as")), ("Impersonate-Uid", user.text("as-uid")), *(("Impersonate-Group", g) for g in groups)]
    if any(not value.isascii() or not value.isprintable() for _, value in found):
        raise user.wrong("impersonation needs plain names", key="as")
    return tuple((header, value) for header, value in found if value)


# --- programs and providers ------------------------------------------------------------------------------------------------------------


class Plugin:
    """A credential plugin (`exec`): run without a terminal and within a time; its answer is kept until it expires."""

    def __init__(self, user: Entry, cluster: Entry, access: Access, environ: Mapping[str, str]) -> None:
        spec = user.value["exec"]
        command = spec.get("command") if isinstance(spec, dict) else None
        if not isinstance(command, str) or not command:
            raise user.wrong("exec has no command", key="exec")
        version = spec.get("apiVersion")
        if version not in {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}:
            raise user.wrong("exec needs apiVersion client.authentication.k8s.io/v1", key="exec", hint="update the plugin and this entry")
        if spec.get("interactiveMode") == "Always":
            raise user.wrong(
                f"plugin {plain(command)} wants a terminal", key="exec", hint="use one that works without (interactiveMode: Never)"
            )
        arguments, extra = spec.get("args") or [], spec.get("env") or []
        if not all(isinstance(a, str) for a in arguments) or not all(isinstance(e, dict) and isinstance(e.get("name"), str) for e in extra):
            raise user.wrong("args and env of exec must be text", key="exec")
        self.name = plain(Path(command).name)
        self._hint = plain(str(spec.get("installHint") or f"install {self.name}, or put it on the PATH"))
        self._command = str(user.file.parent / command) if "/" in command else command
        self._arguments: list[str] = arguments
        self._environ = {**environ, **{e["name"]: str(e.get("value") or "") for e in extra}}
        self._environ["KUBERNETES_EXEC_INFO"] = json.dumps(self._info(version, spec, cluster))
        self._access = access
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._expires: datetime | None = None
        self._ran = float("-inf")
        self._asked = False

    @staticmethod
    def _info(version: str, spec: Mapping[str, Any], cluster: Entry) -> dict[str, Any]:
        inside: dict[str, Any] = {"interactive": False}
        if spec.get("provideClusterInfo"):
            fields = ("server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
            inside["cluster"] = {key: cluster.value[key] for key in fields if key in cluster.value}
        return {"apiVersion": version, "kind": "ExecCredential", "spec": inside}

    def headers(self) -> dict[str, str]:
        with self._lock:
            if not self._asked or (self._expires is not None and (self._expires - datetime.now(UTC)).total_seconds() < _EARLY_S):
                self._run()
            return self._headers

    def renew(self) -> bool:
        with self._lock:
            if time.monotonic() - self._ran > 1.0:  # thirty streams may get their 401 at once: one run is enough
                self._run()
            return True

    def _run(self) -> None:
        output = self._output()
        try:
            status = json.loads(output)["status"]
            token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
            expires = datetime.fromisoformat(status["expirationTimestamp"]) if status.get("expirationTimestamp") else None
            if not (isinstance(token, str) and token.isprintable() and (token or (certificate and key))):
                raise ValueError
            if expires is not None and expires.tzinfo is None:
                raise ValueError
            if certificate and key and self._access.tls is not None:
                load_pair(self._access.tls, certificate.encode(), key.encode())
                self._access.certificate = certificate.encode()
        except (ValueError, KeyError, TypeError, AttributeError, ssl.SSLError):
            raise Unauthorized(
                f"credential plugin {self.name} gave no usable credential", hint="run it by hand to see what it prints"
            ) from None
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._expires, self._ran, self._asked = expires, time.monotonic(), True

    def _output(self) -> bytes:
        if shutil.which(self._command, path=self._environ.get("PATH")) is None:
            raise Misconfigured(f"credential plugin {self.name} is not there", hint=self._hint)
        process = subprocess.Popen(
            [self._command, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environ,
            start_new_session=True,  # it cannot open our terminal, and its children end with it
        )
        try:
            output, said = process.communicate(timeout=PLUGIN_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Unauthorized(f"credential plugin {self.name} did not end within {PLUGIN_S:.0f} s") from None
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            last = _LONG_WORD.sub("•••", plain(lines[-1]))[:200] if lines else ""
            raise Unauthorized(
                f"credential plugin {self.name} failed ({process.returncode})", detail=last, hint="run it by hand, or log in anew"
            )
        return output


class Provider:
    """`auth-provider`: OIDC and its kin, left to the `kubernetes` package, which also renews the token."""

    def __init__(self, user: Entry) -> None:
        self._user = user
        self._lock = threading.Lock()
        self._loader: Any = None

    def headers(self) -> dict[str, str]:
        with self._lock:
            return {"Authorization": self._token()}

    def renew(self) -> bool:
        return False  # the package looks at the expiry at each call

    def _token(self) -> str:
        from kubernetes.client.configuration import Configuration  # 0.3 s of CPU: only for those who need it
        from kubernetes.config.kube_config import KubeConfigLoader

        if self._loader is None:
            document = {
                "current-context": "it",
                "clusters": [{"name": "it", "cluster": {"server": "https://unused"}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                "users": [{"name": "it", "user": dict(self._user.value)}],
            }
            self._loader = KubeConfigLoader(document, config_base_path=str(self._user.file.parent))
        try:
            configuration = Configuration()
            self._loader.load_and_set(configuration)
            token = configuration.get_api_key_with_prefix("authorization", "BearerToken")
        except Exception as error:  # noqa: BLE001  # whatever a provider's library raises; its text may quote the token
            raise Unauthorized(f"auth-provider of {self._user.name} failed ({type(error).__name__})", hint="log in anew") from None
        if not token:
            raise Unauthorized(f"auth-provider of {self._user.name} gave no token", hint="log in anew")
        return str(token)
