"""How the program begins and ends where nothing is as it should be: no site, no terminal, broken files, signals; and what it keeps to itself."""

from __future__ import annotations

import base64
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.whole.ground import Console, Embedded, Real, command, environment

USABLE_S = 10.0
"""2 s are promised and recorded; this machine may have other things to do. The same for a key, of which 100 ms are promised."""
PRESSED_MS = 2500.0
Record = Callable[[str, object], None]


def clean(console: Console) -> None:
    """The terminal is as it was before: settings, cursor, main screen."""
    assert console.settings == console.before
    assert console.raw.rfind(b"\x1b[?25h") > console.raw.rfind(b"\x1b[?25l")
    assert console.raw.rfind(b"\x1b[?1049l") > console.raw.rfind(b"\x1b[?1049h") > -1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    made = Embedded(tmp_path_factory.mktemp("start"))
    yield made
    made.stop()


@pytest.mark.parametrize(("cols", "rows"), [(80, 24), (120, 40)])
def test_nothing_at_all(tmp_path: Path, cols: int, rows: int, record_property: Record) -> None:
    """Without any configuration the console is up within 2 s, says which places it looked at and what to do, answers keys, and quits with 0."""
    console = Console(tmp_path / "home", cols=cols, rows=rows)
    try:
        record_property("usable_s", round(console.timed(lambda: "kubeconfig" in console.text, USABLE_S), 2))
        console.quiet()
        for keys in ("", "\x12"):  # as differences, and painted anew: the same
            console.send(keys)
            console.quiet()
            assert "PostgreSQL clusters: failed" in console.text, console.text
        assert b"\0" not in console.raw
        console.send("6")
        console.until(lambda: "tried" in console.text and "k3s.yaml" in console.text)
        assert console.press("2") < PRESSED_MS
        assert console.press("?") < PRESSED_MS
        console.send("\x1b")
        console.quiet()
        console.send("\x03")
        assert console.wait() == 0
        clean(console)
    finally:
        console.close()


def test_a_tiny_terminal_and_back(server: Embedded, tmp_path: Path) -> None:
    """At 40x10 the worst problem and the needed size are shown; at 120x40 the whole screen is back, and it never ends."""
    console = Console(tmp_path / "home", "--kubeconfig", str(server.kubeconfig), cols=120, rows=40)
    try:
        console.until("5 ready")
        console.resize(40, 10)
        console.until("needs 60x15")
        console.send("2")
        console.resize(120, 40)
        console.until(lambda: "Nodes [5]" in console.text and "? Help" in console.screen.display[39])
        console.send("\x03")
        assert console.wait() == 0
        clean(console)
    finally:
        console.close()


def test_no_terminal_and_a_dumb_one(server: Embedded, tmp_path: Path) -> None:
    """Without a tty, and with TERM=dumb: exit 2, one line that says what to use instead, not one escape sequence."""
    done = command(tmp_path / "home", kubeconfig=server.kubeconfig)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "coldtui status" in done.err
    console = Console(tmp_path / "home", "--kubeconfig", str(server.kubeconfig), environ={"TERM": "dumb"})
    try:
        assert console.wait() == 2
        assert b"\x1b" not in console.raw
        assert b"coldtui status" in console.raw
    finally:
        console.close()


@pytest.mark.parametrize("way", ["SIGTERM", "SIGHUP", "ctrl-c"])
def test_every_end_gives_the_terminal_back(server: Embedded, tmp_path: Path, way: str) -> None:
    """SIGTERM, SIGHUP and ctrl-c end it within seconds, with the terminal's settings, main screen and cursor as before."""
    console = Console(tmp_path / "home", "--kubeconfig", str(server.kubeconfig))
    try:
        console.until("5 ready")
        if way == "ctrl-c":
            console.send("\x03")
            assert console.wait(10) == 0
        else:
            number = signal.Signals[way]
            console.signal(number)
            assert console.wait(10) in (128 + number, -number)
        clean(console)
    finally:
        console.close()


