"""One run, followed for a screen: its events and log are read in threads, never on the loop that paints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...domain.errors import ColdError
from ...domain.progress import Progress, fold
from ...domain.runs import Run, RunLine
from ...domain.text import counted
from ...live.core import in_thread
from ...live.follow import CHUNK_B, Chunk, Following, News, after_a_line, before, between
from ...ports import Journal, LogLine
from ...present.rows import Tone
from ...present.run import log_text
from ..widgets import take
from ..widgets.filelog import FileLog

if TYPE_CHECKING:
    from .base import WorldScreen

POLL_S = 0.2
TAIL_B = 1 << 19
"""Of a longer log the end is shown first; what is above is read when somebody scrolls there."""


def shown(lines: tuple[RunLine, ...]) -> list[LogLine]:
    return [LogLine(line.at, log_text(line)) for line in lines]


class RunFeed:
    """`follow(id)` shows a run in `log` and tells `took` of each piece of news; another id, or `stop`, ends that."""

    def __init__(self, screen: WorldScreen, log: Callable[[], FileLog], took: Callable[[], None], *, tail_b: int = TAIL_B) -> None:
        self.screen, self._log, self._took, self._tail_b = screen, log, took, tail_b
        self.id = ""
        self.run: Run | None = None
        self.progress = Progress()
        self.trouble = ""

    @property
    def journal(self) -> Journal | None:
        return self.screen.cold.site.live.journal

    def follow(self, id: str) -> None:
        if id == self.id:
            return
        self.id, self.run, self.progress, self.trouble = id, None, Progress(), ""
        log = self._log()
        log.start = log.end = log.fed = 0
        log.clear()
        log.following, log.ended = True, False
        self._begin()

    def _begin(self) -> None:
        self.screen.run_worker(self._guarded(self.id), exclusive=True, group="run", exit_on_error=False, description=f"run {self.id}")

    def stop(self) -> None:
        """Read no more of it; `again` goes on."""
        self.screen.workers.cancel_group(self.screen, "run")

    def again(self) -> None:
        if self.id and not any(
            worker.group == "run" and not worker.is_finished for worker in self.screen.workers if worker.node is self.screen
        ):
            self._begin()

    # ------------------------------------------------------------ reading

    async def _guarded(self, id: str) -> None:
        try:
            await self._keep(id)
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: shown and logged
            self._tell(f"stopped: fault of this program ({type(error).__name__}), see the log")
            self.screen.app._handle_exception(error)

    async def _keep(self, id: str) -> None:
        following: Following | None = None
        while True:
            journal = self.journal
            try:
                if journal is None:
                    self._tell("the journal cannot be read")
                elif following is None:
                    following = await self._start(journal, id)
                else:
                    following.journal = journal  # it may have been opened anew
                    news = await in_thread("run-news", following.look)
                    self._tell("")
                    self._take(news)
                    if news.over:
                        self._over()
                        return
                    if news.part.next < news.part.size:
                        await asyncio.sleep(0)  # there is more; a flood must not keep keys waiting
                        continue
            except ColdError as error:
                self._tell(" · ".join(part for part in (error.title, error.hint) if part))
            await asyncio.sleep(POLL_S if following is not None else 2 * POLL_S)

    async def _start(self, journal: Journal, id: str) -> Following:
        """Where a screen begins: with all events, and with the end of the log. Goes on where it was when the screen was only away."""
        log = self._log()
        if log.fed:
            return Following(journal, id, offset=log.fed, after=self.progress.seq)
        size = (await in_thread("run-log", partial(journal.read_log, id, offset=0, limit_b=1))).size
        offset = 0
        if size > self._tail_b:
            offset = await in_thread("run-log", partial(after_a_line, journal, id, size - self._tail_b))
        log.start = log.end = log.fed = offset
        return Following(journal, id, offset=offset, after=self.progress.seq)

    def _take(self, news: News) -> None:
        self.run = news.run
        if news.events:
            self.progress = fold(self.progress, news.events)
        if news.part.lines:
            self._log().feed(shown(news.part.lines), news.start, news.part.next)
        self._took()

    def _over(self) -> None:
        log = self._log()
        log.following, log.ended = log.attached, True
        log.refresh()

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            log = self._log()
            log.note = trouble
            log.refresh()
            self._took()

    # ------------------------------------------------------------ elsewhere in the file

    def wanted(self, message: FileLog.Wanted) -> None:
        self.screen.run_worker(self._fetch(message), group="run-part", exit_on_error=False, description=f"log of run {self.id}")

    async def _fetch(self, message: FileLog.Wanted) -> None:
        view, id, journal = message.view, self.id, self.journal
        if journal is None:
            view.missed()
            return
        try:
            chunk = await in_thread("run-part", self._reader(journal, id, message))
        except ColdError as error:
            view.missed()
            self.screen.say(str(error))
            return
        if id != self.id:
            view.missed()
            return
        lines = shown(chunk.lines)
        match message.part:
            case "before":
                view.prepend(lines, chunk.start, chunk.end)
            case "after":
                view.append(lines, chunk.start, chunk.end)
            case part:
                view.reset(lines, chunk.start, chunk.end, follow=part == "tail")

    @staticmethod
    def _reader(journal: Journal, id: str, message: FileLog.Wanted) -> Callable[[], Chunk]:
        fed = message.view.fed
        match message.part:
            case "before":
                return partial(before, journal, id, message.offset)
            case "after":
                return partial(between, journal, id, message.offset, min(fed, message.offset + CHUNK_B))
            case "head":
                return partial(between, journal, id, 0, min(fed, CHUNK_B))
            case _:
                return partial(before, journal, id, fed)


def save_log(screen: WorldScreen, id: str) -> None:
    """The whole log of a run into a file of the operator's, not only what is in the view."""
    screen.run_worker(_saved(screen, id), group="run-save", exit_on_error=False, description=f"saving the log of run {id}")


async def _saved(screen: WorldScreen, id: str) -> None:
    journal = screen.cold.site.live.journal
    if journal is None:
        screen.say("the journal cannot be read", Tone.WARN)
        return
    path = screen.cold.save_folder / take.file_name(f"run-{id}", screen.cold.now(), "log")
    try:
        lines = await in_thread("run-save", partial(_copy, journal, id, path))
    except ColdError as error:
        screen.say(str(error), Tone.BAD, sticky=True)
    except OSError as error:
        screen.say(f"not saved: {path}: {error.strerror}", Tone.BAD, sticky=True)
    else:
        screen.say(f"saved {path} ({counted(lines, 'line')})", sticky=True)


def _copy(journal: Journal, id: str, path: Path) -> int:
    """Piece by piece; returns how many lines. Raises ColdError, OSError."""
    count = 0

    def texts() -> Iterator[str]:
        nonlocal count
        offset = 0
        while (part := journal.read_log(id, offset=offset)).next > offset:
            for line in part.lines:
                count += 1
                at = f"{line.at:%Y-%m-%dT%H:%M:%S}.{line.at.microsecond // 1000:03}Z " if line.at is not None else ""
                yield at + log_text(line)
            offset = part.next

    take.write(path, texts())
    return count
