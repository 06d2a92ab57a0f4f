"""Runs on the screen: the list, one run with its log, what is lost or waits, cancel and resume, over a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.errors import Refused
from coldtui.domain.objects import Ref
from coldtui.domain.readings import Trouble
from coldtui.domain.runboard import RunBoard
from coldtui.domain.runs import Run, RunState, What
from coldtui.domain.world import World
from coldtui.tui.screens.run import RunScreen, RunText
from coldtui.tui.screens.runs import RunsScreen
from coldtui.tui.site import Options
from coldtui.tui.widgets.filelog import FileLog
from tests.journals import Wall, end, lines, under_way, write
from tests.tui import worlds
from tests.tui.consoles import Console, console, run
from tests.tui.screens.journaled import history, none_yet, running, with_board, world_of
from tests.tui.screens.waiting import shows, until
from tests.tui.worlds import NOW

ID = "20261025-140000-7f3a"


def log(c: Console) -> FileLog:
    return c.app.top.query_one(FileLog)


def with_journal(c: Console, journal: SqliteJournal) -> None:
    c.site.live.journal = journal


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    made = running(tmp_path, Wall(NOW))
    yield made
    made.close()


class FakeDesk:
    """Keeps what was asked; the journal answers."""

    operations: dict[str, Any] = {}  # noqa: RUF012 - there are none
    production = False
    forbidden = ""

    def __init__(self, journal: SqliteJournal, trouble: str = "") -> None:
        self.kept, self.trouble = journal, trouble
        self.asked: list[tuple[str, str]] = []

    def journal(self) -> SqliteJournal:
        return self.kept

    async def note(self, what: str, *, reason: str = "", outcome: str = "") -> None:
        self.asked.append((what, outcome))

    async def cancel(self, id: str) -> Run:
        self.asked.append(("cancel", id))
        if self.trouble:
            raise Refused(self.trouble)
        self.kept.ask_cancel(id, "ben")
        return self.kept.run(id)

    async def resume(self, id: str, *, secrets: Any = None) -> Run:
        self.asked.append(("resume", id))
        return self.kept.run(id)


# ------------------------------------------------------------ the list


def test_nothing_was_ever_run() -> None:
    """On a fresh machine the list says that there are no runs, not that it is loading."""

    async def check() -> None:
        async with console(none_yet(), start="runs") as c:
            assert "no runs" in c.text
            assert "loading" not in c.text
            assert not c.app.top.has_class("-verified")

    run(check())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_each_run_says_how_it_stands(journal: SqliteJournal, size: tuple[int, int]) -> None:
    """State in word and glyph, what, when, how far; the chosen one's steps with marks and times beside or below it."""

    async def check() -> None:
        async with console(world_of(journal), start="runs", size=size) as c:
            with_journal(c, journal)
            await shows(c, "◐ running", "Drain k3s-worker-1", "2/3", "▲ partial", "✓ done", "○ cancelled", "14:00Z", "10-24")
            await shows(
                c, "✓ 1 Cordon k3s-worker-1", "◐ 2 Evict 2 pods", "· 3 Verify that they are gone", "anna from 10.0.0.5", "kernel update"
            )
            assert "◐ Drain k3s-worker-1 2/3" in c.lines()[0]
            if size[0] >= 120:
                await shows(c, "pods/production/redis-0: evicted, stops")

    run(check())


def test_a_lost_runner_is_the_worst_problem(journal: SqliteJournal) -> None:
    """`runner lost at step 2` in the list, critical in the second line, and `!` leads to it."""

    async def check() -> None:
        async with console(worlds.healthy(), start="runs") as c:
            later = NOW + timedelta(seconds=20)
            with_journal(c, journal)
            c.moment = later
            await c.put(world_of(journal, at=later))
            await shows(c, "▲ runner lost", "last heard of 15s ago", "CRITICAL  Drain k3s-worker-1: runner lost at step 2 Evict 2")
            await c.press("2", "exclamation_mark")
            await until(c, lambda: isinstance(c.app.top, RunsScreen), "the runs")
            assert c.app.top.subject() == Ref("runs", ID)

    run(check())