def expired_certificate(folder: Path, kubeconfig: Path) -> Path:
    """The same kubeconfig with a client certificate that ended yesterday."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "yesterday"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now - datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {
        "client-certificate-data": base64.b64encode(certificate.public_bytes(pem)).decode(),
        "client-key-data": base64.b64encode(private).decode(),
    }
    return written(folder / "expired.kubeconfig", yaml.safe_dump(config))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def _kubeconfig_yaml(folder: Path, server: Embedded) -> list[str]:
    return ["--kubeconfig", str(written(folder / "k.yaml", "apiVersion: v1\nclusters: [\n  - {name: x"))]


def _unknown_context(folder: Path, server: Embedded) -> list[str]:
    return ["--kubeconfig", str(server.kubeconfig), "--context", "nobody"]


def _no_file(folder: Path, server: Embedded) -> list[str]:
    return ["--kubeconfig", str(folder / "nothing-here")]


def _a_folder(folder: Path, server: Embedded) -> list[str]:
    return ["--kubeconfig", str(folder)]


def _config_yaml(folder: Path, server: Embedded) -> list[str]:
    return ["--config", str(written(folder / "c.yaml", "site: [unclosed\n  name: x")), "--kubeconfig", str(server.kubeconfig)]


def _config_key(folder: Path, server: Embedded) -> list[str]:
    return ["--config", str(written(folder / "c.yaml", "sitte:\n  name: x\n")), "--kubeconfig", str(server.kubeconfig)]


MISTAKES = [
    pytest.param(_kubeconfig_yaml, 2, r"k\.yaml.*(YAML|line \d)", id="kubeconfig that is no YAML"),
    pytest.param(_unknown_context, 2, r"nobody", id="unknown context"),
    pytest.param(_no_file, 2, r"nothing-here.*does not exist", id="kubeconfig that is not there"),
    pytest.param(_a_folder, 2, r"(folder|directory)", id="kubeconfig that is a folder"),
    pytest.param(_config_yaml, 2, r"c\.yaml", id="configuration that is no YAML"),
    pytest.param(_config_key, 2, r"sitte.*did you mean.*site", id="configuration with a misspelt key"),
]


@pytest.mark.parametrize(("make", "code", "words"), MISTAKES)
def test_mistakes_are_one_clear_line(
    server: Embedded, tmp_path: Path, make: Callable[[Path, Embedded], list[str]], code: int, words: str
) -> None:
    """A broken file, an unknown context: one line on stderr that names it, nothing on stdout, its exit code, no traceback."""
    done = command(tmp_path / "home", *make(tmp_path, server), "nodes")
    assert done.err.count("\n") == 1, done.err
    assert re.search(words, done.err), done.err
    assert (done.code, done.out) == (code, ""), done.err
    assert "Traceback" not in done.err


@pytest.mark.controlplane
def test_an_expired_client_certificate(site_plane: Real, tmp_path: Path) -> None:
    """A real API server's 401 for a certificate that ended yesterday: one line that says so and when, exit 5; the console says the same."""
    expired = expired_certificate(tmp_path, site_plane.kubeconfig)
    done = command(tmp_path / "home", "nodes", kubeconfig=expired)
    assert (done.code, done.out, done.err.count("\n")) == (5, "", 1), done.err
    assert re.search(r"client certificate expired on \d{4}-\d\d-\d\d", done.err), done.err
    console = Console(tmp_path / "home", "--kubeconfig", str(expired))
    try:
        console.until("client certificate expired on", 5)
        assert console.lives
    finally:
        console.close()


def test_a_file_that_may_not_be_read(server: Embedded, request: pytest.FixtureRequest) -> None:
    """A kubeconfig without read permission: one line, exit 2. As root, who may read all, another user runs it."""
    tmp_path = Path(tempfile.mkdtemp(prefix="coldtui-test-"))  # pytest's own folders are closed to others
    tmp_path.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(tmp_path))
    shut = written(tmp_path / "shut", server.kubeconfig.read_text())
    shut.chmod(0)
    arguments = [sys.executable, "-m", "coldtui", "--kubeconfig", str(shut), "nodes"]
    if os.geteuid() == 0:
        if not _nobody_can_run(tmp_path):
            pytest.skip("nobody else may run this program on this machine")
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            env=environment(tmp_path / "home"),
            timeout=30,
            check=False,
            user=65534,
            extra_groups=(),
        )
    else:
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(tmp_path / "home"), timeout=30, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert re.search("permission|not permitted|may not be read|readable", done.stderr, re.I), done.stderr


def _nobody_can_run(folder: Path) -> bool:
    for each in (folder, *folder.parents):
        if not each.stat().st_mode & 0o001 and each.owner() == "root":
            return False
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import coldtui.cli.run"], user=65534, extra_groups=(), capture_output=True, check=False
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def secrets_of(kubeconfig: Path) -> set[bytes]:
    """Every secret of a kubeconfig, in each form in which it could leak."""
    user: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
    found = set()
    for name in ("token", "client-key-data"):
        if name in user:
            found.add(user[name].encode())
            if name == "client-key-data":
                found.update(line for line in base64.b64decode(user[name]).splitlines() if line and b"-----" not in line)
    return found


@pytest.mark.parametrize("which", ["token", "certificate"])
def test_secrets_stay_where_they_are(server: Embedded, tmp_path: Path, which: str) -> None:
    """Neither token nor key is on the screen, in any file that the program keeps, in a command line, or in a child's environment; not even while it fails."""
    kubeconfig = server.token if which == "token" else server.kubeconfig
    secrets = secrets_of(kubeconfig)
    assert secrets
    home = tmp_path / "home"
    console = Console(home, "--kubeconfig", str(kubeconfig))
    seen = b""
    try:
        console.until("5 ready")
        for keys in ("2", "3", "4", "5", "6", "9", "1"):
            console.send(keys)
            console.quiet(0.1)
        server.server.control("unauthorized")
        server.server.control("cut", once=True)
        console.until("credentials refused")
        server.server.control("unauthorized", False)
        me = psutil.Process(console.pid)
        for process in (me, *me.children(recursive=True)):
            folder = Path("/proc") / str(process.pid)
            seen += (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        console.send("\x03")
        console.wait()
        seen += console.raw
    finally:
        server.server.control("unauthorized", False)
        console.close()
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "coldtui.log" for path in kept)
    seen += b"".join(path.read_bytes() for path in kept)
    for arguments in (("doctor",), ("settings",), ("doctor", "--json"), ("nodes", "--json")):
        done = command(home, *arguments, kubeconfig=kubeconfig)
        seen += done.out.encode() + done.err.encode()
    assert len(seen) > 10_000
    for secret in secrets:
        assert secret not in seen
