from __future__ import annotations

import asyncio
import base64
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coldtui.adapters.kube import credentials as module
from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.kubeconfig import Places
from coldtui.adapters.kube.transport import Channel
from coldtui.domain.errors import ColdError, Misconfigured, Unauthorized
from coldtui.domain.kinds import NODES
from coldtui.domain.troubles import LineTrouble, trouble_of
from tests.adapters.kube.scripted import Answer, Scripted, body, kubeconfig, refuse
from tests.adapters.kube.shapes import listing
from tests.controlplane.certificates import Authority, Pair

SECRET = "s3cr3t-token-that-must-never-be-shown-0123456789"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def server_tls(authority: Authority, pair: Pair, *, wants_client: bool = False) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    if wants_client:
        tls.load_verify_locations(authority.certificate)
        tls.verify_mode = ssl.CERT_REQUIRED
    return tls


@pytest.fixture(scope="module")
def serving(authority: Authority) -> Pair:
    return authority.server("serving", dns=("api.test",), addresses=("127.0.0.1",))


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def nodes(adapter: KubeAdapter) -> int:
    """How many nodes a list gives."""
    return sum(len(page.items) for page in adapter.streams.pages(NODES, version=None))


def sent(tmp_path: Path, user: dict[str, Any]) -> dict[str, str]:
    """The headers that such a user sends."""
    with Scripted(body(listing())) as server:
        nodes(connect(kubeconfig=kubeconfig(tmp_path / "config", server.url, user)))
        return server.requests[0].headers


# --- fixed credentials


def test_headers_of_simple_users(tmp_path: Path) -> None:
    """A token, a password, an impersonated user and nobody at all each send what kubectl would send."""
    assert sent(tmp_path, {"token": SECRET})["authorization"] == f"Bearer {SECRET}"
    assert sent(tmp_path, {"username": "u", "password": "p"})["authorization"] == "Basic dTpw"
    assert "authorization" not in sent(tmp_path, {})
    acting = sent(tmp_path, {"token": SECRET, "as": "jane", "as-groups": ["viewers"]})
    assert (acting["impersonate-user"], acting["impersonate-group"]) == ("jane", "viewers")


def test_the_slim_path_does_not_import_the_package(tmp_path: Path) -> None:
    """A plain kubeconfig is served without `kubernetes`, which would more than double the start."""
    import subprocess

    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:6443", {"token": "x"})
    code = f"import sys, pathlib; from coldtui.adapters.kube.adapter import connect; connect(kubeconfig=pathlib.Path({str(path)!r})); print('kubernetes' in sys.modules, 'cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("form", ["data", "file"])
def test_client_certificates(tmp_path: Path, authority: Authority, serving: Pair, form: str) -> None:
    """A server that demands a certificate accepts ours, whether it is inline or in files beside the kubeconfig."""
    pair = authority.client(f"c-{form}", user="admin", group="system:masters")
    if form == "data":
        user, cluster = (
            {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)},
            {"certificate-authority-data": b64(authority.certificate)},
        )
    else:
        for name, path in (("c.crt", pair.certificate), ("c.key", pair.key), ("ca.crt", authority.certificate)):
            (tmp_path / name).write_bytes(path.read_bytes())
        user, cluster = {"client-certificate": "c.crt", "client-key": "c.key"}, {"certificate-authority": "ca.crt"}
    with Scripted(body(listing()), tls=server_tls(authority, serving, wants_client=True)) as server:
        assert nodes(connect(kubeconfig=kubeconfig(tmp_path / "config", server.url, user, **cluster))) == 0


def test_tls_server_name(tmp_path: Path, authority: Authority) -> None:
    """The certificate is checked against the given name instead of the address."""
    named = authority.server("named", dns=("api.test",), addresses=())
    ca = {"certificate-authority-data": b64(authority.certificate)}
    with Scripted(body(listing()), tls=server_tls(authority, named)) as server:
        assert nodes(connect(kubeconfig=kubeconfig(tmp_path / "a", server.url, **ca, **{"tls-server-name": "api.test"}))) == 0
        with pytest.raises(LineTrouble, match=r"not trusted: IP address mismatch.*--tls-san") as caught:
            nodes(connect(kubeconfig=kubeconfig(tmp_path / "b", server.url, **ca)))
    assert trouble_of(caught.value).kind == "tls"