def test_what_a_run_waits_for(tmp_path: Path) -> None:
    """A run that waits says for what and how long; over a minute it is a warning with the way out."""
    clock = Wall(NOW)
    journal = running(tmp_path, clock)
    clock.pass_(-75)
    journal.record(ID, What.WAITING, step=1, text="the Kubernetes API: connection refused")
    clock.pass_(75)
    journal.beat(ID)

    async def check() -> None:
        async with console(world_of(journal), start="runs", size=(120, 40)) as c:
            with_journal(c, journal)
            await shows(c, "◐ waiting", "connection refused (75s)", "WARNING  Drain k3s-worker-1 waits: the Kubernetes API")
            await c.press("6")
            await shows(c, "stop it with: coldtui run cancel", ID)

    run(check())
    journal.close()


def test_a_journal_that_cannot_be_read(journal: SqliteJournal) -> None:
    """The runs stay as last read and say so; without any the reason and the remedy stand in their place; nobody is called lost."""
    trouble = Trouble("journal", "the journal was made by a newer coldtui", "use the newer coldtui")
    world = world_of(journal)

    async def check() -> None:
        async with console(with_board(world, replace(world.runs, trouble=trouble, since=NOW)), start="runs") as c:
            assert "◐ running" in c.text
            assert "stale" in c.text
            assert "WARNING  the journal was made by a newer coldtui" in c.text
            await c.at(NOW + timedelta(minutes=5))
            assert "lost" not in c.text
            await shows(c, "steps not read")
        async with console(with_board(worlds.healthy(), RunBoard(trouble=trouble, since=NOW)), start="runs") as c:
            assert "runs could not be read: the journal was made by a newer coldtui" in c.text
            assert "use the newer coldtui" in c.text

    run(check())


def test_filter_and_trouble_find_runs(journal: SqliteJournal) -> None:
    """`/` looks through who, object and outcome; ctrl-z leaves what needs somebody."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            table = c.app.top.table
            assert table is not None
            table.set_filter("still cordoned")
            assert len(table.keys) == 1
            table.set_filter("anna")
            assert len(table.keys) == 4
            table.set_filter("")
            await c.press("ctrl+z")
            assert [table._objects[key].title for key in table.keys] == ["Drain k3s-worker-2"]

    run(check())


def test_status_and_alerts_tell_of_runs(journal: SqliteJournal) -> None:
    """The home screen has the run under way and the last ends; a bad end of the last hour is a notice that stays until read."""

    async def check() -> None:
        async with console(world_of(journal), start="status", size=(120, 40)) as c:
            assert "Recent runs and events" in c.text
            assert "Drain k3s-worker-1 2/3 Evict 2 pods" in c.text
            assert "Reboot k3s-worker-4 cancelled: stopped" in c.text
            assert "NOTICE  Drain k3s-worker-2: out of time; k3s-worker-2 is still cordoned" in c.text

    run(check())


# ------------------------------------------------------------ one run


async def opened(c: Console, journal: SqliteJournal) -> RunScreen:
    with_journal(c, journal)
    await c.press("enter")
    await until(c, lambda: isinstance(c.app.top, RunScreen), "the run")
    await shows(c, "1 Cordon k3s-worker-1")
    return cast(RunScreen, c.app.top)


def test_a_run_is_followed_as_it_goes(journal: SqliteJournal) -> None:
    """New lines, steps and pods appear by themselves, and at the end it says that it ended."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            await shows(c, "pods/production/redis-0: evicted, stops", "● follow")
            write(journal, journal.run(ID), "pods/production/redis-1: gone", at=NOW)
            await shows(c, "pods/production/redis-1: gone")
            await c.press("tab")
            await shows(c, "production/redis-0", "gone", "kube-system/agent", "stays: DaemonSet", "Things  2 of 2")
            journal.record(ID, What.ITEM, step=1, object="pods/production/redis-1", text="gone after 9 s")
            await shows(c, "gone after 9 s")
            await c.press("tab")
            end(journal, journal.run(ID))
            await c.put(world_of(journal))
            await shows(c, "✓ done", "✓ 3 Verify that they are gone", "✓ ended")

    run(check())


def test_stderr_of_a_command_is_marked(journal: SqliteJournal) -> None:
    """What a command wrote to stderr can be told from what it wrote to stdout without colour."""

    async def check() -> None:
        write(journal, journal.run(ID), "Failed to reload", stream="err")
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            await shows(c, "! Failed to reload")

    run(check())


