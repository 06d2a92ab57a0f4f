"""The plan and its confirmation: what passes, and all that must not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Button

from coldtui.adapters.journal import open_journal
from coldtui.domain.errors import HostKeyUnknown, Unreachable
from coldtui.domain.plans import Finding, Outlook, Plan, Rung, Weight
from coldtui.domain.runs import AuditEntry, Run, RunSite
from coldtui.lab.fakes import FakeClock
from coldtui.tui.dialogs.form import FormDialog
from coldtui.tui.dialogs.hostkey import HostKeyDialog
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.dialogs.planwords import Stage
from tests.tui import acts
from tests.tui.acts import ME, NODE, Scene, dialog, held, paste, send, stage
from tests.tui.consoles import Console, run
from tests.tui.screens.waiting import shows, until
from tests.tui.worlds import NOW

SIZES = [(80, 24), (120, 40)]


def plan_dialog(c: Console) -> PlanDialog:
    found = dialog(c)
    assert isinstance(found, PlanDialog)
    return found


async def opened(s: acts.Stage, operation: str = "node.drain", *, arm: bool = True) -> PlanDialog:
    """The dialog, once its plan is shown."""
    if arm:
        await s.arm()
    s.c.app.acting.ask(operation, {"node": NODE})
    await until(s.c, lambda: isinstance(s.c.app.screen, PlanDialog) and s.c.app.screen.stage is Stage.SHOWN, "the plan")
    return plan_dialog(s.c)


def drained(plan: Plan) -> Scene:
    return Scene(plans={"node.drain": plan})


# ------------------------------------------------------------ reading


def test_the_dialog_is_there_at_once_and_esc_ends_the_reading(tmp_path: Path) -> None:
    """While the site is read the dialog says so, from the first second with the time; esc closes it, and nothing is left that reads."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(gate=asyncio.Event())) as s:
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "READING THE SITE", "nothing is changed")
            assert " 1 s" not in s.c.text
            s.ticks += 3
            plan_dialog(s.c).show()
            await s.c.settle()
            assert "READING THE SITE  3 s" in s.c.text
            await s.hand("escape")
            assert len(s.c.app.screen_stack) == 1
            assert not [w for w in s.c.app.workers if w.group == "plan" and w.is_running]

    run(check())


def test_an_api_that_is_down_is_told_and_tried_again(tmp_path: Path) -> None:
    """Errors while reading stay in the dialog with their remedy; ctrl-r reads again."""

    async def check() -> None:
        scene = Scene(errors={"node.drain": Unreachable("connection refused by 127.0.0.1:6443", hint="is the K3s service running?")})
        async with stage(tmp_path, scene=scene) as s:
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "CANNOT BE PLANNED", "connection refused", "→ is the K3s service running?", "ctrl-r try again")
            scene.errors.clear()
            await s.hand("ctrl+r")
            await shows(s.c, "● GO")

    run(check())


def test_a_fault_of_ours_while_planning_is_shown(tmp_path: Path) -> None:
    """An error of the program is told in the dialog and below it; nothing hangs."""

    async def check() -> None:
        scene = Scene(errors={"node.drain": ValueError("[/b] boom")})
        async with stage(tmp_path, scene=scene, errors=1) as s:
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "a fault of this program", "ValueError: [/b] boom")

    run(check())


# ------------------------------------------------------------ rung 2


