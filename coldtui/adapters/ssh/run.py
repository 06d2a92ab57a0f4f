"""One command on an open connection: its output line by line, its end, and what happens when it does not end in time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import asyncssh

from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import Clock, Finished
from .lines import Lines, NotSent, Told


@dataclass(frozen=True)
class Via:
    """How root is had on this host: what stands before a command, and what it reads."""

    prefix: str = ""
    stdin: bytes = b""


DIRECT = Via()


class Session(asyncssh.SSHClientSession[bytes]):
    """The channel of one command."""

    def __init__(self, clock: Clock, told: Told | None) -> None:
        self.out = Lines("out", clock, told)
        self.err = Lines("err", clock, told)
        self.opened = False
        self.status: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.broken: BaseException | None = None
        """What the receiver of the lines raised."""
        self.stopped = asyncio.Event()
        """There is nothing more to wait for: it ended, or its lines cannot be taken."""

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.opened = True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self.broken is not None:
            return
        try:
            (self.err if datatype == asyncssh.EXTENDED_DATA_STDERR else self.out).feed(data)
        except Exception as error:  # noqa: BLE001 - raised by `execute`; here it would end the whole connection
            self.broken = error
            self.stopped.set()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.status = 128 + number_of(signal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.stopped.set()
        if not self.ended.done():
            self.ended.set_result(None)


def number_of(name: str) -> int:
    """Of a signal as SSH names it (`TERM`); 0 for one that this machine does not know."""
    found = getattr(signal, f"SIG{name}", None)
    return int(found) if isinstance(found, int) else 0


@dataclass
class Line:
    """A connection as a command sees it."""

    conn: asyncssh.SSHClientConnection
    node: str
    clock: Clock
    abandon: Callable[[], None]
    """Give the connection up: nothing new goes over it, and it is cut once nobody else waits for an answer on it."""
    alone: Callable[[], bool]
    """Whether there is no other command on it."""
    later: Callable[[Coroutine[Any, Any, object]], None]
    """Do something without waiting for it."""


async def execute(
    line: Line, words: str, *, what: str, told: Told | None, stdin: bytes, open_s: float, deadline_s: float, via: Via = DIRECT
) -> Finished:
    """Send words for the remote shell and stay until they have ended. Raises NotSent, LineTrouble (`timeout`, `lost`)."""
    session, chan = await _open(line, words, told=told, open_s=open_s)
    begun, node = line.clock.monotonic(), line.node

    async def stop() -> bool:
        from .ending import end  # it needs this module

        return await end(chan, session, words, via, line.clock.monotonic() - begun, line.alone(), lambda w, i: _aside(line, w, i))

    try:
        _give(chan, stdin)
        async with asyncio.timeout(deadline_s):
            await session.stopped.wait()
    except TimeoutError:
        gone = await stop()
        if not gone:
            line.abandon()
        raise LineTrouble(
            f"{what} on {node} did not end within {deadline_s:.0f} s",
            kind="timeout",
            detail="it was ended" if gone else "it was told to end and may still run there",
        ) from None
    except asyncio.CancelledError:
        line.later(stop())
        raise
    if session.broken is not None:
        line.later(stop())
        raise session.broken
    out, err = session.out.end(), session.err.end()
    if session.status is None:
        raise LineTrouble(
            f"the connection to {node} was lost while {what} ran",
            kind="lost",
            detail=(err or out or ("",))[-1],
            hint="whether it ended is not known: look there",
        )
    return Finished(session.status, out, err)


async def _aside(line: Line, words: str, stdin: bytes) -> tuple[str, ...]:
    """A small command beside the one that is to be ended."""
    from .ending import ASIDE_S

    session, chan = await _open(line, words, told=None, open_s=ASIDE_S)
    _give(chan, stdin)
    try:
        await asyncio.wait_for(asyncio.shield(session.ended), ASIDE_S)
    except TimeoutError:
        chan.close()
        raise LineTrouble(f"{line.node} does not answer", kind="timeout") from None
    return session.out.end()


def _give(chan: asyncssh.SSHClientChannel[bytes], stdin: bytes) -> None:
    try:
        if stdin:
            chan.write(stdin)
        chan.write_eof()
    except (OSError, asyncssh.Error):  # it ended before it read anything
        return


async def _open(line: Line, words: str, *, told: Told | None, open_s: float) -> tuple[Session, asyncssh.SSHClientChannel[bytes]]:
    made: list[Session] = []
    node = line.node

    def make() -> Session:
        made.append(Session(line.clock, told))
        return made[0]

    try:
        async with asyncio.timeout(open_s):
            chan, _ = await line.conn.create_session(make, words, encoding=None, request_pty=False)
            return made[0], chan
    except TimeoutError:
        line.abandon()
        trouble = LineTrouble(f"{node} did not take the command within {open_s:.0f} s", kind="timeout")
    except asyncssh.ChannelOpenError as error:
        # asyncssh says so of its own end, before it counts as closed
        if not line.conn.is_closed() and "connection closed" not in error.reason.lower():
            raise LineTrouble(
                f"{node} refuses to run commands", kind="server", detail=plain(error.reason)[:200], hint="look at sshd's log there"
            ) from None
        trouble = LineTrouble(f"the connection to {node} was lost", kind="lost")
    except (asyncssh.Error, OSError):
        trouble = LineTrouble(f"the connection to {node} was lost", kind="lost")
    if made and made[0].opened:  # the request is on its way: it may run
        trouble.hint = "whether the command began is not known: look there"
        raise trouble
    raise NotSent(trouble)