def test_a_certificate_of_another_authority_is_not_trusted(tmp_path: Path, authority: Authority, serving: Pair) -> None:
    """A re-installed cluster says that the kubeconfig has to be copied again; only `insecure` accepts it, without a warning on the screen."""
    other = Authority(tmp_path / "other")
    with Scripted(body(listing()), tls=server_tls(authority, serving)) as server:
        with pytest.raises(LineTrouble, match=r"not trusted: .*re-copy it"):
            nodes(connect(kubeconfig=kubeconfig(tmp_path / "a", server.url, **{"certificate-authority-data": b64(other.certificate)})))
        assert nodes(connect(kubeconfig=kubeconfig(tmp_path / "b", server.url, **{"insecure-skip-tls-verify": True}))) == 0


def test_plain_http_behind_an_https_address(tmp_path: Path, authority: Authority) -> None:
    """The wrong port is named as such: what answers a TLS greeting in plain HTTP, as web servers do, does not speak TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(65536)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        path = kubeconfig(tmp_path / "c", url, **{"certificate-authority-data": b64(authority.certificate)})
        with pytest.raises(LineTrouble, match="does not speak TLS"):
            nodes(connect(kubeconfig=path))
        server.join(5)


@pytest.mark.parametrize(
    ("user", "cluster", "words"),
    [
        ({"client-certificate-data": "!!!"}, {}, "client-certificate-data is not base64|client-key is missing"),
        ({"client-certificate": "missing.crt", "client-key": "k"}, {}, "client-certificate .*missing.crt cannot be read: No such file"),
        ({"client-key-data": "eA=="}, {}, "client-certificate is missing"),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, {}, "cannot be used together"),
        ({}, {"certificate-authority-data": "eA=="}, "no PEM certificate"),
        ({"token": "two words"}, {}, "blanks or control characters"),
        ({"token": 7}, {}, "token must be text"),
        ({"exec": {}}, {}, "exec has no command"),
        ({"exec": {"command": "x", "apiVersion": "v1alpha1"}}, {}, "exec needs apiVersion"),
        ({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}}, {}, "wants a terminal"),
        ({}, {"servre": "https://x"}, "unknown field servre"),
        ({}, {"server": "ftp://x"}, "no http or https address"),
        ({}, {"server": "https://x:99999"}, "no http or https address"),
        ({}, {"server": ""}, "it has no server"),
        ({}, {"proxy-url": "socks5://x"}, "only http and https proxies"),
        ({"as": "a\nb"}, {}, "impersonation needs plain names"),
    ],
)  # fmt: skip
def test_faults_in_words(tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], words: str) -> None:
    """Each wrong field is told with its file and line before anything is connected."""
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", user)
    document = json.loads(path.read_text())
    document["clusters"][0]["cluster"].update(cluster)
    path.write_text(json.dumps(document, indent=1))
    with pytest.raises(Misconfigured, match=words) as caught:
        connect(kubeconfig=path)
    assert f"{path}:" in str(caught.value)


def test_an_encrypted_key_does_not_ask_on_the_terminal(tmp_path: Path, authority: Authority) -> None:
    """OpenSSL would prompt beneath the console."""
    pair = authority.client("enc", user="x")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw"))
    user = {"client-certificate-data": b64(pair.certificate), "client-key-data": base64.b64encode(locked).decode()}
    with pytest.raises(Misconfigured, match=r"cannot be used together.*unencrypted"):
        connect(kubeconfig=kubeconfig(tmp_path / "config", "https://127.0.0.1:1", user))


def test_secrets_are_in_no_text(tmp_path: Path) -> None:
    """Neither errors nor the repr of the connection's parts show a token, a password or a proxy's password."""
    with Scripted(refuse(401, "Unauthorized", SECRET)) as server:
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url.replace("//", f"//user:{SECRET}@"), {"token": SECRET}))
        assert SECRET not in adapter.server
        with pytest.raises(Unauthorized) as caught:
            nodes(adapter)
    assert SECRET not in f"{caught.value!r}{caught.value}{adapter._access!r}"


# --- refusals


def expired_pair(folder: Path, issuer: str) -> tuple[str, str]:
    """(certificate, key) as base64, out of date since 2024."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("system:admin", issuer))
    builder = x509.CertificateBuilder(by, name, key.public_key(), x509.random_serial_number())
    made = (
        builder.not_valid_before(datetime(2023, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2024, 5, 6, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode(), base64.b64encode(pem).decode()


@pytest.mark.parametrize(
    ("issuer", "hint"), [("k3s-client-ca@1700000000", "re-copy /etc/rancher/k3s/k3s.yaml"), ("my-ca", "renew the credentials in")]
)
def test_an_expired_client_certificate_is_named(tmp_path: Path, authority: Authority, serving: Pair, issuer: str, hint: str) -> None:
    """On 401 the date is told, and that a copied k3s.yaml has to be copied again."""
    certificate, key = expired_pair(tmp_path, issuer)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    with Scripted(refuse(401, "Unauthorized"), tls=server_tls(authority, serving)) as server:
        path = kubeconfig(tmp_path / "c", server.url, user, **{"certificate-authority-data": b64(authority.certificate)})
        with pytest.raises(Unauthorized, match="client certificate expired on 2024-05-06") as caught:
            nodes(connect(kubeconfig=path))
    assert hint in caught.value.hint


def test_a_copy_of_k3s_yaml_that_is_refused(tmp_path: Path) -> None:
    """A file of that name gets the hint of K3s even without a certificate."""
    with Scripted(refuse(401, "Unauthorized")) as server, pytest.raises(Unauthorized, match=r"credentials refused.*re-copy"):
        nodes(connect(kubeconfig=kubeconfig(tmp_path / "k3s.yaml", server.url, {"token": "x"})))


def test_a_server_that_refuses_our_certificate_in_tls(tmp_path: Path, authority: Authority, serving: Pair) -> None:
    """A refusal during TLS is one of the credentials, not of the line."""
    with Scripted(body(listing()), tls=server_tls(authority, serving, wants_client=True)) as server:
        path = kubeconfig(tmp_path / "c", server.url, **{"certificate-authority-data": b64(authority.certificate)})
        with pytest.raises(ColdError) as caught:
            nodes(connect(kubeconfig=path))
    assert trouble_of(caught.value).kind in {"unauthorized", "lost"}, "TLS 1.3 tells the refusal after the handshake; a reset may outrun it"


# --- rotating tokens


def test_a_rotated_token_file(tmp_path: Path) -> None:
    """After a 401 the file is read again and the request repeated once; an unchanged file is a refusal."""
    token = tmp_path / "token"
    token.write_text("old\n")
    with Scripted(body(listing()), refuse(401), body(listing()), refuse(401)) as server:
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, {"token": "unused", "tokenFile": "token"}))
        nodes(adapter)
        token.write_text("new\n")
        nodes(adapter)
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer old", "Bearer old", "Bearer new"]
        with pytest.raises(Unauthorized):
            nodes(adapter)
        assert len(server.requests) == 4


def test_a_token_file_is_read_again_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any 401 a new token is picked up when the old one has been used for a minute."""
    (tmp_path / "token").write_text("old")
    auth = module.TokenFile(tmp_path / "token")
    assert auth.headers()["Authorization"] == "Bearer old"
    (tmp_path / "token").write_text("new")
    assert auth.headers()["Authorization"] == "Bearer old"
    monkeypatch.setattr(module, "TOKEN_FILE_S", 0.0)
    assert auth.headers()["Authorization"] == "Bearer new"


@pytest.mark.parametrize("content", [None, "", "two words", "a\x00b"])
def test_a_token_file_without_token(tmp_path: Path, content: str | None) -> None:
    """A missing or empty file is a refusal in words."""
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(Unauthorized, match="token file"):
        module.TokenFile(tmp_path / "token").headers()


def test_in_cluster(tmp_path: Path, authority: Authority, serving: Pair) -> None:
    """In a pod the service account's token, authority and namespace are used."""
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "namespace").write_text("web\n")
    with Scripted(body(listing()), tls=server_tls(authority, serving)) as server:
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        adapter = connect(places=Places(environ, tmp_path, tmp_path / "none", tmp_path))
        nodes(adapter)
        assert (adapter.context, adapter.namespace) == ("in-cluster", "web")
        assert server.requests[0].headers["authorization"] == "Bearer pod-token"