def test_all_about_a_run_can_be_read(journal: SqliteJournal) -> None:
    """`d`: parameters, digest, verdict, findings and premises of the plan that was confirmed."""

    async def check() -> None:
        async with console(world_of(journal), start="runs", size=(120, 40)) as c:
            await opened(c, journal)
            await c.press("d")
            await until(c, lambda: isinstance(c.app.top, RunText), "the text")
            await shows(
                c,
                "node k3s-worker-1, grace 30",
                "go after 1 wait · 9f9f9f9f9f9f",
                "budget redis allows 1 of 3",
                "pods of k3s-worker-1",
                "node.drain on",
            )

    run(check())


def test_a_console_opened_later_shows_the_whole_log(journal: SqliteJournal) -> None:
    """Whoever comes when the run has ended reads all of it, from the first line."""

    async def check() -> None:
        write(journal, journal.run(ID), *(f"line {n}" for n in range(500)))
        end(journal, journal.run(ID))
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            await shows(c, "501 lines", "✓ ended", "line 499")
            await c.press("g")
            await shows(c, "pods/production/redis-0: evicted, stops", "line 1")

    run(check())


def test_a_run_that_is_not_there_says_so(journal: SqliteJournal) -> None:
    """`:runs ID` of an unknown run waits on no empty screen."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            with_journal(c, journal)
            c.app.go("runs", "20261025-999999-0000")
            await shows(c, "Run 20261025-999999-0000", "no run")

    run(check())


def test_another_run_takes_the_place_of_one_that_was_left_open(journal: SqliteJournal) -> None:
    """What is asked for from another screen is shown, not the run that was looked at before."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            c.app.go("status")
            await c.settle()
            c.app.go("runs", "20261025-999999-0000")
            await shows(c, "Run 20261025-999999-0000", "no run")

    run(check())


# ------------------------------------------------------------ long logs


def numbered(view: FileLog) -> list[int]:
    return [int(line.text.split()[1]) for line in view._lines if not isinstance(line, str) and line.text.startswith("line ")]


async def long_log(c: Console, journal: SqliteJournal, count: int) -> FileLog:
    journal.write_log(ID, lines(*(f"line {n:06} of a very long log with some words in it" for n in range(count)), at=NOW))
    await opened(c, journal)
    view = log(c)
    await until(c, lambda: bool(view._lines) and view.fed > 0 and view.fed == journal.read_log(ID, limit_b=1).size, "the end of the log")
    return view


def test_memory_is_bounded_and_what_is_above_is_told(journal: SqliteJournal) -> None:
    """Of 150,000 lines the view holds its 20,000, says how much lies above, and stays at the end."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            view = await long_log(c, journal, 150_000)
            journal.write_log(ID, lines(*(f"line {n:06} more" for n in range(150_000, 190_000)), at=NOW))
            await shows(c, "line 189999 more")
            assert len(view._lines) <= view.capacity + 1_000 + 20_000
            assert "above" in c.text
            assert "● follow" in c.text
            seen = numbered(view)
            assert seen == list(range(seen[0], 190_000))

    run(check())


def test_scrolling_back_reads_the_file_again_to_its_first_line_and_forth_to_its_end(journal: SqliteJournal) -> None:
    """Page by page up to the first line and down to the last: every line once, in order, and never more than the ring in memory."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            view = await long_log(c, journal, 60_000)
            view.capacity = 5_000
            tops: list[int] = []
            while view.start > 0:
                first = view.start
                view._scroll(-(len(view._lines)))
                await until(c, lambda first=first: view.start < first or view._asked is None, "older lines")  # type: ignore[misc]
                seen = numbered(view)
                assert seen == list(range(seen[0], seen[-1] + 1))
                assert len(view._lines) < 5_000 + 1_000 + 8_000
                tops.append(seen[0])
            assert tops == sorted(tops, reverse=True)
            view._scroll(-10_000)
            await c.settle()
            await shows(c, "pods/production/redis-0: evicted, stops", "below", "○ paused")
            while not view.attached:
                before = view.end
                view._scroll(len(view._lines))
                await until(c, lambda before=before: view.end > before or view._asked is None, "newer lines")  # type: ignore[misc]
                seen = numbered(view)
                assert seen == list(range(seen[0], seen[-1] + 1))
            assert numbered(view)[-1] == 59_999

    run(check())


