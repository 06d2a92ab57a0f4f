"""One run: who asked for what, its steps with times, the things that it works on, and its log as it comes."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from ...domain.runs import Run
from ...domain.world import World
from ...present import run as run_words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ..widgets.card import Card
from ..widgets.filelog import FileLog
from ..widgets.fold import fold
from ..widgets.textview import TextView
from .base import WorldScreen
from .runacts import RunActs
from .runfeed import RunFeed, save_log

SECOND_S = 1.0
STEPS_AT_MOST = 7
"""Lines of steps on a small screen; more are in describe."""


class RunScreen(RunActs):
    """Tab goes between the log and the things; on a small screen one of them is seen at a time."""

    AUTO_FOCUS = "FileLog"
    CSS = """
    RunScreen #sides { layout: vertical; height: 1fr; }
    RunScreen #left { width: 1fr; height: auto; }
    RunScreen #head { height: auto; }
    RunScreen #items { display: none; height: 1fr; }
    RunScreen.-things #left { height: 1fr; }
    RunScreen.-things #items { display: block; }
    RunScreen.-things #log { display: none; }
    RunScreen.-wide #sides { layout: horizontal; }
    RunScreen.-wide #left { width: 44%; height: 1fr; margin-right: 1; }
    RunScreen.-wide #items { display: block; }
    RunScreen.-wide #log { display: block; width: 1fr; }
    RunScreen.-full > #title, RunScreen.-full > #worst, RunScreen.-full #left { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,shift+tab", "part", "Things", id="run.part", tooltip="The things of this run, or its log"),
        Binding("d", "describe(False)", "All", id="describe", tooltip="All about this run: parameters, plan, premises"),
        Binding("f", "full", "Full screen", show=False, id="run.full", tooltip="The log alone, or all again"),
    ]

    def __init__(self, id: str) -> None:
        super().__init__()
        self.run_id = id
        self.feed = RunFeed(self, self._log, self._news)
        self._painted = ""

    def _log(self) -> FileLog:
        return self.query_one(FileLog)

    def body(self) -> ComposeResult:
        with Horizontal(id="sides"):
            with Vertical(id="left"):
                yield Card("Run", id="head")
                yield TextView("Things", stem=f"run-{self.run_id}", id="items")
            yield FileLog("Log", stem=f"run-{self.run_id}", id="log")

    def on_mount(self) -> None:
        super().on_mount()
        self.feed.follow(self.run_id)
        self.set_interval(SECOND_S, self._second, name="seconds of a run")

    # ------------------------------------------------------------ showing

    def chosen_run(self) -> Run | None:
        """The board is as new as the feed, and has runs of which the feed has not read yet."""
        return self.board.by_id.get(self.run_id) or self.feed.run

    def show(self, world: World, now: datetime) -> None:
        self._paint()
        self.refresh_bindings()

    def _news(self) -> None:
        if self.is_current:
            self._paint()

    def _second(self) -> None:
        run = self.chosen_run()
        if self.is_current and run is not None and run.active and self.now is not None and not self.has_class("-tiny"):
            self.now = self.cold.now()
            self._paint()

    def _paint(self) -> None:
        if not self.is_mounted or self.now is None:
            return
        head, run = self.query_one("#head", Card), self.chosen_run()
        width = head.content_size.width or self.size.width - 4
        if run is None:
            said = self.feed.trouble or "reading the journal"
            lines: tuple[Line, ...] = ((Cell(said, Tone.WARN if self.feed.trouble else Tone.MUTED),),)
            head.retitle(f"Run {self.run_id}")
        else:
            head.retitle(run.title)
            lines = fold(self._head_lines(run, self.now), width)
            self._paint_items(run)
        height = len(lines) + 2
        if head.styles.height is None or head.styles.height.value != height:
            head.styles.height = height
        head.show(lines)

    def _head_lines(self, run: Run, now: datetime) -> list[Line]:
        wide = self.has_class("-wide")
        lines: list[Line] = [run_words.headline(self.board, run, now)]
        facts = run_words.facts(run, now)
        lines += facts if wide else [run_words.brief(run)]
        if self.feed.run is None:
            return [*lines, (Cell(f"steps not read: {self.feed.trouble}" if self.feed.trouble else "reading", Tone.STALE),)]
        steps = run_words.step_lines(run, self.feed.progress, now)
        if not wide and len(steps) > STEPS_AT_MOST:
            steps = _around(steps, STEPS_AT_MOST, run.step)
        return [*lines, *(((),) if wide else ()), *steps]

    def _paint_items(self, run: Run) -> None:
        assert self.now is not None
        items = self.query_one("#items", TextView)
        told = run_words.item_summary(run, self.feed.progress)
        title = f"Things  {told}" if told else "Things"
        if title != items.title:
            items.title = title
            items.refresh()
        items.show(
            run_words.item_lines(run, self.feed.progress, self.now) or ((Cell("  this run works on no single things", Tone.MUTED),),)
        )

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    # ------------------------------------------------------------ coming and going

    def on_screen_suspend(self) -> None:
        """Another screen of the console is in front: nothing is read. A dialog over us changes nothing."""
        if self not in self.app.screen_stack:
            self.feed.stop()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.feed.again()

    # ------------------------------------------------------------ keys

    def action_part(self) -> None:
        if self.has_class("-wide"):
            log, items = self._log(), self.query_one("#items", TextView)
            (items if log.has_focus else log).focus()
            return
        self.toggle_class("-things")
        (self.query_one("#items", TextView) if self.has_class("-things") else self._log()).focus()

    def action_full(self) -> None:
        self.remove_class("-things")
        self.toggle_class("-full")
        self._log().focus()

    def action_describe(self, yaml: bool) -> None:
        run = self.chosen_run()
        if run is not None and self.now is not None:
            self.app.push_screen(RunText(f"Run {run.id}", run_words.report(self.board, run, self.feed.progress, self.now)))

    def on_file_log_wanted(self, message: FileLog.Wanted) -> None:
        self.feed.wanted(message)

    def on_file_log_save_all(self, message: FileLog.SaveAll) -> None:
        save_log(self, self.run_id)


class RunText(WorldScreen):
    """A text to read: all about a run, an entry of the audit."""

    AUTO_FOCUS = "TextView"

    def __init__(self, title: str, lines: tuple[Line, ...]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def body(self) -> ComposeResult:
        yield TextView(self._title, stem=self._title.lower().replace(" ", "-"), wrap=True)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(TextView).show(self._lines)

    def show(self, world: World, now: datetime) -> None:
        """It stands still: it is read."""


def _around(steps: tuple[Line, ...], room: int, at: int) -> tuple[Line, ...]:
    """The lines of steps around the one that is under way."""
    first = max(0, min(at - room // 2, len(steps) - room))
    return steps[first : first + room]
