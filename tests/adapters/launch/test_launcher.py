"""The launcher's parts: scope, environment, command line, and whether a runner lives. Whole launches are in tests/operations."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.adapters.launch import FD, ProcessLauncher, lives, take_secrets
from coldtui.adapters.launch.launcher import site_flags
from coldtui.adapters.launch.scope import Scope
from coldtui.domain.errors import ColdError
from coldtui.domain.runs import Run, RunSite
from tests.journals import a_run

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="root gets a scope of the system")


def program(folder: Path, text: str) -> str:
    """A `systemd-run` of our own."""
    path = folder / "systemd-run"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@ROOT_ONLY
def test_root_gets_a_scope_of_the_system(tmp_path: Path) -> None:
    """Where systemd runs and answers; asked once, then known."""
    calls = tmp_path / "calls"
    scope = Scope(booted=tmp_path, program=program(tmp_path, f'echo "$@" >> {calls}'))
    expected = (str(tmp_path / "systemd-run"), "--system", "--scope", "--quiet", "--collect")
    assert scope.prefix("r1") == (*expected, "--unit=coldtui-run-r1", "--")
    assert scope.prefix("r2")[-2] == "--unit=coldtui-run-r2"
    assert calls.read_text().splitlines() == ["--system --scope --quiet --collect -- true"]


def test_no_scope_where_none_is_to_be_had(tmp_path: Path) -> None:
    """systemd is not the first process; its program is not there; it does not answer or refuses: a new session must do."""
    assert Scope(booted=tmp_path / "no", program=program(tmp_path, "exit 0")).prefix("r") == ()
    assert Scope(booted=tmp_path, program=str(tmp_path / "absent")).prefix("r") == ()
    assert Scope(booted=tmp_path, linger=tmp_path / "no", program=program(tmp_path, "exit 1")).prefix("r") == ()


def test_a_user_without_lingering_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manager ends with the last login, and every scope in it: a new session lives longer. With lingering it gets one."""
    monkeypatch.setattr("coldtui.adapters.launch.scope.os.geteuid", lambda: 54321)
    linger = tmp_path / "linger"
    linger.mkdir()
    scope = Scope(booted=tmp_path, linger=linger, program=program(tmp_path, "exit 0"))
    assert scope.prefix("r") == ()
    (linger / "54321").touch()
    assert "--user" in scope.prefix("r")


@pytest.mark.parametrize(("said", "uid", "lingers", "ends"), [
    ("echo b true", 54321, False, True), ("echo b false", 54321, False, False), ("exit 1", 54321, False, False), ("echo b true", 54321, True, False),
    ("echo b true", 0, False, False),
])  # fmt: skip
def test_who_loses_their_runs_at_logout_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, uid: int, lingers: bool, ends: bool
) -> None:
    """Only where logind kills what a login leaves, and only whom no scope of their own protects."""
    monkeypatch.setattr("coldtui.adapters.launch.scope.os.geteuid", lambda: uid)
    linger = tmp_path / "linger"
    linger.mkdir()
    if lingers:
        (linger / str(uid)).touch()
    scope = Scope(booted=tmp_path, linger=linger)
    assert scope.ends_at_logout(program(tmp_path, said)) is ends
    assert Scope(booted=tmp_path / "no", linger=linger).ends_at_logout(program(tmp_path, said)) is False


def a_launcher(tmp_path: Path, environ: dict[str, str], **more: object) -> ProcessLauncher:
    def none() -> object:
        raise AssertionError("no journal is needed")

    return ProcessLauncher(str(tmp_path), none, str(tmp_path / "journal.db"), environ=environ, **more)  # type: ignore[arg-type]