# --- plugins


class Script:
    """A credential plugin: a small program that counts its runs."""

    def __init__(self, folder: Path, source: str) -> None:
        self.log = folder / "runs"
        self.path = folder / "plugin"
        head = f"#!{sys.executable}\nimport json, os, sys, time\nopen({str(self.log)!r}, 'a').write('x')\nn = os.path.getsize({str(self.log)!r})\n"
        self.path.write_text(head + source)
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def user(self, **more: Any) -> dict[str, Any]:
        spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "IfAvailable"}
        return {"exec": {**spec, "args": ["a b"], "env": [{"name": "EXTRA", "value": "1"}], **more}}


def give(status: str) -> str:
    return f"print(json.dumps({{'kind': 'ExecCredential', 'status': {status}}}))\n"


def give_numbered(minutes: int) -> str:
    """A token with the number of the run, valid for so long."""
    until = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return give("{'token': f'token-{n}', 'expirationTimestamp': 'UNTIL'}".replace("UNTIL", until))


def test_a_plugin_is_run_once_and_again_after_401(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token is kept while it is valid; a 401 makes a new one, once."""
    script = Script(tmp_path, give_numbered(60))
    with Scripted(body(listing()), body(listing()), refuse(401), body(listing()), refuse(401), refuse(401)) as server:
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, script.user()))
        nodes(adapter), nodes(adapter)
        assert script.runs == 1
        monkeypatch.setattr(time, "monotonic", lambda clock=time.monotonic: clock() + 5)
        nodes(adapter)
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer token-1"] * 3 + ["Bearer token-2"]
        with pytest.raises(Unauthorized):
            nodes(adapter)


def test_an_expired_answer_of_a_plugin_is_renewed(tmp_path: Path) -> None:
    """A token that has expired is not sent."""
    script = Script(tmp_path, give_numbered(-1))
    with Scripted(body(listing()), body(listing())) as server:
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, script.user()))
        nodes(adapter), nodes(adapter)
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer token-1", "Bearer token-2"]


def test_what_a_plugin_gets(tmp_path: Path) -> None:
    """Arguments, environment and cluster info reach it; it has neither our terminal nor an open stdin."""
    seen = tmp_path / "seen"
    source = f"json.dump([sys.argv[1:], os.environ['EXTRA'], json.loads(os.environ['KUBERNETES_EXEC_INFO']), sys.stdin.read(), os.getsid(0) == os.getpid()], open({str(seen)!r}, 'w'))\n"
    script = Script(tmp_path, source + give("{'token': 't'}"))
    with Scripted(body(listing())) as server:
        nodes(connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, script.user(provideClusterInfo=True))))
        arguments, extra, info, stdin, alone = json.loads(seen.read_text())
        assert (arguments, extra, stdin, alone) == (["a b"], "1", "", True)
        assert info["spec"] == {"interactive": False, "cluster": {"server": server.url}}


def test_a_plugin_may_give_a_certificate(tmp_path: Path, authority: Authority, serving: Pair) -> None:
    """A client certificate out of a plugin is used in TLS."""
    pair = authority.client("plugin", user="p")
    status = f"{{'clientCertificateData': open({str(pair.certificate)!r}).read(), 'clientKeyData': open({str(pair.key)!r}).read()}}"
    script = Script(tmp_path, give(status))
    with Scripted(body(listing()), tls=server_tls(authority, serving, wants_client=True)) as server:
        ca = {"certificate-authority-data": b64(authority.certificate)}
        assert nodes(connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, script.user(), **ca))) == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"sys.stderr.write('noise\\nlog in first: {SECRET}\\x1b[2J\\n'); sys.exit(3)\n", r"failed \(3\).*log in first: •••"),
        ("print('not json')\n", "gave no usable credential"),
        (give("{'token': ''}"), "gave no usable credential"),
        (give("{'clientCertificateData': 'x'}"), "gave no usable credential"),
        (give("{'token': 'a\\nb'}"), "gave no usable credential"),
        (give("{'token': 't', 'expirationTimestamp': 'soon'}"), "gave no usable credential"),
        ("time.sleep(60)\n", "did not end within"),
    ],
)
def test_a_plugin_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str) -> None:
    """Its failure is told in one clean line without what may be a token; a hanging one is ended."""
    monkeypatch.setattr(module, "PLUGIN_S", 1.0 if "sleep" in source else 10.0)
    script = Script(tmp_path, source)
    adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", "http://127.0.0.1:1", script.user()))
    with pytest.raises(Unauthorized, match=words) as caught:
        nodes(adapter)
    assert SECRET not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    """The kubeconfig's own hint is shown."""
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "installHint": "apt install it"}
    with pytest.raises(Misconfigured, match=r"no-such-plugin is not there.*apt install it"):
        nodes(connect(kubeconfig=kubeconfig(tmp_path / "c", "http://127.0.0.1:1", {"exec": spec})))


