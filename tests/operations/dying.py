"""A journal of a process that is killed: right after a chosen event is on disk, and nothing reaches the disk after that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.errors import JournalTrouble
from coldtui.domain.runs import RunEvent
from coldtui.ports import Journal


class Dying:
    """Passes on to the journal until `last` holds for an event that was just written.

    Calls come from threads, and a cancelled task does not end its thread: what is under way when the task is gone would still be written.
    """

    def __init__(self, journal: SqliteJournal, last: Callable[[RunEvent], bool]) -> None:
        self._journal, self._last = journal, last
        self._loop, self.died = asyncio.get_running_loop(), asyncio.Event()
        self.dead, self._one = False, threading.RLock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._journal, name)
        if not callable(found):
            return found

        def called(*given: Any, **named: Any) -> Any:
            with self._one:
                if self.dead:
                    raise JournalTrouble("its process is dead")
                made = found(*given, **named)
                if isinstance(made, RunEvent) and self._last(made):
                    self.dead = True
                    self._loop.call_soon_threadsafe(self.died.set)
                return made

        return called

    def bury(self) -> None:
        with self._one:
            self.dead = True


async def killed(journal: SqliteJournal, last: Callable[[RunEvent], bool], work: Callable[[Journal], Awaitable[object]]) -> None:
    """Begin the work with such a journal; back when it was killed, or has ended before. Raises what ended it."""
    dying = Dying(journal, last)
    task, death = asyncio.ensure_future(work(cast(Journal, dying))), asyncio.ensure_future(dying.died.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if not dying.dead:
            await task
    finally:
        task.cancel()
        death.cancel()
        with contextlib.suppress(asyncio.CancelledError, JournalTrouble):
            await task
        await asyncio.to_thread(dying.bury)