@pytest.mark.parametrize("size", SIZES)
def test_the_verb_typed_by_hand_and_a_fresh_enter_confirm(tmp_path: Path, size: tuple[int, int]) -> None:
    """Focus is on Cancel; the verb is typed at once, enter confirms; the run is in journal and audit with its digest and reason."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go_after()), size=size) as s:
            shown = await opened(s)
            assert isinstance(s.c.app.focused, Button)
            assert s.c.app.focused.id == "cancel"
            await s.hand(*"drain")
            assert s.scene.launched == []
            assert "drain: drain█  ✓ enter" in s.c.text
            await s.hand("tab", *"disk", "enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)
            confirmed = s.scene.launched[0]
            assert shown.plan is not None
            assert (confirmed.operation, confirmed.digest, confirmed.reason) == ("node.drain", shown.plan.digest, "disk")
            assert s.scene.journal is not None
            assert [e.what for e in s.scene.journal.audit_entries()] == ["armed", "confirmed"]
            await until(s.c, lambda: s.c.app.current_mode == "runs" or "runs" not in s.c.app.MODES)

    run(check())


def test_enter_alone_cancels(tmp_path: Path) -> None:
    """The focus is on Cancel: enter closes the plan, and nothing is started."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand("enter")
            assert len(s.c.app.screen_stack) == 1
            assert s.scene.launched == []

    run(check())


@pytest.mark.parametrize("typed", ["drai", "Drain", "drainn", "uncordon"])
def test_another_word_does_not_confirm(tmp_path: Path, typed: str) -> None:
    """Nothing but the verb passes, capitals count, and the line says what is wrong."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand(*typed, "enter")
            assert f"{typed} is not drain" in s.c.text
            assert s.scene.launched == []

    run(check())


def test_a_paste_is_refused_with_a_word(tmp_path: Path) -> None:
    """Pasted text does not come into the word, wherever the focus is."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            paste(s.c, "drain\n")
            await s.c.settle()
            assert "pasted text is not taken here" in s.c.text
            await s.hand("d")
            paste(s.c, "rain\n")
            await s.c.settle()
            await s.hand("enter")
            assert "d is not drain" in s.c.text
            assert s.scene.launched == []

    run(check())


