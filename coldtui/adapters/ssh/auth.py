"""The keys to log in with, in the order in which they are offered: configured keys (by the agent if it has them, else from their files), then
whatever else the agent holds. There is no login by password.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncssh
from asyncssh.public_key import SSHKeyPair, decode_ssh_public_key

from ...config.settings import SshSection
from ...domain.errors import ColdError, SecretWanted, Unauthorized
from ...domain.secret import Secret
from ...domain.text import plain
from ...ports import ShellAddress
from .failures import where
from .hostkeys import fingerprint

DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
AGENT_S = 3.0
"""For the agent's list of keys: it is on this machine."""


@dataclass(frozen=True)
class Offer:
    """One key that can be offered."""

    pair: SSHKeyPair
    label: str
    """`ED25519 SHA256:... (~/.ssh/id_site)`."""
    in_agent: bool
    in_file: bool


@dataclass
class Ring:
    """What can be offered now, and what cannot and why."""

    offers: list[Offer] = field(default_factory=list)
    locked: list[tuple[str, str]] = field(default_factory=list)
    """(path, what is wrong): keys that want a passphrase or were given a wrong one."""
    notes: list[str] = field(default_factory=list)
    forwarded: bool = False
    """Whether the agent is one that the operator's SSH session forwards."""
    agent: asyncssh.SSHAgentClient | None = None

    def close(self) -> None:
        if self.agent is not None:
            self.agent.close()


@dataclass
class _File:
    path: str
    pairs: Sequence[SSHKeyPair] = ()
    public: bytes = b""
    """Of the key, where it can be known without the passphrase."""
    trouble: str = ""
    locked: bool = False


def fingerprint_of(pair: SSHKeyPair) -> str:
    try:
        return fingerprint(decode_ssh_public_key(pair.key_public_data))
    except ValueError:  # a kind of key that we cannot read, from an agent that can use it
        return plain(pair.algorithm.decode("ascii", "replace"))


async def gather(settings: SshSection, secrets: Mapping[str, Secret], environ: Mapping[str, str]) -> Ring:
    """Read the key files and ask the agent. Never raises for a key that cannot be had: it is among the notes then."""
    ring = Ring()
    files = await asyncio.to_thread(_files, settings.keys, secrets)
    held = await _ask_agent(ring, environ.get("SSH_AUTH_SOCK", "")) if settings.agent else []
    mine = {file.public for file in files if file.public}
    for pair in held:
        if pair.key_public_data in mine:
            in_file = any(file.pairs for file in files if file.public == pair.key_public_data)
            ring.offers.append(Offer(pair, f"{fingerprint_of(pair)} (agent)", True, in_file))
    offered = {offer.pair.key_public_data for offer in ring.offers}
    for file in files:
        _offer_file(ring, file, offered)
    ring.offers += [Offer(pair, f"{fingerprint_of(pair)} (agent)", True, False) for pair in held if pair.key_public_data not in mine]
    return ring


def _offer_file(ring: Ring, file: _File, offered: set[bytes]) -> None:
    shown = plain(file.path)
    if file.trouble and file.public not in offered:
        if file.locked:
            ring.locked.append((file.path, file.trouble))
        ring.notes.append(f"{shown}: {file.trouble}")
    for pair in file.pairs:
        if pair.key_public_data not in offered:
            ring.offers.append(Offer(pair, f"{fingerprint_of(pair)} ({shown})", False, True))


# ------------------------------------------------------------ files


def _files(configured: Sequence[str], secrets: Mapping[str, Secret]) -> list[_File]:
    paths = [os.path.expanduser(path) for path in configured or DEFAULT_KEYS]
    return [_load(path, secrets.get(f"key/{path}")) for path in paths if configured or os.path.exists(path)]


def _load(path: str, passphrase: Secret | None) -> _File:
    """Blocking: the passphrase of a key costs a tenth of a second and more, as it is meant to."""
    file = _File(path, public=_public(path))
    try:
        file.pairs = asyncssh.load_keypairs([path], passphrase.reveal() if passphrase is not None else None)
        file.public = file.pairs[0].key_public_data if file.pairs else file.public
    except OSError as error:
        file.trouble = (error.strerror or str(error)).lower()
    except asyncssh.KeyEncryptionError:
        file.trouble, file.locked = "its passphrase is wrong", True
    except asyncssh.KeyImportError as error:
        file.locked = str(error).startswith("Passphrase must")
        if file.locked:
            file.trouble = "has a passphrase"
        elif not file.public:  # else it only names a key that the agent may have
            file.trouble = f"is no private key ({plain(str(error))[:80]})"
        else:
            file.trouble = "is a public key, and the agent does not have it"
    return file


def _public(path: str) -> bytes:
    for name in (f"{path}.pub", path):
        try:
            return asyncssh.read_public_key(name).public_data
        except (OSError, ValueError):
            continue
    return b""


# ------------------------------------------------------------ agent


async def _ask_agent(ring: Ring, path: str) -> list[SSHKeyPair]:
    if not path:
        return []
    try:
        async with asyncio.timeout(AGENT_S):
            ring.agent = await asyncssh.connect_agent(path)
            held = list(await ring.agent.get_keys())
    except TimeoutError:
        ring.notes.append(f"the agent at {plain(path)} did not answer within {AGENT_S:.0f} s")
        return []
    except (OSError, ValueError, asyncssh.Error) as error:
        ring.notes.append(f"the agent at {plain(path)} cannot be used: {plain(getattr(error, 'strerror', '') or str(error)).lower()}")
        return []
    ring.forwarded = await asyncio.to_thread(is_forwarded, path)
    return held


def is_forwarded(path: str) -> bool:
    """Whether sshd itself listens there: an agent that a session forwards, gone with the session."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(1.0)
            line.connect(path)
            pid, _, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().startswith("sshd")
    except (OSError, AttributeError):
        return False


# ------------------------------------------------------------ refused


def refused(address: ShellAddress, ring: Ring, tried: Sequence[Offer], said: str = "") -> ColdError:
    """Nobody let us in: with which keys, and what would help."""
    place = f"{plain(address.user)} at {where(address)}"
    if ring.locked:
        path, trouble = ring.locked[0]
        return SecretWanted(
            f"key {plain(path)} {trouble}" if trouble.startswith("has") else f"key {plain(path)}: {trouble}", secret=f"key/{path}",
            wrong="wrong" in trouble,
            detail=f"and no other key was accepted for {place}" if tried else f"and it is needed for {place}",
            hint=f"give the passphrase, or ssh-add {plain(path)}",
        )  # fmt: skip
    notes = "; ".join(ring.notes)
    if not ring.offers:
        return Unauthorized(
            f"there is no key to log in to {address.node}", detail=notes or f"for {place}",
            hint="name one in ssh.keys, or add one to an agent: ssh-add",
        )  # fmt: skip
    names = ", ".join(offer.label for offer in tried) or "none"
    detail = f"for {place}; tried {names}" + (f"; not tried: {notes}" if notes else "") + (f"; it said: {said}" if said else "")
    if len(tried) < len(ring.offers) and tried:
        hint = f"it stopped listening after {len(tried)} of {len(ring.offers)} keys: name the right one in ssh.keys"
    else:
        hint = f"put one of these keys into ~{plain(address.user)}/.ssh/authorized_keys there, or set ssh.user or ssh.keys"
    return Unauthorized(f"{address.node} accepts none of our keys", detail=detail, hint=hint)
