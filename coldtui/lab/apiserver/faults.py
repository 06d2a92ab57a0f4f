"""What can be made to go wrong, switched on and off by name while the server runs."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]
Hook = Callable[[bool, Json], Awaitable[None] | None]

CATALOGUE: dict[str, str] = {
    "down": "The listener is closed and every connection is aborted; the state is kept. Ends only through the control socket.",
    "slow": "Every answer is late: ms (500), jitter_ms (0), match (a pattern of the path).",
    "forbidden": "403 for resources: a list of plural or group/plural or *; verbs (all) narrows it.",
    "unauthorized": "401 for every request.",
    "too-many": "429 for every request: retry_after seconds (none unless given), match.",
    "expired": "Every watch gets 410, every continue token has expired.",
    "garbage": "Watch streams carry lines that are no JSON.",
    "cut": "Streams and lists end in the middle of a line; once: true cuts only what is open now.",
    "half-open": "Open streams fall silent for good without closing; new ones are silent from their start.",
    "metrics-down": "metrics.k8s.io answers 503 and its APIService is unavailable.",
    "restored": "Versions go back by back (1000), as after a restored datastore; streams are aborted. It happens once, when switched on.",
    "clock-skew": "The server's clock is off by skew_seconds (3600).",
}


class UnknownFault(ValueError):
    """No fault has this name."""


class Faults:
    """The faults that are on, with their options. Every fault takes ``seconds``: it then ends by itself."""

    def __init__(self) -> None:
        self._on: dict[str, Json] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[Json]] = set()
        self.hooks: dict[str, Hook] = {}

    def get(self, name: str) -> Json | None:
        """The options of a fault that is on; None when it is off."""
        return self._on.get(name)

    def matches(self, name: str, path: str) -> Json | None:
        """Like ``get``, but only when the fault's ``match`` pattern is found in the path."""
        options = self._on.get(name)
        if options is None or (options.get("match") and not re.search(str(options["match"]), path)):
            return None
        return options

    def report(self) -> Json:
        return {"on": self._on, "catalogue": CATALOGUE}

    async def switch(self, name: str, on: bool, options: Json) -> Json:
        """Switch a fault; returns which are on. UnknownFault for a name that is not in the catalogue."""
        if name not in CATALOGUE:
            raise UnknownFault(f"unknown fault {name!r}; known: {', '.join(CATALOGUE)}")
        timer = self._timers.pop(name, None)
        if timer:
            timer.cancel()
        if on:
            self._on[name] = options
            seconds = options.get("seconds")
            if seconds is not None:
                self._timers[name] = asyncio.get_running_loop().call_later(float(seconds), self._end, name)
        else:
            self._on.pop(name, None)
        hook = self.hooks.get(name)
        if hook:
            result = hook(on, options)
            if inspect.isawaitable(result):
                await result
        if on and (name == "restored" or (name == "cut" and options.get("once"))):
            self._on.pop(name, None)
        return {"on": self._on}

    def _end(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self.switch(name, False, {}))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
