"""Screens whose part of the database is read more often while they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ...domain.world import DATABASE, SESSIONS, SIZES, TABLES
from .base import WorldScreen
from .listings import Part

LOOKED_AT = {
    "instances": (DATABASE, SESSIONS),
    "sessions": (DATABASE, SESSIONS),
    "locks": (DATABASE, SESSIONS),
    "databases": (DATABASE, SESSIONS, SIZES, TABLES),
}
"""What each part needs read more often than else."""


@runtime_checkable
class Attentive(Protocol):
    """A Live that reads more often what somebody looks at."""

    def attend(self, *what: str) -> Callable[[], None]: ...


class Attending(WorldScreen):
    """Has a part. A dialog over it is about what it shows, which is read on; another screen over it ends that."""

    _end: Callable[[], None] | None = None

    @property
    def part(self) -> Part:
        """What it shows."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        self.attend()

    def on_screen_suspend(self) -> None:
        stack = self.app.screen_stack
        if not (self in stack and stack[-1].is_modal):
            self._rest()

    def on_unmount(self) -> None:
        self._rest()

    def attend(self) -> None:
        """Look at the part of now. Begins before it ends the last, so that nothing is let go between."""
        live, before = self.cold.site.live, self._end
        if isinstance(live, Attentive) and self.is_current:
            self._end = live.attend(*LOOKED_AT.get(self.part.id, (DATABASE,)))
            if before is not None:
                before()

    def _rest(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()
