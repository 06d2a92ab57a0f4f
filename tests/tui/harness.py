"""What makes hundreds of consoles in one process cheap: none of it changes what a console shows.

Textual's own `wait_for_idle` guesses from the processor time of the process: it sleeps 20 ms at least, twice for every key, and up to a second
while anything else keeps the processor busy. Here the event loop is asked: a console has done its work when no callback is ready, none comes due
within the next 33 ms, and no worker thread is at work.
"""

from __future__ import annotations

import asyncio
from typing import Any

import textual.app
import textual.pilot
from textual.css.stylesheet import Stylesheet

from coldtui.tui.app import ColdApp

AHEAD_S = 1 / 30
"""What comes due so soon belongs to what was just done: repaints (a screen is laid out anew up to two of its 17 ms later), debounced input."""
SOON_S = 1 / 6
"""For so long timers and threads are waited for. Some never rest, and whoever needs what a thread brings waits for that."""
LONGEST_S = 1.0


async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = LONGEST_S) -> None:
    """Return when the loop has nothing to do; after `max_sleep` in any case. In the place of Textual's."""
    loop: Any = asyncio.get_running_loop()
    began, quiet = loop.time(), 0
    while quiet < 2 and loop.time() < began + max_sleep:
        await asyncio.sleep(0)
        quiet += 1
        if loop._ready:
            quiet = 0
        elif (now := loop.time()) < began + SOON_S:
            due = min((handle.when() for handle in loop._scheduled if not handle.cancelled()), default=now + AHEAD_S)
            if due < now + AHEAD_S:
                quiet = 0
                await asyncio.sleep(max(0.0, due - now))
            elif _threads_work(loop):
                quiet = 0
                await asyncio.sleep(0.001)


def _threads_work(loop: Any) -> bool:
    """Whether a thread of `asyncio.to_thread` has work."""
    pool = loop._default_executor
    return pool is not None and (not pool._work_queue.empty() or pool._idle_semaphore._value < len(pool._threads))


_parsed: dict[Any, Any] = {}
_init, _set_variables = Stylesheet.__init__, Stylesheet.set_variables


def _share_parsed(sheet: Any, variables: dict[str, str]) -> None:
    """Rules depend on text and variables alone: what one console parsed serves all with the same theme."""
    sheet._parse_cache = _parsed.setdefault(frozenset(variables.items()), {})


def _made(self: Stylesheet, *, variables: dict[str, str] | None = None) -> None:
    _init(self, variables=variables)
    _share_parsed(self, variables or {})


def _varied(self: Stylesheet, variables: dict[str, str]) -> None:
    self.__dict__["_parse_cache"] = {}  # it is cleared there, and is others' too
    _set_variables(self, variables)
    _share_parsed(self, variables)


def _leave_garbage_alone() -> None:
    """One console freezes what its start made, for it lives as long as the process. Here it would keep every console of every test."""


def install() -> None:
    """From now on in this process."""
    for module in (textual.app, textual.pilot):
        assert hasattr(module, "wait_for_idle"), module
        module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]
    assert hasattr(ColdApp, "_settle")
    ColdApp._settle = staticmethod(_leave_garbage_alone)  # type: ignore[method-assign]
    assert hasattr(Stylesheet(), "_parse_cache")
    Stylesheet.__init__ = _made  # type: ignore[method-assign]
    Stylesheet.set_variables = _varied  # type: ignore[method-assign]