def test_a_paste_that_looks_like_keys_is_refused(tmp_path: Path) -> None:
    """A terminal without bracketed paste sends the word and the enter as keys, all at once: neither counts."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand(*"drain", "enter", gap=0.001)
            assert "all at once" in s.c.text
            await s.hand("enter")
            assert "type drain first" in s.c.text
            assert s.scene.launched == []
            await s.hand(*"drain", "enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)

    run(check())


def test_an_enter_held_from_before_does_nothing(tmp_path: Path) -> None:
    """Enter held down since before the word was complete repeats itself, and confirms nothing; a fresh one does."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand(*"drain")
            at = acts._clock[0]
            s.c.app.hand.saw("enter", at - 0.4)
            for i in range(12):
                send(s.c, "enter", at + 0.1 + i / 30)
            await s.c.settle()
            await s.c.settle()
            assert "enter may be held down" in s.c.text
            assert s.scene.launched == []
            await s.hand("enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)

    run(check())


def test_a_held_letter_does_not_count(tmp_path: Path) -> None:
    """Repeats of a letter that is held down are not part of the word, and that is said."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand(*"dddddd", gap=0.033)
            assert "drain: d█" in s.c.text
            assert "held down" in s.c.text

    run(check())


def test_type_ahead_does_not_reach_the_plan(tmp_path: Path) -> None:
    """What was typed before the plan could be read is dropped: a whole confirmation typed ahead confirms nothing."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            shown = await opened(s)
            for i, key in enumerate((*"drain", "enter")):
                send(s.c, key, shown.opened + 0.04 * i)
            await s.c.settle()
            assert "drain: _" in s.c.text
            assert s.scene.launched == []
            assert len(s.c.app.screen_stack) == 2

    run(check())


def test_a_new_plan_voids_what_was_typed(tmp_path: Path) -> None:
    """After ctrl-r the word must be typed again, and keys of the moment do not count for the new plan."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            shown = await opened(s)
            await s.hand(*"drain")
            s.scene.plans["node.drain"] = acts.go_after()
            await s.hand("ctrl+r")
            await shows(s.c, "GO AFTER 1 WAIT")
            send(s.c, "enter", shown.opened + 0.1)
            await s.c.settle()
            assert "drain: _" in s.c.text
            assert s.scene.launched == []
            assert len(s.c.app.screen_stack) == 2

    run(check())


def test_a_lock_of_somebody_else_is_told_in_the_dialog(tmp_path: Path) -> None:
    """A second drain is refused with who, what and since when; the plan stays, and nothing is launched."""

    async def check() -> None:
        journal = open_journal(str(tmp_path / "journal.db"), clock=FakeClock(NOW))
        other = Run(
            "20261025-135800-aaaa", "node.drain", "Drain k3s-worker-3", "nodes/k3s-worker-3", {}, {}, "", 2, "", replace(ME, login="anna", user="anna"),
            RunSite(), NOW, ("site",),
        )  # fmt: skip
        journal.begin(other, AuditEntry(0, NOW, "confirmed", other.who, run=other.id))
        async with stage(tmp_path, scene=replace(drained(acts.go()), journal=journal)) as s:
            await opened(s)
            await s.hand(*"drain", "enter")
            await shows(s.c, "not started", "anna", "Drain k3s-worker-3")
            assert s.scene.launched == []
            assert isinstance(s.c.app.screen, PlanDialog)

    run(check())


# ------------------------------------------------------------ what cannot be confirmed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (acts.would_hang(), ("▲ WOULD HANG", "1 never", "production/redis-0 can never be evicted", "cannot be confirmed")),
        (acts.refused(), ("✗ REFUSED", "k3s-worker-2 is already down", "bring k3s-worker-2 back first")),
        (acts.not_evaluated(), ("○ NOT EVALUATED", "6 not evaluated", "needs list on", "cannot be confirmed")),
    ],
    ids=["hang", "refused", "not-evaluated"],
)
def test_a_blocked_plan_has_nothing_to_type(tmp_path: Path, plan: Plan, words: tuple[str, ...], size: tuple[int, int]) -> None:
    """Verdict, worst finding and why it cannot be confirmed are on the first page; there is no line to type in."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(plan), size=size) as s:
            await opened(s)
            for word in words:
                assert word in s.c.text, word
            assert "Type the verb" not in s.c.text
            await s.hand(*"drain")
            assert s.scene.launched == []
            assert "Close" in s.c.text

    run(check())


@pytest.mark.parametrize("size", SIZES)
def test_verdict_worst_finding_and_prompt_are_in_sight_and_the_rest_scrolls(tmp_path: Path, size: tuple[int, int]) -> None:
    """With a hundred pods and the plan scrolled to its end, verdict and prompt stay where they are, and the last lines can be read."""

    async def check() -> None:
        items = tuple(replace(acts.drain_items()[0], object=f"pods/cold-prod/web-{i:03}") for i in range(100))
        async with stage(tmp_path, scene=drained(acts.drain(acts.PRIMARY, items=items)), size=size) as s:
            await opened(s)
            assert "PRIMARY of cold-postgres" in s.c.text
            assert "more lines below: pgup pgdn" in s.c.text
            for _ in range(20):
                await s.hand("pagedown")
            assert "all other 4 nodes are Ready" in s.c.text
            assert "GO AFTER" in s.c.text
            assert "Type the verb drain: _" in s.c.text
            await s.hand("up", "pageup")
            assert "more lines below" in s.c.text

    run(check())


# ------------------------------------------------------------ rung 1


def test_y_answers_a_question_once(tmp_path: Path) -> None:
    """A visible act is a question with its address; `y` pressed by hand starts it."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await opened(s, "node.clean-disk")
            assert f"Clean disk of {NODE}?  y/N" in s.c.text
            assert f"node {NODE} · worker · Ready" in s.c.text
            await s.hand("y")
            await until(s.c, lambda: len(s.scene.launched) == 1)

    run(check())


@pytest.mark.parametrize("keys", [("n",), ("escape",), ("enter",)])
def test_all_else_is_no(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """n, esc and enter (the focus is on Cancel) leave all as it was."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await opened(s, "node.clean-disk")
            await s.hand(*keys)
            assert len(s.c.app.screen_stack) == 1
            assert s.scene.launched == []

    run(check())


def test_a_held_or_pasted_y_is_no_answer(tmp_path: Path) -> None:
    """`y` held down from before, `yes` that came as a paste of keys, and a real paste answer nothing."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await opened(s, "node.clean-disk")
            await held(s.c, "y")
            assert "y may be held down" in s.c.text
            acts._clock[0] += 5
            for i, key in enumerate("yes"):  # read from the terminal in one piece
                send(s.c, key, acts._clock[0] + i / 1000)
            await until(s.c, lambda: "y came together with other keys" in s.c.text)
            paste(s.c, "y")
            await s.c.settle()
            assert s.scene.launched == []

    run(check())


def test_the_button_with_the_verb_takes_a_fresh_enter_only(tmp_path: Path) -> None:
    """Tab to the verb and enter start it; an enter that may be held does not."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await opened(s, "node.clean-disk")
            await s.hand("tab")
            await held(s.c, "enter")
            assert "held down" in s.c.text
            assert s.scene.launched == []
            await s.hand("enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)

    run(check())


# ------------------------------------------------------------ rung 3


@pytest.fixture
def quick_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlanDialog, "hold_s", 0.05)


async def named(s: acts.Stage) -> PlanDialog:
    """Name and reason are typed."""
    shown = await opened(s, "node.remove")
    await s.hand(*NODE, "enter")
    assert "give a reason" in s.c.text
    await s.hand(*"broken")
    return shown


def test_rung_3_takes_name_reason_and_a_hold_in_which_all_is_read_again(tmp_path: Path, quick_hold: None) -> None:
    """The name alone asks for a reason; with it everything is read again, and only then the run is started, with the newer plan."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.remove": acts.destructive()})) as s:
            await named(s)
            assert [name for name, _ in s.scene.asked] == ["node.remove"]
            await s.hand("enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)
            assert [name for name, _ in s.scene.asked] == ["node.remove", "node.remove"]
            assert s.scene.launched[0].reason == "broken"

    run(check())


def test_what_got_worse_during_the_hold_stops_it(tmp_path: Path, quick_hold: None) -> None:
    """A new warning found in the hold is shown on top, nothing is started, and name and enter are asked for anew."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.remove": acts.destructive()})) as s:
            await named(s)
            down = Finding(
                "remove.other-down", Weight.STOP, "k3s-worker-2 does not report any more", "nodes/k3s-worker-2", "", Outlook.WOULD_LOSE
            )
            s.scene.plans["node.remove"] = acts.destructive(down)
            await s.hand("enter")
            await shows(s.c, "▲ worse: k3s-worker-2 does not report any more", "nothing was started")
            assert s.scene.launched == []
            assert f"Type the name {NODE}: _" in s.c.text

    run(check())


