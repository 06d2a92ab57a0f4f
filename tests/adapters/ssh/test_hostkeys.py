"""known_hosts in the forms that OpenSSH writes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import asyncssh
import pytest

from coldtui.adapters.ssh.hostkeys import HostCheck, KnownHosts, fingerprint, trust
from coldtui.domain.errors import ColdError, HostKeyChanged, HostKeyUnknown, Misconfigured
from coldtui.ports import Command, ShellAddress
from tests.adapters.ssh.servers import NODE, Place, Sshd, need_sshd, public_words, write_key

need_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen here")


def hello(place: Place) -> bool:
    async def act() -> bool:
        shell = place.shell(writable=False)
        try:
            return (await shell.run(NODE, Command(("hostname",), mutates=False))).ok
        finally:
            await shell.aclose()

    return asyncio.run(asyncio.wait_for(act(), 30))


def refused(place: Place) -> ColdError:
    with pytest.raises((HostKeyUnknown, HostKeyChanged)) as caught:
        hello(place)
    found = caught.value
    assert isinstance(found, ColdError)
    return found


@need_keygen
def test_hashed_names(place: Place) -> None:
    """Names that were hashed (HashKnownHosts) are found, and a changed key is seen behind them, too."""
    subprocess.run(["ssh-keygen", "-H", "-f", str(place.known_hosts)], check=True, capture_output=True)
    assert "127.0.0.1" not in place.known_hosts.read_text()
    assert hello(place)
    place.new_host_key()
    assert isinstance(refused(place), HostKeyChanged)


def test_the_name_of_the_node_counts(place: Place) -> None:
    """A host that is known by its node's name is known; one whose name stands with another key is refused as changed."""
    place.known_hosts.write_text(f"[{NODE}]:{place.server.port} {public_words(place.server.host_key)}\n")
    assert hello(place)
    place.known_hosts.write_text(f"[{NODE}]:{place.server.port} {public_words(write_key(place.folder / 'else'))}\n")
    assert isinstance(refused(place), HostKeyChanged)


def test_an_entry_without_a_port(place: Place) -> None:
    """As with OpenSSH it vouches for a host on another port; that it differs proves nothing: the host is unknown, not changed."""
    place.known_hosts.write_text(f"127.0.0.1 {public_words(place.server.host_key)}\n")
    assert hello(place)
    place.known_hosts.write_text(f"127.0.0.1 {public_words(write_key(place.folder / 'else'))}\n")
    assert isinstance(refused(place), HostKeyUnknown)


def test_a_revoked_key(place: Place) -> None:
    """A key that is marked as revoked is refused although another line trusts it."""
    place.known_hosts.write_text(place.known_hosts.read_text() + f"@revoked * {public_words(place.server.host_key)}\n")
    found = refused(place)
    assert "revoked" in found.title
    assert f"{place.known_hosts}:2" in found.detail


def test_broken_lines_harm_nobody(place: Place) -> None:
    """A line that nobody can read is passed over, as OpenSSH does."""
    place.known_hosts.write_text(
        "|1|broken\n[\n@strange x y\nonly-a-name\n127.0.0.1 ssh-ed25519 %%%\n\n# a note\n" + place.known_hosts.read_text()
    )
    assert hello(place)


def test_a_file_that_cannot_be_read_is_no_unknown_host(place: Place) -> None:
    """A folder in place of the file is told with its path, and no host is called unknown for it."""
    place.known_hosts.unlink()
    place.known_hosts.mkdir()
    with pytest.raises(Misconfigured, match="known hosts cannot be read") as caught:
        hello(place)
    assert str(place.known_hosts) in caught.value.detail


def test_several_files_are_read(place: Place) -> None:
    """The second file counts as well as the first; a missing one is no mistake."""
    other = place.folder / "system_known_hosts"
    place.known_hosts.rename(other)
    place.settings["known_hosts"] = (str(place.known_hosts), str(other))
    assert hello(place)