def test_a_plugin_is_run_once_for_many_streams(tmp_path: Path) -> None:
    """Thirty watches that start together do not start thirty programs."""
    script = Script(tmp_path, give("{'token': 't'}"))
    with Scripted(*[body(listing())] * 8) as server:
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, script.user()))
        threads = [threading.Thread(target=nodes, args=(adapter,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert script.runs == 1


def test_oidc_goes_through_the_package(tmp_path: Path) -> None:
    """An auth-provider's token is taken by the official package."""
    part = base64.urlsafe_b64encode(json.dumps({"exp": 4_000_000_000}).encode()).decode().rstrip("=")
    token = f"e30.{part}.sig"
    provider = {
        "auth-provider": {
            "name": "oidc",
            "config": {"id-token": token, "refresh-token": "r", "client-id": "c", "idp-issuer-url": "https://x"},
        }
    }
    assert sent(tmp_path, provider)["authorization"] == f"Bearer {token}"


def test_a_proxy_is_used_for_http(tmp_path: Path) -> None:
    """Requests of a plain cluster with proxy-url go to the proxy, with the cluster's name."""
    with Scripted(body(listing())) as proxy:
        nodes(connect(kubeconfig=kubeconfig(tmp_path / "c", "http://api.test:6443", **{"proxy-url": proxy.url})))
        assert proxy.requests[0].headers["host"] == "api.test:6443"


def tunnel(port: int) -> Answer:
    """What a proxy does after CONNECT."""

    def answer(near: socket.socket) -> bool:
        with socket.create_connection(("127.0.0.1", port)) as far:
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                for one, other in ((near, far), (far, near)):
                    if one in select.select([near, far], [], [], 0.02)[0]:
                        data = one.recv(65536)
                        if not data:
                            return False
                        other.sendall(data)

    return answer


def test_a_proxy_is_a_tunnel_for_https(tmp_path: Path, authority: Authority, serving: Pair) -> None:
    """TLS goes through the proxy to the cluster itself, whose certificate is checked."""
    with Scripted(body(listing()), tls=server_tls(authority, serving)) as server, Scripted(tunnel(server.port)) as proxy:
        ca = {"certificate-authority-data": b64(authority.certificate)}
        adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server.url, {"token": SECRET}, **ca, **{"proxy-url": proxy.url}))
        assert nodes(adapter) == 0
        assert [r.method for r in proxy.requests] == ["CONNECT"]
        assert SECRET not in str(proxy.requests)
        adapter.streams.close()


# --- the gate


@pytest.fixture
def channel() -> Iterator[tuple[Scripted, Channel]]:
    with Scripted(body({}), body({})) as server:
        yield server, Channel(Access(server.url, None, Fixed()), kept=1)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/v1/nodes/a"),
        ("PATCH", "/x"),
        ("PUT", "/x"),
        ("POST", "/api/v1/pods"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x"),
    ],
)
def test_the_write_gate_is_closed(channel: tuple[Scripted, Channel], method: str, path: str) -> None:
    """Nothing that could change the cluster leaves this process; questions about oneself do."""
    server, line = channel
    with pytest.raises(ColdError, match="read-only"):
        line.ask(method, path)
    assert server.requests == []
    line.read(line.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=b"{}"), 1)
    assert [r.method for r in server.requests] == ["POST"]


def test_the_gate_opens_by_construction_only() -> None:
    """A channel that was made writable passes a DELETE."""
    with Scripted(body({})) as server:
        line = Channel(Access(server.url, None, Fixed()), kept=1, writable=True)
        line.read(line.ask("DELETE", "/api/v1/nodes/a"), 1)
        assert server.requests[0].method == "DELETE"


@pytest.mark.parametrize(
    ("server", "kind", "words"),
    [
        ("http://127.0.0.1:1", "refused", "connection refused by 127.0.0.1:1"),
        ("http://no-such-host.invalid:6443", "dns", "name no-such-host.invalid cannot be resolved"),
    ],
)
def test_lines_that_cannot_be_made(tmp_path: Path, server: str, kind: str, words: str) -> None:
    """A refused connection and a name that does not resolve are told apart."""
    adapter = connect(kubeconfig=kubeconfig(tmp_path / "c", server))
    with pytest.raises(LineTrouble) as caught:
        asyncio.run(adapter.alive())
    assert trouble_of(caught.value).kind == kind
    assert trouble_of(caught.value).words == words
