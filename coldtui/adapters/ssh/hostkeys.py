"""Is it the host that we know? known_hosts files read line by line, so that an error can name file and line.

Broken lines are passed over, as OpenSSH does. A host is known by its address or by the name of its node.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

from ...domain.errors import ColdError, HostKeyChanged, HostKeyUnknown, Misconfigured
from ...domain.text import plain
from ...domain.values import dataclass
from ...ports import ShellAddress

DEFAULT_PORT = 22
DEFAULT_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_NAMES = {b"ssh-ed25519": "ED25519", b"ssh-rsa": "RSA", b"ssh-dss": "DSA", b"ssh-ed448": "ED448"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that a line of a file holds for a host."""

    file: str
    line: int
    role: str
    """`host`, `ca` or `revoked`."""
    key: asyncssh.SSHKey

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def fingerprint(key: asyncssh.SSHKey) -> str:
    """`ED25519 SHA256:...`, as ssh-keygen -l says it."""
    algorithm = key.algorithm
    name = _NAMES.get(algorithm) or ("ECDSA" if algorithm.startswith(b"ecdsa") else algorithm.decode("ascii", "replace"))
    return f"{name} {key.get_fingerprint()}"


def files(configured: Sequence[str]) -> tuple[str, ...]:
    """The files in force; the first is the operator's own."""
    return tuple(os.path.expanduser(path) for path in (configured or DEFAULT_FILES))


def spelled(name: str, port: int) -> str:
    """A host as known_hosts writes it."""
    return name if port == DEFAULT_PORT else f"[{name}]:{port}"


class KnownHosts:
    """The lines of the files as they are now. Blocking: some ms."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises Misconfigured when a file is there and cannot be read: a host must not look unknown for that."""
        self._lines = [(path, number, line) for path in paths for number, line in _read(path)]

    def find(self, names: Iterable[str]) -> tuple[Entry, ...]:
        """What stands under any of these names (as they are spelled in the files)."""
        wanted = [name for name in dict.fromkeys(names) if name]
        found: list[Entry] = []
        for path, number, line in self._lines:
            words = line.split(None, 2)
            patterns = words[1] if words[0].startswith("@") and len(words) > 1 else words[0]
            # Most lines are of other hosts; their keys need no decoding.
            if not any(c in patterns for c in "*?|/!") and not any(name in patterns for name in wanted):
                continue
            found += [Entry(path, number, role, key) for role, key in _keys(line, wanted)]
        return tuple(found)


def _read(path: str) -> list[tuple[int, str]]:
    """(number, text) of the lines that say something."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
            return [(number, line) for number, line in lines if line and not line.startswith("#")]
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Misconfigured(
            "known hosts cannot be read", detail=f"{plain(path)}: {reason}", hint="mend its permissions or ssh.known_hosts"
        ) from None


def _keys(line: str, names: Iterable[str]) -> set[tuple[str, asyncssh.SSHKey]]:
    try:
        known = asyncssh.import_known_hosts(line)
        matches = [known.match(name, "", None) for name in names]
    except (ValueError, IndexError):
        return set()
    roles = ("host", "ca", "revoked")
    return {(roles[place], key) for match in matches for place in range(3) for key in match[place] if isinstance(key, asyncssh.SSHKey)}


class HostCheck:
    """The judgement about one host, before and after it showed its key."""

    def __init__(self, known: KnownHosts, address: ShellAddress) -> None:
        self._known = known
        self._address = address
        self._exact: tuple[Entry, ...] = ()
        self._loose: tuple[Entry, ...] = ()
        self.look()

    def look(self, addr: str = "") -> None:
        """Find the entries; again with the address that the name was resolved to."""
        names, port = (self._address.host, self._address.node, addr), self._address.port
        self._exact = self._known.find(spelled(name, port) for name in names if name)
        # OpenSSH takes an entry without a port for any port, too; but a difference to it proves nothing.
        self._loose = () if port == DEFAULT_PORT else self._known.find(names)

    def _trusted(self, role: str) -> list[asyncssh.SSHKey]:
        return [e.key for e in self._exact if e.role == role] or [e.key for e in self._loose if e.role == role]

    @property
    def _revoked(self) -> list[Entry]:
        return [e for e in (*self._exact, *self._loose) if e.role == "revoked"]

    def lists(self, _host: str, addr: str, _port: int | None) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        """(trusted keys, trusted authorities, revoked keys) as asyncssh asks for them once TCP is open."""
        self.look(addr)
        return self._trusted("host"), self._trusted("ca"), [e.key for e in self._revoked]

    def algorithms(self) -> list[str]:
        """What the host may show: of kinds of which we know a key first, so that it is compared and not called another."""
        known = [alg for key in self._trusted("host") for alg in key.sig_algorithms]
        certificates = list(get_default_certificate_algs()) if self._trusted("ca") else []
        return [alg.decode() for alg in dict.fromkeys([*certificates, *known, *get_default_public_key_algs()])]

    def verdict(self, shown: asyncssh.SSHKey | None) -> ColdError:
        """Why the key that the host showed was not accepted. None: it showed one that is revoked, or a certificate."""
        node, address = self._address.node, self._address
        place = spelled(address.host, address.port)
        if shown is None:
            lines = ", ".join(str(e) for e in self._revoked) or "known_hosts"
            return HostKeyChanged(
                f"host key of {node} is revoked or its certificate does not hold", detail=f"{place}, {plain(lines)}",
                hint="do not log in; find out who revoked it and why",
            )  # fmt: skip
        now = fingerprint(shown)
        known = [e for e in self._exact if e.role == "host"]
        if known:
            entry = next((e for e in known if e.key.algorithm == shown.algorithm), known[0])
            return HostKeyChanged(
                f"host key of {node} has changed: it may be another machine",
                detail=f"{place} shows {now}; {plain(str(entry))} knows {fingerprint(entry.key)}",
                hint=f"if {node} was installed anew, remove that line: ssh-keygen -R '{place}' -f {plain(entry.file)}",
            )
        line = f"{place} {' '.join(shown.export_public_key().decode('ascii').split()[:2])}"
        port = "" if address.port == DEFAULT_PORT else f"-p {address.port} "
        return HostKeyUnknown(
            f"host key of {node} is not known", fingerprint=now, line=line, detail=f"{place} shows {now}",
            hint=f"compare it with ssh-keygen -lf /etc/ssh/ssh_host_{_file(shown)}_key.pub there, then accept it: ssh {port}{address.user}@{address.host}",
        )  # fmt: skip


def _file(key: asyncssh.SSHKey) -> str:
    return fingerprint(key).split()[0].lower()


def trust(line: str, configured: Sequence[str]) -> str:
    """Append a line that the operator has confirmed to their known_hosts. Returns the path. Raises Misconfigured."""
    path = files(configured)[0]
    words = line.split()
    try:
        if len(words) != 3 or "\n" in line or any(c in words[0] for c in "*?!|@"):
            raise ValueError("it is not one host and one key")
        asyncssh.import_public_key(" ".join(words[1:]))
    except ValueError as error:
        raise Misconfigured("no line for known_hosts", detail=plain(str(error)), hint="accept the key that was shown") from None
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            gap = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
            os.write(fd, gap + " ".join(words).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Misconfigured(
            "known hosts cannot be written", detail=f"{plain(path)}: {reason}", hint="mend its permissions or ssh.known_hosts"
        ) from None
    return path
