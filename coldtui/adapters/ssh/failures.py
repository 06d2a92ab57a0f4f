"""What asyncssh and the socket say, as the program's errors in an operator's words."""

from __future__ import annotations

import asyncio
import errno
import re
import socket

import asyncssh

from ...domain.errors import ColdError
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import ShellAddress


def where(address: ShellAddress) -> str:
    """`192.168.15.111:22`, with brackets around IPv6."""
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def translate(error: BaseException, address: ShellAddress) -> ColdError:
    """A failure while a connection is made. Host keys and refused keys are told apart before."""
    place = where(address)
    if isinstance(error, ColdError):
        return error
    match error:
        case socket.gaierror():
            return LineTrouble(
                f"name {plain(address.host)} of {address.node} cannot be resolved",
                kind="dns",
                hint="check nodes.NAME.ssh, and DNS on this machine",
            )
        case asyncssh.KeyExchangeFailed():
            return LineTrouble(f"{place} and we have no way of encryption in common", kind="garbage", detail=_said(error))
        case asyncssh.ProtocolError() | asyncssh.ProtocolNotSupported():
            return garbage(address, _said(error))
        case asyncssh.ConnectionLost() | asyncssh.DisconnectError():
            return LineTrouble(
                f"{place} ended the connection", kind="lost", detail=_said(error), hint="look at sshd's log there: journalctl -u ssh"
            )
        case OSError():
            return _socket(error, address)
        case _:
            return LineTrouble(f"connection to {place} failed ({type(error).__name__})", kind="lost", detail=_said(error))


def _socket(error: OSError, address: ShellAddress) -> LineTrouble:
    place, number = where(address), error.errno
    if number is None and (found := re.search(r"\[Errno (\d+)\]", str(error))):
        number = int(found[1])  # asyncio joins the failures of several addresses into one text
    if number == errno.ECONNREFUSED:
        return LineTrouble(f"connection refused by {place}", kind="refused", hint=f"does sshd run on {address.node}? systemctl status ssh")
    if number in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}:
        return LineTrouble(f"no route to {place}", kind="lost", hint="is the machine on? check the network or the VPN")
    if number == errno.ETIMEDOUT:
        return LineTrouble(f"{place} did not answer", kind="timeout", hint="is the machine on? does a firewall drop it?")
    if number in {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}:
        return LineTrouble(f"{place} reset the connection", kind="lost")
    return LineTrouble(f"{place}: {plain(error.strerror or str(error)).lower()}", kind="lost")


def garbage(address: ShellAddress, said: str = "") -> LineTrouble:
    return LineTrouble(
        f"what {where(address)} answers is no SSH", kind="garbage", detail=said, hint="does the address lead to sshd? check nodes.NAME.ssh"
    )


def late(address: ShellAddress, after_s: float, *, spoke: bool) -> LineTrouble:
    """No connection in time. `spoke`: TCP was open."""
    if spoke:
        return LineTrouble(
            f"{where(address)} accepts connections but did not speak SSH within {after_s:.0f} s", kind="timeout",
            hint=f"does sshd hang on {address.node}? is it the right port?",
        )  # fmt: skip
    return LineTrouble(
        f"{where(address)} did not answer within {after_s:.0f} s", kind="timeout", hint="is the machine on? does a firewall drop it?"
    )


def _said(error: BaseException) -> str:
    return plain(str(getattr(error, "reason", "") or error))[:300]


async def speaks_ssh(address: ShellAddress, deadline_s: float = 2.0) -> bool:
    """Whether what listens there greets as an SSH server, or at least says nothing else. Asked after a connection ended before its greeting."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"SSH-2.0-coldtui\r\n\r\n")
            greeting = await reader.read(256)
    except (OSError, TimeoutError):
        return True
    finally:
        if writer is not None:
            writer.close()
    return not greeting or greeting.startswith(b"SSH-")