def test_esc_stops_the_hold(tmp_path: Path) -> None:
    """During the hold esc stops; nothing is started, and the plan is still there."""

    async def check() -> None:
        scene = Scene(plans={"node.remove": acts.destructive()})
        async with stage(tmp_path, scene=scene) as s:
            await named(s)
            scene.gate = asyncio.Event()
            await s.hand("enter")
            await shows(s.c, "◐ holding 3 s while everything is read again")
            await s.hand("escape")
            await shows(s.c, "stopped, nothing was started")
            scene.gate.set()
            await s.c.settle()
            assert s.scene.launched == []

    run(check())


def test_a_site_that_goes_away_during_the_hold_stops_it(tmp_path: Path, quick_hold: None) -> None:
    """What could be read before and cannot be read in the hold is no confirmation."""

    async def check() -> None:
        scene = Scene(plans={"node.remove": acts.destructive()})
        async with stage(tmp_path, scene=scene) as s:
            await named(s)
            scene.errors["node.remove"] = Unreachable("connection refused by 127.0.0.1:6443")
            await s.hand("enter")
            await shows(s.c, "could not be read again, nothing was started")
            assert s.scene.launched == []

    run(check())


def test_arming_that_ends_during_the_hold_stops_it(tmp_path: Path, quick_hold: None) -> None:
    """The arming expires while everything is read again: nothing is started."""

    async def check() -> None:
        scene = Scene(plans={"node.remove": acts.destructive()})
        async with stage(tmp_path, scene=scene) as s:
            await named(s)
            scene.gate = asyncio.Event()
            await s.hand("enter")
            await until(s.c, lambda: len(scene.asked) == 2)
            s.ticks += 15 * 60 + 1
            scene.gate.set()
            await shows(s.c, "nothing was started")
            assert s.scene.launched == []

    run(check())