def test_what_a_full_log_drops_is_counted_on_the_screen(tmp_path: Path) -> None:
    """The last line of a log that reached its cap shows the newest count, not the first."""
    journal = running(tmp_path, Wall(NOW))
    journal._output._cap = 20_000
    journal.write_log(ID, lines(*("x" * 100 for _ in range(500)), at=NOW))

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            await shows(c, "lines dropped: the log is full")
            before = log(c).text[-1]
            journal.write_log(ID, lines(*("x" * 100 for _ in range(700)), at=NOW))
            await until(c, lambda: log(c).text[-1] != before, "the newer count")
            count = [int(text.split("Z ")[-1].split()[0]) for text in (before, log(c).text[-1])]
            assert count[1] - count[0] == 700

    run(check())
    journal.close()


def test_head_and_tail_are_one_key_away(journal: SqliteJournal) -> None:
    """g shows the first line of a long log, G its end, and it follows again."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            view = await long_log(c, journal, 60_000)
            view.capacity = 5_000
            await c.press("g")
            await shows(c, "line 000000", "below", "○ paused")
            await c.press("G")
            await shows(c, "line 059999", "● follow")
            write(journal, journal.run(ID), "line 060000 came later", at=NOW)
            await shows(c, "line 060000 came later")

    run(check())


def test_a_page_that_is_read_stays_while_lines_pour_in(journal: SqliteJournal) -> None:
    """Whoever reads a page of a full view keeps it, and is told how much came below."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            view = await long_log(c, journal, 2_000)
            view.capacity = 2_000
            await c.press("pageup", "pageup")
            shown = [text for _, _, text in view._visible()]
            for start in range(0, 20_000, 5_000):
                journal.write_log(ID, lines(*(f"flood {n}" for n in range(start, start + 5_000)), at=NOW))
                await until(c, lambda: view.fed == journal.read_log(ID, limit_b=1).size, "read")
            assert [text for _, _, text in view._visible()] == shown
            await shows(c, "below", "○ paused")
            await c.press("G")
            await shows(c, "flood 19999")

    run(check())


def test_the_filter_holds_for_what_is_read_again(journal: SqliteJournal) -> None:
    """A filter goes over the lines in the view and over those that come to it, above and below."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            view = await long_log(c, journal, 60_000)
            view.set_filter("7 of a")
            before = len(view._hits or ())
            assert before
            view._scroll(-before)
            await until(c, lambda: len(view._hits or ()) > before, "older matches")
            assert all(view._text(number).split()[1].endswith("7") for number in view._hits or ())

    run(check())


def test_the_whole_log_is_saved_not_only_the_view(tmp_path: Path) -> None:
    """ctrl-s writes every line of the run into a file of the operator's."""
    (tmp_path / "state").mkdir()
    journal = running(tmp_path / "state", Wall(NOW))

    async def check() -> None:
        async with console(world_of(journal), start="runs", options=Options(state_dir=tmp_path)) as c:
            await long_log(c, journal, 60_000)
            await c.press("ctrl+s")
            await shows(c, "saved /")
            (path,) = (tmp_path / "saved").iterdir()
            texts = path.read_text().splitlines()
            assert len(texts) == 60_001
            assert texts[-1].endswith("line 059999 of a very long log with some words in it")
            assert path.stat().st_mode & 0o777 == 0o600

    run(check())
    journal.close()


# ------------------------------------------------------------ cancel and resume


async def chosen(c: Console, *keys: str) -> None:
    """A dialog takes only keys that came after it, and no key that may be held down."""
    await asyncio.sleep(1.2)
    await c.press(*keys)


def test_cancel_asks_and_says_what_it_cannot_undo(journal: SqliteJournal) -> None:
    """ctrl-x needs no arming; the question says what stands; after `y` the desk is asked and the line says what cannot be recalled."""
    desk = FakeDesk(journal)

    async def check() -> None:
        async with console(world_of(journal), start="runs", desk=desk) as c:
            with_journal(c, journal)
            await c.press("ctrl+x")
            await shows(c, "Cancel this run", "It stops before its next act.", "What was accepted cannot be recalled.")
            await chosen(c, "escape")
            assert desk.asked == []
            await c.press("ctrl+x")
            await chosen(c, "y")
            await until(c, lambda: bool(desk.asked), "asked")
            assert desk.asked == [("cancel", ID)]
            await shows(c, "stops before its next act; what was accepted cannot be recalled")
            assert journal.run(ID).cancel_by == "ben"

    run(check())


