"""A run followed on the command line: its log on stdout, what becomes of it on stderr, its end as the exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..domain.errors import ColdError, Exit, JournalTrouble
from ..domain.runboard import place
from ..domain.runs import Run, RunEvent, RunLine, RunState, What
from ..domain.runs import lost as silent
from ..live.core import in_thread
from ..live.follow import Following, News
from ..present import run as words
from ..present.words import iso
from . import out

if TYPE_CHECKING:
    from ..operations.desk import Desk
    from ..ports import Journal

POLL_S = 0.2
PULSE_S = 1.0
PATIENCE_S = 60.0
"""So long a journal that cannot be read is tried again."""
_EXITS = {
    RunState.DONE: Exit.DONE,
    RunState.FAILED: Exit.FAILED,
    RunState.REFUSED: Exit.REFUSED,
    RunState.CANCELLED: Exit.CANCELLED,
    RunState.PARTIAL: Exit.FAILED,
}


def exit_of(run: Run, own: int | None = None) -> Exit:
    """Of an ended run. What was stopped by an operator is cancelled, also when something was changed before.

    `own`: as its end says. It tells apart what failed having changed nothing: not permitted, unreachable.
    """
    if run.state is RunState.PARTIAL and run.cancel_by:
        return Exit.CANCELLED
    if run.state is RunState.FAILED and own in (Exit.NOT_PERMITTED, Exit.UNREACHABLE):
        return Exit(own)
    return _EXITS[run.state]


def own_exit(events: Iterable[RunEvent]) -> int | None:
    """What the end of a run says of its exit code; None: it has not ended, or does not say."""
    found = [event.memo.get("exit") for event in events if event.what is What.ENDED]
    return found[-1] if found and isinstance(found[-1], int) else None


class Follower:
    """Follows to the end. ctrl-c: of a run that was started here the first asks for cancel and the second stops following; else it only stops.

    Whoever looks on must not end a run by the reflex with which they leave.
    """

    def __init__(self, desk: Desk, journal: Journal, run: Run, *, json: bool, started: bool, offset: int = 0, after: int = 0) -> None:
        self._desk, self._journal, self._run, self._json, self._started = desk, journal, run, json, started
        self._begin = offset
        self._following = Following(journal, run.id, offset=offset, after=after)
        self._interrupts = 0
        self._woken = asyncio.Event()
        self._runners = 1 if after else 0
        self._pulse = 0.0
        self._own: int | None = None

    async def run(self) -> Exit:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            return await self._follow()
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        self._interrupts += 1
        self._woken.set()

    async def _follow(self) -> Exit:
        loop = asyncio.get_running_loop()
        asked, troubled_at = False, 0.0
        while True:
            if self._interrupts and not self._started:
                return self._left()
            if self._interrupts == 1 and not asked:
                asked = True
                await self._cancel()
            elif self._interrupts > 1:
                return self._left()
            try:
                news = await in_thread("run-news", self._following.look)
            except JournalTrouble as error:
                if not troubled_at:
                    troubled_at = loop.time()
                    out.say(out.clean(f"{error}; tried again"))
                if loop.time() - troubled_at > PATIENCE_S:
                    raise
                await self._pause(PULSE_S)
                continue
            troubled_at = 0.0
            self._tell(news)
            if news.over:
                return said_end(news.run, self._desk.clock.now(), json=self._json, own=self._own)
            if news.part.next < news.part.size:
                continue
            if loop.time() - self._pulse > PULSE_S:
                self._pulse = loop.time()
                if await self._is_lost(news.run):
                    return self._lost(news.run)
            await self._pause(POLL_S)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
        self._woken.clear()

    # ------------------------------------------------------------ ends

    async def _cancel(self) -> None:
        try:
            await self._desk.cancel(self._run.id)
        except ColdError as error:
            out.say(out.clean(f"not cancelled: {error}"))
            return
        out.say(f"asked to stop before its next act; {words.ACCEPTED}; ctrl-c again stops following")

    def _left(self) -> Exit:
        out.say(f"the run goes on: coldtui run follow {self._run.id}")
        return Exit.CANCELLED if self._started else Exit.DONE

    async def _is_lost(self, run: Run) -> bool:
        if run.state.ended:
            return False
        if silent(run, self._desk.clock.now()):
            return True
        return bool(run.runner_pid) and await in_thread("run-lives", lambda: self._desk.launcher.lives(run)) is False

    def _lost(self, run: Run) -> Exit:
        if run.after_boot:
            text = f"{run.title} waits to be resumed after the boot of {run.runner_host or 'this machine'}"
        else:
            text = f"{run.title}: runner lost at {place(run)}"
        out.say(out.clean(f"{text}; go on with: coldtui run resume {run.id}"))
        if self._json:
            result(run, "runner lost", run.outcome, Exit.FAILED)
        return Exit.FAILED

    # ------------------------------------------------------------ telling

    def _tell(self, news: News) -> None:
        total = len(news.run.steps)
        self._own = own_exit(news.events) or self._own
        texts: list[str] = []
        events = [
            event for event in news.events if event.offset >= self._begin or event.what is What.ENDED
        ]  # --tail: what was before is left out
        for one in merged(events, news.part.lines):
            if isinstance(one, RunEvent):
                if self._json:
                    _flush(texts)
                    out.dump(words.event_json(one), compact=True)
                elif said := self._said(one, total):
                    _flush(texts)
                    out.say(out.clean(said))
            elif self._json and one.stream != "say":  # what it says itself is among the events
                out.dump(_line_json(one), compact=True)
            elif not self._json:
                texts.append(f"{one.at:%H:%M:%S}Z {words.log_text(one)}" if one.at is not None else words.log_text(one))
        _flush(texts)

    def _said(self, event: RunEvent, total: int) -> str:
        """That its first runner took it up goes without saying; that another one did is news."""
        self._runners += event.what is What.RUNNER
        return "" if event.what is What.RUNNER and self._runners < 2 else words.event_text(event, total)


def merged(events: Iterable[RunEvent], lines: Iterable[RunLine]) -> Iterator[RunEvent | RunLine]:
    """In the order of their times; what announces an act before what it put out."""
    left = list(events)
    for line in lines:
        while left and (line.at is None or left[0].at <= line.at):
            yield left.pop(0)
        yield line
    yield from left


def _flush(texts: list[str]) -> None:
    if texts:
        out.data("\n".join(texts))
        texts.clear()


def _line_json(line: RunLine) -> dict[str, Any]:
    return {"event": "line", "at": iso(line.at) if line.at is not None else None, "stream": line.stream, "text": line.text}


def result(run: Run | None, state: str, outcome: str, code: Exit) -> None:
    """The last line of `--json`."""
    made = {"event": "result", "run": run.id if run is not None else None, "state": state, "outcome": outcome or None, "exit": int(code)}
    out.dump(made, compact=True)


def not_begun(error: ColdError) -> None:
    """An act that did not come to a run."""
    state = {Exit.REFUSED: "refused", Exit.NOT_PERMITTED: "refused", Exit.CANCELLED: "cancelled"}.get(error.exit, "failed")
    result(None, state, str(error), error.exit)


def said_end(run: Run, now: datetime, *, json: bool, own: int | None = None) -> Exit:
    """The last line: how it ended."""
    code = exit_of(run, own)
    out.say(out.clean(words.end_text(run, now)))
    if json:
        result(run, run.state.value, run.outcome, code)
    return code


def said_started(run: Run, *, json: bool) -> Exit:
    """With `--detach`: the id is the data."""
    out.say(f"{out.clean(run.title)}: started; coldtui run follow {run.id}")
    if json:
        result(run, run.state.value, run.outcome, Exit.DONE)
    else:
        out.data(run.id)
    return Exit.DONE