@need_sshd
@need_keygen
def test_a_kind_of_key_that_is_known_is_asked_for(tmp_path: Path) -> None:
    """A host of which only the RSA key is known is compared by that key, though it has others that we like better."""
    rsa = tmp_path / "host_rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(rsa)], check=True)
    login = write_key(tmp_path / "login")
    server = Sshd(tmp_path, login, lines=(f"HostKey {rsa}",))
    place = Place(tmp_path, server, login)
    server.start()
    try:
        place.known_hosts.write_text(f"{place.host} {' '.join(rsa.with_name('host_rsa.pub').read_text().split()[:2])}\n")
        assert hello(place)
    finally:
        server.stop()


@need_sshd
@need_keygen
def test_a_certificate_of_a_known_authority(tmp_path: Path) -> None:
    """A host that shows a certificate of a trusted authority (@cert-authority) is known without a line of its own; another's is not."""
    authority, login = write_key(tmp_path / "ca"), write_key(tmp_path / "login")
    server = Sshd(tmp_path, login, lines=(f"HostCertificate {tmp_path}/ssh_host_ed25519_key-cert.pub",))
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(authority), "-I", "h", "-h", "-n", "127.0.0.1", str(server.host_key) + ".pub"], check=True
    )
    place = Place(tmp_path, server, login)
    server.start()
    try:
        place.known_hosts.write_text(f"@cert-authority * {public_words(authority)}\n")
        assert hello(place)
        place.known_hosts.write_text(f"@cert-authority other.example {public_words(authority)}\n")
        assert isinstance(refused(place), HostKeyUnknown)
    finally:
        server.stop()


@need_keygen
def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    """What is shown can be compared by eye with what the host's own tool says."""
    key = write_key(tmp_path / "k")
    said = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True).stdout.decode().split()
    assert fingerprint(asyncssh.read_public_key(f"{key}.pub")) == f"ED25519 {said[1]}"


# ------------------------------------------------------------ accepting


def test_accepting_appends_one_line(tmp_path: Path) -> None:
    """What was there stays, a missing end of line is mended, the folder is made for the operator alone."""
    path = tmp_path / ".ssh" / "known_hosts"
    one, two = public_words(write_key(tmp_path / "a")), public_words(write_key(tmp_path / "b"))
    trust(f"[10.0.0.1]:2222 {one}", (str(path),))
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    path.write_text(path.read_text().rstrip("\n"))
    trust(f"10.0.0.2 {two}", (str(path), "/etc/other"))
    assert path.read_text() == f"[10.0.0.1]:2222 {one}\n10.0.0.2 {two}\n"


@pytest.mark.parametrize(
    "line", ["", "host", "* ssh-ed25519 AAAA", "host ssh-ed25519 notakey", "@revoked a b", "a ssh-ed25519 AAAA\nb ssh-ed25519 AAAA"]
)
def test_only_one_host_and_one_key_can_be_accepted(tmp_path: Path, line: str) -> None:
    """Nothing that would trust more than was shown gets into the file."""
    with pytest.raises(Misconfigured):
        trust(line, (str(tmp_path / "known"),))
    assert not (tmp_path / "known").exists()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The path and the reason are told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written") as caught:
        trust(f"h {public_words(write_key(tmp_path / 'k'))}", (str(tmp_path / "file" / "known"),))
    assert str(tmp_path / "file" / "known") in caught.value.detail


def test_port_22_is_written_without_brackets(tmp_path: Path) -> None:
    """The line for known_hosts and the advice are as ssh itself would have them."""
    key = asyncssh.read_public_key(str(write_key(tmp_path / "k")) + ".pub")
    check = HostCheck(KnownHosts([str(tmp_path / "none")]), ShellAddress(NODE, "10.0.0.9", 22, "root"))
    found = check.verdict(key)
    assert isinstance(found, HostKeyUnknown)
    assert found.line.startswith("10.0.0.9 ssh-ed25519 ")
    assert found.hint.endswith("ssh root@10.0.0.9")