def test_the_reason_may_be_pasted_but_its_newline_confirms_nothing(tmp_path: Path, quick_hold: None) -> None:
    """A link from a ticket may be the reason; a paste of keys with an enter at its end does not confirm."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.remove": acts.destructive()})) as s:
            await opened(s, "node.remove")
            await s.hand(*NODE, "enter")
            paste(s.c, "https://tickets/4711\n")
            await s.c.settle()
            assert plan_dialog(s.c).reason == "https://tickets/4711"
            await s.hand(*" now", "enter", gap=0.001)
            assert s.scene.asked[1:] == []
            assert s.scene.launched == []

    run(check())


# ------------------------------------------------------------ options


def test_options_are_changed_and_planned_with(tmp_path: Path) -> None:
    """ctrl-o shows every parameter with its default, grave ones apart; enter plans with what was chosen."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand("ctrl+o")
            assert isinstance(s.c.app.screen, FormDialog)
            assert "▲ These raise what must be confirmed" in s.c.text
            assert s.c.text.index("--on-trouble") < s.c.text.index("These raise") < s.c.text.index("--disable-eviction")
            await s.hand("tab", "backspace", "backspace", "backspace", "6", "0", "tab", "space", "tab", "tab", "right", "enter")
            await until(s.c, lambda: len(s.scene.asked) == 2)
            asked = s.scene.asked[1][1]
            assert asked == acts.DrainNode(NODE, timeout=60, delete_emptydir=False, on_trouble="skip")
            await shows(s.c, "Type the verb drain")

    run(check())


def test_a_value_that_cannot_be_is_told_and_esc_changes_nothing(tmp_path: Path) -> None:
    """A word where a number belongs is told in the form; esc leads back to the plan as it was."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand("ctrl+o", "x", "enter")
            assert "grace must be a whole number" in s.c.text
            await s.hand("escape")
            assert isinstance(s.c.app.screen, PlanDialog)
            assert len(s.scene.asked) == 1

    run(check())


# ------------------------------------------------------------ unknown hosts


def unknown_host() -> HostKeyUnknown:
    return HostKeyUnknown(
        "the host key of k3s-worker-1 (192.168.15.111:22) is not known", fingerprint="ED25519 SHA256:9fQx", line="w1 ssh-ed25519 A"
    )


def test_an_unknown_host_key_is_taken_only_by_typing_yes(tmp_path: Path) -> None:
    """The fingerprint and where to compare it are shown, the focus is on Cancel; `yes` typed by hand takes the key, and it is planned again."""

    async def check() -> None:
        scene = Scene(errors={"node.reboot": unknown_host()})
        async with stage(tmp_path, scene=scene) as s:
            trusted = s.c.site.trusted
            await s.arm()
            s.c.app.acting.ask("node.reboot", {"node": NODE})
            await until(s.c, lambda: isinstance(s.c.app.screen, HostKeyDialog))
            scene.errors.clear()
            assert "ED25519 SHA256:9fQx" in s.c.text
            assert "ssh_host_ed25519_key.pub" in s.c.text
            assert s.c.app.focused is not None
            assert s.c.app.focused.id == "cancel"
            paste(s.c, "yes\n")
            await s.hand("y", "enter")
            assert trusted == []
            await s.hand("e", "s", "enter")
            await until(s.c, lambda: trusted == ["w1 ssh-ed25519 A"])
            await shows(s.c, "● GO")
            assert scene.journal is not None
            assert [(e.what, e.outcome) for e in scene.journal.audit_entries()][1:] == [("host-key", "accepted ED25519 SHA256:9fQx of w1")]

    run(check())


def test_an_unknown_host_key_that_is_not_taken_ends_the_plan(tmp_path: Path) -> None:
    """esc leaves the host unknown and the plan unmade, with the reason."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(errors={"node.reboot": unknown_host()})) as s:
            await s.arm()
            s.c.app.acting.ask("node.reboot", {"node": NODE})
            await until(s.c, lambda: isinstance(s.c.app.screen, HostKeyDialog))
            await s.hand("escape")
            await shows(s.c, "CANNOT BE PLANNED", "is not known")

    run(check())