def test_the_environment_goes_along_without_secrets(tmp_path: Path) -> None:
    """Ours and the site document's stay behind; the agent, proxies and what a credential plugin may live by go along; the site is the run's."""
    environ = {
        "PATH": "/bin", "SSH_AUTH_SOCK": "/tmp/agent", "AWS_SECRET_ACCESS_KEY": "plugin", "HTTPS_PROXY": "http://p", "K3S_TOKEN": "t",
        "COLDTUI_VAULT_PASSPHRASE": "x", "COLDTUI_SUDO_PASSWORD": "x", "COLDTUI_STATE": "/old", "COLDTUI_KUBECONFIG": "relative", "KUBECONFIG": "a:b",
        "COLDTUI_SITE_NAME": "cold",
    }  # fmt: skip
    made = a_launcher(tmp_path, environ, hidden=("K3S_TOKEN",))._environment(RunSite(kubeconfig="/k/config"), 7)
    assert made.pop("PYTHONPATH")
    assert made == {
        "PATH": "/bin", "SSH_AUTH_SOCK": "/tmp/agent", "AWS_SECRET_ACCESS_KEY": "plugin", "HTTPS_PROXY": "http://p", "COLDTUI_STATE": str(tmp_path),
        "KUBECONFIG": "/k/config", "COLDTUI_SITE_NAME": "cold", FD: "7",
    }  # fmt: skip


def test_the_command_names_the_site_of_the_run() -> None:
    """Configuration, context and namespace as they were confirmed; what was not set is not given."""
    assert site_flags(RunSite()) == []
    site = RunSite("/etc/coldtui/config.yaml", "/k", "cold", "apps", "cold-site")
    assert site_flags(site) == ["--config", "/etc/coldtui/config.yaml", "--context", "cold", "--namespace", "apps"]


# ------------------------------------------------------------ whether it lives


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """With no word of a path of ours on its command line: whoever has `coldtui` there may be a console."""
    child = subprocess.Popen(["/bin/sh", "-c", "read line", "run", "exec", "20261124-140210-7f3a"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def runner(pid: int, host: str = "") -> Run:
    return replace(a_run(), runner_pid=pid, runner_host=host or socket.gethostname())


def test_a_runner_lives_while_its_process_has_its_run_on_the_command_line(process: subprocess.Popen[bytes]) -> None:
    """True; after a kill -9 False, also while nobody has reaped it."""
    end = time.monotonic() + 10
    while not lives(runner(process.pid)):  # between fork and exec it is still us
        assert time.monotonic() < end
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert lives(runner(process.pid)) is False
    process.wait()
    assert lives(runner(process.pid)) is False


def test_a_pid_that_went_to_another_process_is_no_life(process: subprocess.Popen[bytes]) -> None:
    """Its command line has another run."""
    assert lives(replace(runner(process.pid), id="20261124-150000-aaaa")) is False


def test_what_cannot_be_told_is_not_guessed(tmp_path: Path) -> None:
    """Another machine's process, a run that nobody took up, a system without /proc, and a console that performs small runs itself."""
    assert lives(runner(1, "elsewhere")) is None
    assert lives(runner(0)) is None
    assert lives(runner(1), tmp_path / "no-proc") is None
    (tmp_path / "77").mkdir()
    (tmp_path / "77/cmdline").write_bytes(b"/usr/bin/python3\0/usr/bin/coldtui\0")
    assert lives(runner(77), tmp_path) is None
    assert lives(runner(78), tmp_path) is False


# ------------------------------------------------------------ secrets


def test_secrets_are_taken_once() -> None:
    """The pipe is closed and its number forgotten; a second look finds nothing."""
    read, write = os.pipe()
    os.write(write, b'{"sudo/k3s-worker-1": "p\\u00e4ss", "n": 7}')
    os.close(write)
    environ = {FD: str(read), "PATH": "/bin"}
    found = take_secrets(environ)
    assert {name: secret.reveal() for name, secret in found.items()} == {"sudo/k3s-worker-1": "päss", "n": "7"}
    assert environ == {"PATH": "/bin"}
    with pytest.raises(OSError):
        os.fstat(read)
    assert take_secrets(environ) == {}


@pytest.mark.parametrize("text", [b"", b"{half", b"[1]", b"\xff\xfe"])
def test_secrets_that_did_not_arrive_are_named(text: bytes) -> None:
    """A launcher that died in mid-write: one line with the remedy, not a run without its password."""
    read, write = os.pipe()
    os.write(write, text)
    os.close(write)
    with pytest.raises(ColdError, match="did not arrive · resume the run"):
        take_secrets({FD: str(read)})


@pytest.mark.parametrize("number", ["999", "x", "-1"])
def test_a_number_that_is_no_pipe_is_named_too(number: str) -> None:
    """Somebody set the variable."""
    with pytest.raises(ColdError, match="did not arrive"):
        take_secrets({FD: number})
