"""Who and where we are: from files of /proc as they are, and as they are elsewhere."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from coldtui.adapters.launch.me import login, me, own_addresses, source

UNSET = "4294967295"


class Proc:
    """A /proc of our own: this process (`self`) and its parents."""

    def __init__(self, folder: Path, loginuid: str = UNSET, tty: int = 0) -> None:
        self.folder = folder
        self._process("self", 900, {}, tty)
        (folder / "self/loginuid").write_text(loginuid)
        self.parent(900, 800, {})

    def _process(self, name: str, parent: int, environ: dict[str, str], tty: int = 0) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "stat").write_text(f"77 (odd) name) S {parent} 77 77 {tty} 77 0")
        (self.folder / name / "environ").write_text("\0".join(f"{k}={v}" for k, v in environ.items()) + "\0")

    def parent(self, pid: int, parent: int, environ: dict[str, str]) -> None:
        self._process(str(pid), parent, environ)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_this_machine() -> None:
    """On the real /proc: our user, host, boot ID and the address that others reach us by."""
    found = me("console")
    assert found.who.user == __import__("pwd").getpwuid(os.geteuid()).pw_name
    assert found.who.face == "console"
    assert found.hostname == found.who.host == socket.gethostname()
    assert len(found.boot_id) == 36
    assert all(not ipaddress.ip_address(a).is_loopback for a in found.addresses)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.77", 9))  # sends nothing: asks the kernel which address it would use
        ours = probe.getsockname()[0]
    assert ours in found.addresses or ours.startswith("127.")


@pytest.mark.parametrize(("environ", "address"), [
    ({"SSH_CONNECTION": "10.0.0.5 51234 10.0.0.1 22"}, "10.0.0.5"),
    ({"SSH_CLIENT": "fe80::1%eth0 51234 22"}, "fe80::1"),
    ({"SSH_CONNECTION": "not-an-address\x1b[31m 1 2 3"}, ""),
    ({}, ""),
])  # fmt: skip
def test_the_source_is_the_address_of_the_ssh_connection(proc: Proc, environ: dict[str, str], address: str) -> None:
    """An address or nothing: no text that somebody exported."""
    assert source(environ, proc.folder, proc.folder / "no-utmp") == address


def test_sudo_drops_the_variable_and_a_parent_still_has_it(proc: Proc) -> None:
    """sudo and its shell know nothing; the login shell above them does."""
    proc.parent(900, 800, {"SUDO_USER": "anna", "SUDO_COMMAND": "/bin/bash"})
    proc.parent(800, 700, {"SSH_CONNECTION": "10.0.0.5 51234 10.0.0.1 22"})
    assert source({}, proc.folder, proc.folder / "no-utmp") == "10.0.0.5"


def test_who_is_on_the_terminal_is_the_last_resort(tmp_path: Path) -> None:
    """No environment can be read: the login record of our terminal has the host."""
    proc = Proc(tmp_path, tty=(136 << 8) | 3)
    utmp = tmp_path / "utmp"
    layout = "<hxxi32s4s32s256shhiii4I20x"
    other = struct.pack(layout, 7, 1, b"pts/2", b"2", b"ben", b"10.0.0.9", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    gone = struct.pack(layout, 8, 1, b"pts/3", b"3", b"old", b"10.0.0.8", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    ours = struct.pack(layout, 7, 1, b"pts/3", b"3", b"anna", b"10.0.0.5", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    utmp.write_bytes(other + gone + ours + b"half a record")
    assert source({}, proc.folder, utmp) == "10.0.0.5"
    assert source({}, Proc(tmp_path, tty=0).folder, utmp) == ""


def test_the_login_survives_sudo_and_su(tmp_path: Path) -> None:
    """loginuid is set once by the login and changed by nobody after."""
    uid = os.geteuid()
    name = __import__("pwd").getpwuid(uid).pw_name
    assert login({"SUDO_USER": "ben"}, Proc(tmp_path, loginuid=str(uid)).folder) == name
    assert login({}, Proc(tmp_path, loginuid="3999999").folder) == "3999999"


def test_without_a_login_record_sudo_says_who_asked(proc: Proc) -> None:
    """Ours, or a parent's (sudo su -); never root before root; control characters do not pass."""
    assert login({"SUDO_USER": "anna"}, proc.folder) == "anna"
    assert login({"SUDO_USER": "root"}, proc.folder) == ""
    proc.parent(900, 800, {"SUDO_USER": "ben\x1b[31m"})
    assert login({}, proc.folder) == "ben\ufffd[31m"


def test_a_proc_that_cannot_be_read_is_no_trouble(tmp_path: Path) -> None:
    """Another kernel, a container without /proc: everything is empty, nothing raises."""
    found = me("console", {}, proc=tmp_path / "nothing", utmp=tmp_path / "nothing")
    assert (found.boot_id, found.addresses, found.who.source) == ("", (), "")
    assert found.who.login == found.who.user


def test_addresses_without_loopback_and_link_local(tmp_path: Path) -> None:
    """From the kernel's tables, IPv4 first, each once."""
    (tmp_path / "net").mkdir()
    leaf = "           |-- {}\n              /32 host LOCAL\n"
    other = "           |-- 10.0.0.0\n              /24 link UNICAST\n"
    (tmp_path / "net/fib_trie").write_text(
        "Main:\n" + leaf.format("127.0.0.1") + other + leaf.format("10.0.0.7") * 2 + leaf.format("169.254.1.1")
    )
    (tmp_path / "net/if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\nfe80000000000000000000000000abcd 02 40 20 80     eth0\n"
        "20010db8000000000000000000000007 02 40 00 80     eth0\ngarbage\n"
    )
    assert own_addresses(tmp_path) == ("10.0.0.7", "2001:db8::7")


def test_an_inherited_connection_is_found_through_a_real_process() -> None:
    """A child of a child whose environment was emptied, as sudo does: the address comes from the grandparent's /proc entry."""
    code = "from coldtui.adapters.launch.me import source; print(source({}))"
    middle = f"import subprocess, sys; sys.stdout.write(subprocess.run([sys.executable, '-c', {code!r}], env={{}}, capture_output=True, text=True).stdout)"
    done = subprocess.run(
        [sys.executable, "-c", middle], env={"SSH_CONNECTION": "10.9.8.7 1 10.0.0.1 22", "PATH": os.environ["PATH"]}, capture_output=True,
        text=True, check=True, timeout=60, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.strip() == "10.9.8.7"
