"""Arming: for 15 minutes acts can be confirmed. Its beginning and end are in the audit; its expiry touches no confirmed run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..domain.errors import ColdError
from ..present.rows import Cell, Tone

if TYPE_CHECKING:
    from .acting import Acting

ARMED_FOR = timedelta(minutes=15)


class Arming:
    """Whether this console may confirm now, and until when."""

    def __init__(self, acting: Acting) -> None:
        self.acting, self.app = acting, acting.app
        self._until: tuple[float, datetime] | None = None
        """By both clocks: on a machine that slept the hands on the wall went on."""
        self._asking = False
        self._ticks: Any = None

    @property
    def armed(self) -> bool:
        return self._left_s() > 0

    def _left_s(self) -> float:
        if self._until is None:
            return 0.0
        ticks, wall = self._until
        return min(ticks - self.app.monotonic(), (wall - self.app.now()).total_seconds())

    @property
    def left(self) -> str:
        """`14:52`; empty: read-only."""
        if not self.armed:
            return ""
        seconds = max(1, round(self._left_s()))
        return f"{seconds // 60}:{seconds % 60:02}"

    @property
    def forbidden(self) -> str:
        """Why this console cannot be armed; empty: it can."""
        if self.app.options.read_only:
            return "started with --read-only: nothing can be changed from here; start it without"
        desk = self.acting.desk
        return desk.forbidden if desk is not None else "nothing can be changed from here: this console was opened without a journal"

    def why_not(self) -> str:
        """Why nothing can be confirmed now; empty: it can."""
        return self.forbidden or ("" if self.armed else f"{self.app.key_of('arm')} arms")

    # ------------------------------------------------------------ on and off

    def toggle(self) -> None:
        """`A`."""
        if self.armed:
            self.acting.do(self._disarm("by hand"))
        elif why := self.forbidden:
            self.app.say(f"READ-ONLY: {why}", Tone.WARN)
        else:
            self._ask()

    def _ask(self) -> None:
        from .dialogs.base import Dialog

        site = self.app.world.site if self.app.world is not None else None
        named = (f"site {site.name}" if site and site.name else "", f"context {site.context}" if site and site.context else "")
        where = " · ".join(part for part in named if part)
        lines = [
            (Cell(where or "this site", Tone.STRONG), Cell(" · PRODUCTION" if site and site.production else "", Tone.WARN)),
            (Cell(""),),
            (Cell("Acts can be confirmed; every act still asks."),),
            (Cell("What was confirmed goes on when the time is over."),),
            (Cell("It stands in the audit."),),
            (Cell(""),),
            (Cell("Arm this console?", Tone.STRONG), Cell("  y/N")),
        ]
        self.app.push_screen(Dialog("Arm for 15 minutes", lines, "Arm"), lambda yes: self.acting.do(self._arm()) if yes else None)

    async def _arm(self) -> None:
        if self._asking or self.armed:
            return
        self._asking = True
        try:
            await self.acting.need_desk().note("armed", outcome=f"for {int(ARMED_FOR.total_seconds() // 60)} minutes")
        except ColdError as error:
            self.app.say(f"not armed, as the audit cannot be written: {error}", Tone.BAD, sticky=True)
            return
        finally:
            self._asking = False
        self._until = (self.app.monotonic() + ARMED_FOR.total_seconds(), self.app.now() + ARMED_FOR)
        self._ticks = self.app.set_interval(1.0, self.tick, name="armed")
        self.app.arming_changed()

    async def _disarm(self, why: str) -> None:
        self._until = None
        if self._ticks is not None:
            self._ticks.stop()
            self._ticks = None
        self.acting.undoable = None
        self.app.arming_changed()
        self.app.say("read-only again" if why == "by hand" else f"read-only again: {why}", Tone.MUTED)
        try:
            await self.acting.need_desk().note("disarmed", outcome=why)
        except ColdError as error:
            self.app.say(f"read-only again, but the audit cannot be written: {error}", Tone.BAD, sticky=True)

    def tick(self) -> None:
        """Each second while armed: the title counts down, and at the end nothing can be confirmed any more."""
        if self._until is None:
            return
        if self.armed:
            self.app.paint_arming()
        else:
            self.acting.do(self._disarm("15 minutes are over"))
