"""Runs: what is under way and what was done, with the steps and the end of the log of the chosen one."""

from __future__ import annotations

import re
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer

from ...domain.objects import Ref
from ...domain.runs import Run
from ...domain.world import World
from ...present import run as run_words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ...present.runs import RUNS
from ..widgets.card import Card
from ..widgets.filelog import FileLog
from ..widgets.fold import fold
from ..widgets.table import RowTable
from .run import RunScreen, RunText
from .runacts import RunActs
from .runfeed import RunFeed, save_log

REST_S = 0.15
"""The cursor must rest on a run for so long before its log is read: whoever runs through the list reads none."""
TAIL_B = 1 << 16
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4,}")


class RunsScreen(RunActs):
    NOUN = "runs"
    AUTO_FOCUS = "RowTable"
    CSS = """
    RunsScreen #split { layout: vertical; height: 1fr; }
    RunsScreen #list { width: 1fr; height: 1fr; }
    RunsScreen #side { height: 8; }
    RunsScreen #steps { height: 1fr; }
    RunsScreen #log { display: none; }
    RunsScreen.-wide #split { layout: horizontal; }
    RunsScreen.-wide #list { width: 50%; }
    RunsScreen.-wide #side { width: 1fr; height: 1fr; margin-left: 1; }
    RunsScreen.-wide #steps { height: auto; max-height: 60%; }
    RunsScreen.-wide #log { display: block; height: 1fr; }
    RunsScreen.-none #side { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "audit", "Audit", id="runs.audit", tooltip="Who did what, when, from where, and how it ended"),
        Binding("tab,shift+tab", "side", "Log", show=False, id="runs.side", tooltip="The list, or the log beside it"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.feed = RunFeed(self, self._log, self._news, tail_b=TAIL_B)
        self._rest: Timer | None = None

    def _log(self) -> FileLog:
        return self.query_one(FileLog)

    def body(self) -> ComposeResult:
        with Horizontal(id="split"):
            yield RowTable(RUNS, id="list")
            with Vertical(id="side"):
                yield Card("", id="steps")
                yield FileLog("Log", id="log")

    # ------------------------------------------------------------ showing

    def chosen_run(self) -> Run | None:
        found: Run | None = self.query_one("#list", RowTable).item
        return found

    def show(self, world: World, now: datetime) -> None:
        self.query_one("#list", RowTable).show(world, now)
        self._show_side()
        self.refresh_bindings()

    def _news(self) -> None:
        if self.is_current:
            self._show_side()

    def _show_side(self) -> None:
        if not self.is_mounted or self.now is None:
            return
        run, steps = self.chosen_run(), self.query_one("#steps", Card)
        self.set_class(run is None, "-none")
        if run is None:
            return
        self._follow_soon(run.id)
        width = steps.content_size.width or self.size.width - 4
        lines = self._side_lines(run, self.now)
        folded = fold(lines, width)
        steps.retitle(run.title)
        if self.has_class("-wide"):
            steps.styles.height = len(folded) + 2
        elif steps.styles.has_rule("height"):
            steps.styles.clear_rule("height")
        steps.show(folded)

    def _side_lines(self, run: Run, now: datetime) -> list[Line]:
        lines: list[Line] = [run_words.headline(self.board, run, now)]
        lines += run_words.facts(run, now) if self.has_class("-wide") else [run_words.brief(run)]
        if self.feed.id == run.id and self.feed.run is not None:
            lines += [*(((),) if self.has_class("-wide") else ()), *run_words.step_lines(run, self.feed.progress, now)]
        elif self.feed.id == run.id and self.feed.trouble:
            lines.append((Cell(f"steps not read: {self.feed.trouble}", Tone.STALE),))
        return lines

    def _follow_soon(self, id: str) -> None:
        if self.feed.id == id:
            return
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, lambda: self._follow(id))

    def _follow(self, id: str) -> None:
        run = self.chosen_run()
        if run is not None and run.id == id and self.is_mounted:
            self.feed.follow(id)
            self._show_side()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._show_side)

    # ------------------------------------------------------------ coming and going

    def on_screen_suspend(self) -> None:
        self.feed.stop()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.feed.again()

    def narrow(self, argument: str) -> None:
        """`:runs 20261124-140210-7f3a` opens that run."""
        id = argument.strip()
        if _ID.fullmatch(id):
            self.app.push_screen(RunScreen(id))
        else:
            super().narrow(argument)

    def reveal(self, ref: Ref) -> bool:
        table = self.query_one("#list", RowTable)
        return table.key == ref.name or self._select(table, ref.name)

    # ------------------------------------------------------------ keys

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        message.prevent_default()
        self.hints.hush()  # no need to write out an outcome that was cut: the pane has it
        self._show_side()
        self.refresh_bindings()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        self.app.push_screen(RunScreen(message.key))

    def action_describe(self, yaml: bool) -> None:
        run = self.chosen_run()
        if run is not None and self.now is not None and self.feed.id == run.id:
            self.app.push_screen(RunText(f"Run {run.id}", run_words.report(self.board, run, self.feed.progress, self.now)))

    def action_audit(self) -> None:
        self.cold.go("audit")

    def action_side(self) -> None:
        table, log = self.query_one("#list", RowTable), self._log()
        (log if table.has_focus and self.has_class("-wide") else table).focus()

    def on_file_log_wanted(self, message: FileLog.Wanted) -> None:
        self.feed.wanted(message)

    def on_file_log_save_all(self, message: FileLog.SaveAll) -> None:
        save_log(self, self.feed.id)