def test_a_cancel_that_is_refused_stays_on_the_screen(journal: SqliteJournal) -> None:
    """Why it did not work is a notice that stays until it is read."""
    desk = FakeDesk(journal, "it has ended: done")

    async def check() -> None:
        async with console(world_of(journal), start="runs", desk=desk) as c:
            with_journal(c, journal)
            await c.press("ctrl+x")
            await shows(c, "Cancel this run")
            await chosen(c, "y")
            await shows(c, "it has ended: done", "dismiss")

    run(check())


def test_what_has_ended_can_be_neither_cancelled_nor_resumed(tmp_path: Path) -> None:
    """The keys are not bound on an ended run, nor is there a menu."""
    journal = history(tmp_path, Wall(NOW))
    desk = FakeDesk(journal)

    async def check() -> None:
        async with console(world_of(journal), start="runs", desk=desk) as c:
            with_journal(c, journal)
            actions = {active.binding.action for active in c.app.screen.active_bindings.values() if active.enabled}
            assert not actions & {"cancel_run", "resume_run", "menu"}
            await c.press("ctrl+x", "ctrl+g", "x")
            assert isinstance(c.app.screen, RunsScreen)
            assert desk.asked == []

    run(check())
    journal.close()


def at_lost(journal: SqliteJournal) -> World:
    return world_of(journal, at=NOW + timedelta(seconds=30))


async def lost_console(c: Console, journal: SqliteJournal) -> None:
    with_journal(c, journal)
    c.moment = NOW + timedelta(seconds=30)
    await c.put(at_lost(journal))
    await shows(c, "▲ runner lost")


def test_resume_needs_arming(journal: SqliteJournal) -> None:
    """Read-only, ctrl-g says why it does nothing; armed it asks, and the desk starts a new runner."""
    desk = FakeDesk(journal)

    async def check() -> None:
        async with console(worlds.healthy(), start="runs", desk=desk, options=Options(read_only=False)) as c:
            await lost_console(c, journal)
            await c.press("ctrl+g")
            await shows(c, "READ-ONLY")
            assert desk.asked == []
            await c.press("A")
            await shows(c, "Arm for 15 minutes")
            await chosen(c, "y")
            await until(c, lambda: c.app.acting.armed, "armed")
            await lost_console(c, journal)
            await c.press("ctrl+g")
            await shows(c, "Resume this run", "Nothing that was done is done again.")
            await chosen(c, "y")
            await until(c, lambda: ("resume", ID) in desk.asked, "asked")

    run(check())


def test_the_menu_offers_what_can_be_done_to_a_lost_run(journal: SqliteJournal) -> None:
    """`x` on a lost run has resume and cancel; choosing one asks as its key does."""
    desk = FakeDesk(journal)

    async def check() -> None:
        async with console(worlds.healthy(), start="runs", desk=desk) as c:
            await lost_console(c, journal)
            await c.press("x")
            await shows(c, "resume", "not now:", "cancel", "stop before its next act")
            await c.press("j", "enter")
            await shows(c, "Cancel this run", "Its runner is lost: it is ended here")

    run(check())


def test_the_end_of_a_run_reaches_an_open_screen(journal: SqliteJournal) -> None:
    """Cancelled by somebody else: the open screen says who asked, then how it ended."""

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            await opened(c, journal)
            journal.ask_cancel(ID, "ben from 10.0.0.9")
            await c.put(world_of(journal))
            await shows(c, "◐ stopping", "by ben from 10.0.0.9; what was accepted cannot be recalled")
            end(journal, journal.run(ID), RunState.PARTIAL, "cancelled; k3s-worker-1 is still cordoned")
            await c.put(world_of(journal))
            await shows(c, "▲ partial", "k3s-worker-1 is still cordoned", "○ 3 Verify that they are gone  not begun")

    run(check())


def opens(c: Console, kind: type) -> Callable[[], bool]:
    return lambda: isinstance(c.app.top, kind)


def test_a_second_run_is_under_way(tmp_path: Path) -> None:
    """The title names the one in the worst state and how many more there are."""
    clock = Wall(NOW)
    journal = running(tmp_path, clock)
    from tests.journals import a_run

    second = a_run("20261025-140100-aaaa", title="Restart K3s on k3s-worker-4", object="nodes/k3s-worker-4", locks=(), created=NOW)
    under_way(journal, second)

    async def check() -> None:
        async with console(world_of(journal), start="runs") as c:
            assert "+1" in c.lines()[0]

    run(check())
    journal.close()
