"""Read-only and armed: what begins it, what ends it, and that both are in the audit."""

from __future__ import annotations

from pathlib import Path

from coldtui.domain.errors import JournalTrouble
from coldtui.tui.dialogs.base import Dialog
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.widgets.bars import TitleBar
from tests.tui.acts import NODE, Scene, Stage, go, stage
from tests.tui.consoles import run
from tests.tui.screens.waiting import shows, until


def audited(s: Stage) -> list[tuple[str, str]]:
    assert s.scene.journal is not None
    return [(entry.what, entry.outcome) for entry in s.scene.journal.audit_entries()]


def test_arming_asks_counts_down_and_is_audited(tmp_path: Path) -> None:
    """`A` and `y` arm for 15 minutes, the title counts down, `A` again is read-only at once; both stand in the audit."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            assert "READ-ONLY" in s.c.lines()[0]
            await s.hand("A")
            assert isinstance(s.c.app.screen, Dialog)
            assert s.c.app.focused is not None
            assert s.c.app.focused.id == "cancel"
            assert "site cold-site" in s.c.text
            await s.hand("y")
            await shows(s.c, "ARMED 15:00")
            await s.later(8)
            assert "ARMED 14:52" in s.c.lines()[0]
            await s.hand("A")
            await shows(s.c, "READ-ONLY")
            await until(s.c, lambda: len(audited(s)) == 2)
            assert audited(s) == [("armed", "for 15 minutes"), ("disarmed", "by hand")]

    run(check())


def test_enter_on_the_arming_question_is_cancel(tmp_path: Path) -> None:
    """The focus is on Cancel: enter leaves the console read-only, and nothing is audited."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.hand("A", "enter")
            assert len(s.c.app.screen_stack) == 1
            assert "READ-ONLY" in s.c.lines()[0]
            assert audited(s) == []

    run(check())


def test_arming_expires_and_an_open_plan_cannot_be_confirmed_any_more(tmp_path: Path) -> None:
    """After 15 minutes the console is read-only, audited; a plan with the word half typed says so and confirms nothing."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.drain": go()})) as s:
            await s.arm()
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "Type the verb drain")
            await s.hand(*"drain")
            await s.later(15 * 60 + 1)
            await shows(s.c, "READ-ONLY this is the plan only")
            await s.hand("enter")
            assert s.scene.launched == []
            await until(s.c, lambda: ("disarmed", "15 minutes are over") in audited(s))
            assert "READ-ONLY" in s.c.lines()[0]

    run(check())


def test_a_machine_that_slept_is_not_armed_for_longer(tmp_path: Path) -> None:
    """When only the clock on the wall went on, as during a suspend, arming is over all the same."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            s.c.moment = s.c.moment.replace(hour=s.c.moment.hour + 1)
            assert not s.c.app.acting.armed

    run(check())


def test_read_only_by_flag_cannot_be_armed(tmp_path: Path) -> None:
    """With --read-only `A` says why and asks nothing."""

    async def check() -> None:
        async with stage(tmp_path, read_only=True) as s:
            await s.hand("A")
            assert len(s.c.app.screen_stack) == 1
            assert "started with --read-only" in s.c.lines()[-1]
            assert audited(s) == []

    run(check())


def test_without_an_audit_there_is_no_arming(tmp_path: Path) -> None:
    """When the audit cannot be written the console stays read-only, with the journal's words until they are read."""

    async def check() -> None:
        scene = Scene(broken=JournalTrouble("the disk is full", detail="/var/lib/coldtui", hint="free 10 MB"))
        async with stage(tmp_path, scene=scene) as s:
            await s.hand("A", "y")
            await shows(s.c, "not armed, as the audit cannot be written: the disk is full")
            await s.hand("j")
            assert "the disk is full" in s.c.lines()[-1]
            assert "READ-ONLY" in s.c.lines()[0]

    run(check())


def test_the_title_is_painted_only_when_the_second_changes(tmp_path: Path) -> None:
    """A tick within the same second paints nothing: over SSH a countdown is a cell or two a second."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            await s.later(3)
            painted: list[int] = []
            title = s.c.app.top.query_one(TitleBar)
            real = title.refresh
            title.refresh = lambda *a, **k: painted.append(1) or real(*a, **k)  # type: ignore[method-assign,func-returns-value]
            await s.later(0)
            assert painted == []
            await s.later(1)
            assert painted == [1]

    run(check())


def test_arming_from_a_plan_that_is_looked_at(tmp_path: Path) -> None:
    """Read-only, a plan can be looked at; `A` there arms, and then the verb is asked for."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.drain": go()})) as s:
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "READ-ONLY this is the plan only")
            await s.hand("A", "y")
            await shows(s.c, "Type the verb drain")
            assert isinstance(s.c.app.screen, PlanDialog)

    run(check())