def test_a_plan_that_found_an_unknown_host_leads_to_its_key(tmp_path: Path) -> None:
    """The plan is refused as the host is not known; ctrl-k shows the key, and once it is taken the plan is made again."""

    async def check() -> None:
        unknown = Finding("host.key-unknown", Weight.STOP, f"host key of {NODE} is not known", f"nodes/{NODE}", "", Outlook.REFUSED)
        plan = replace(acts.simple("node.reboot", NODE, "Reboot node", Rung.DISRUPTIVE), findings=(unknown,), outlook=Outlook.REFUSED)
        async with stage(tmp_path, scene=Scene(plans={"node.reboot": plan})) as s:
            s.c.site.stranger = unknown_host()
            await opened(s, "node.reboot")
            assert "ctrl-k host key" in s.c.text
            await s.hand("ctrl+k")
            await until(s.c, lambda: isinstance(s.c.app.screen, HostKeyDialog))
            s.scene.plans.clear()
            await s.hand(*"yes", "enter")
            await shows(s.c, "● GO")
            assert s.c.site.trusted == ["w1 ssh-ed25519 A"]

    run(check())


def test_ctrl_c_in_a_plan_cancels_it_and_does_not_leave(tmp_path: Path) -> None:
    """ctrl-c closes the dialog; the console stays."""

    async def check() -> None:
        async with stage(tmp_path, scene=drained(acts.go())) as s:
            await opened(s)
            await s.hand("ctrl+c")
            assert len(s.c.app.screen_stack) == 1
            assert s.c.app.is_running

    run(check())


def test_rungs_by_the_plan(tmp_path: Path) -> None:
    """A plan that raises its rung is asked as gravely as it says: the name and a reason, where the operation alone asks for the verb."""

    async def check() -> None:
        plan = acts.drain(acts.PRIMARY, rung=Rung.DESTRUCTIVE)
        async with stage(tmp_path, scene=drained(plan)) as s:
            await opened(s)
            assert f"Type the name {NODE}: _" in s.c.text
            assert "Reason, for the audit:" in s.c.text

    run(check())


def test_a_name_as_long_as_names_get_can_be_typed(tmp_path: Path) -> None:
    """A name of 50 letters does not fit behind its own prompt: what is typed last is what is seen, and it confirms."""

    async def check() -> None:
        name = "node-" + "abcdefghij" * 4 + "-last"
        plan = replace(acts.destructive(), confirm=name)
        async with stage(tmp_path, scene=Scene(plans={"node.remove": plan})) as s:
            await opened(s, "node.remove")
            assert "Type the name: _" in s.c.text
            await s.hand(*name)
            assert "-last█  ✓ enter" in s.c.text

    run(check())


def test_keys_of_dialogs_can_be_chosen() -> None:
    """A user may remap the keys of a plan; a key that means two things there is told."""
    from coldtui.tui import keymap

    assert keymap.conflicts({"plan.options": "f2"}) == []
    assert any("ctrl+r means plan.options and plan.read-again" in said for said in keymap.conflicts({"plan.options": "ctrl+r"}))
