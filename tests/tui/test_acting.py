"""Acting from the console: menu, commands, palette, the row, undo, and what is told of runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.domain.errors import NotFound
from coldtui.domain.objects import Ref
from coldtui.domain.plans import Finding, Rung, Weight
from coldtui.domain.runboard import RunBoard
from coldtui.domain.runs import Run, RunState
from coldtui.domain.secret import Secret
from coldtui.domain.world import World
from coldtui.operations.catalogue import CATALOGUE
from coldtui.tui.dialogs.menu import RESERVED, Menu, keys_for
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.dialogs.secret import SecretDialog
from tests.tui import worlds
from tests.tui.acts import NODE, Scene, Stage, drain, go, paste, stage
from tests.tui.consoles import run
from tests.tui.screens.waiting import shows, until


def cordoned(world: World, name: str = NODE) -> World:
    others = [n for n in world.nodes.items.values() if n.name != name]
    return worlds.with_nodes(world, [*others, worlds.node(name, cordoned=True)])


def row(s: Stage, name: str = NODE) -> str:
    return next((line for line in s.c.lines() if line.startswith(f" {name}")), "")


def confirmed(s: Stage) -> list[str]:
    assert s.scene.journal is not None
    return [e.operation for e in s.scene.journal.audit_entries() if e.what == "confirmed"]


def test_read_only_the_menu_shows_what_cannot_be_done_and_why(tmp_path: Path) -> None:
    """`x` lists every act with why it is not to be had; cordon does nothing; a plan can be looked at; nothing is in the journal."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.hand("j", "x")
            assert isinstance(s.c.app.screen, Menu)
            assert "READ-ONLY A arms; plans can be looked at." in s.c.text
            assert "c cordon      not now" in s.c.text
            assert "d drain       plan only" in s.c.text
            await s.hand("c")
            await shows(s.c, "READ-ONLY: A arms")
            await s.hand("x", "d")
            await shows(s.c, "READ-ONLY this is the plan only")
            await s.hand(*"drain", "enter")
            assert s.scene.launched == s.scene.here == []
            assert confirmed(s) == []

    run(check())


def test_cordon_is_on_the_row_at_once_and_can_be_undone(tmp_path: Path) -> None:
    """The row says `cordon asked` before anything was answered; once the World shows it, it does not; ctrl-u uncordons."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(gate=asyncio.Event())) as s:
            assert s.scene.gate is not None
            await s.arm()
            await s.hand("j", "x", "c")
            await until(s.c, lambda: "cordon asked, Ready" in row(s), "the mark")
            assert s.scene.here == []
            s.scene.gate.set()
            await shows(s.c, f"cordoned {NODE} · ctrl-u undoes it (10 s)")
            assert "cordon asked" in row(s)
            await s.c.put(cordoned(s.c.site.live.world))
            assert "cordon asked" not in row(s)
            assert "SchedulingDisabled" in row(s)
            await s.hand("ctrl+u")
            await until(s.c, lambda: [r.operation for r in s.scene.here] == ["node.cordon", "node.uncordon"])
            await shows(s.c, f"undone: uncordoned {NODE}")
            assert confirmed(s) == ["node.cordon", "node.uncordon"]
            await s.hand("ctrl+u")
            assert len(s.scene.here) == 2

    run(check())


def test_undo_is_over_after_ten_seconds(tmp_path: Path) -> None:
    """Ten seconds later ctrl-u does nothing."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            await s.hand("j", "x", "c")
            await shows(s.c, "ctrl-u undoes it")
            await s.later(10.5)
            await s.hand("ctrl+u")
            assert [r.operation for r in s.scene.here] == ["node.cordon"]

    run(check())


def test_a_held_key_in_the_menu_does_not_act(tmp_path: Path) -> None:
    """`c` held down since before the menu opened repeats itself there; it cordons nothing."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            await s.hand("c", "x", "c", gap=0.04)
            await s.c.settle()
            await s.c.settle()
            assert s.scene.here == []
            assert isinstance(s.c.app.screen, Menu)
            assert "held down" in s.c.text

    run(check())


def test_a_cordon_that_fails_says_so_until_it_is_read(tmp_path: Path) -> None:
    """The mark goes away, and the reason stays in the last line."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(end=RunState.FAILED)) as s:
            await s.arm()
            await s.hand("j", "x", "c")
            await shows(s.c, "Cordon k3s-worker-1: failed: the API said no")
            await s.hand("j")
            assert "the API said no" in s.c.lines()[-1]
            assert "asked" not in row(s)

    run(check())


def test_a_mark_that_the_world_never_shows_goes_away(tmp_path: Path) -> None:
    """When somebody else uncordons before the World came, the row does not wait for ever."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            await s.hand("j", "x", "c")
            await until(s.c, lambda: "cordon asked" in row(s))
            await shows(s.c, "ctrl-u undoes it")
            await s.later(11)
            await s.c.put(s.c.site.live.world)
            assert "asked" not in row(s)

    run(check())


def test_production_asks_before_it_cordons(tmp_path: Path) -> None:
    """On a production site cordon is a question with the full address; `y` cordons."""

    async def check() -> None:
        world = worlds.healthy()
        world = replace(world, site=replace(world.site, production=True))
        async with stage(tmp_path, world=world, scene=Scene(production=True)) as s:
            await s.arm()
            await s.hand("j", "x", "c")
            await shows(s.c, "Cordon k3s-worker-1?  y/N", "PRODUCTION", "context cold")
            assert s.scene.here == []
            await s.hand("y")
            await until(s.c, lambda: len(s.scene.here) == 1)
            await shows(s.c, f"cordoned {NODE}")

    run(check())


def test_commands_are_made_from_the_catalogue(tmp_path: Path) -> None:
    """`:drain NODE` opens its plan, `:drain` alone takes the row under the cursor, names complete, two names are refused."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.c.press("colon", *"drain k3s-worker-2", "enter")
            await shows(s.c, "Drain k3s-worker-2")
            await s.hand("escape", "j", "j", "j")
            await s.c.press("colon", *"drain", "enter")
            await shows(s.c, "Drain k3s-worker-3")
            await s.hand("escape")
            await s.c.press("colon", *"uncord", "tab", "space", *"k3s-m", "tab")
            assert "uncordon k3s-master" in s.c.text
            await s.c.press("escape")
            await s.c.press("colon", *"drain a b", "enter")
            assert "one node at a time" in s.c.lines()[-1]
            await s.c.press("2", "colon", *"drian x", "enter")
            assert "did you mean :drain?" in s.c.lines()[-1]

    run(check())


def test_a_command_without_an_object_asks_which(tmp_path: Path) -> None:
    """On a screen without a node under the cursor `:reboot` says what is missing."""

    async def check() -> None:
        async with stage(tmp_path, start="status") as s:
            await s.c.press("colon", *"reboot", "enter")
            assert "which node? :reboot NODE" in s.c.lines()[-1]

    run(check())


def test_an_act_on_a_session_or_a_database_says_what_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`:cancel-query` asks for the pid, `:maintenance` for both of its words, and neither is offered for an instance."""

    async def check() -> None:
        async with stage(tmp_path, start="status") as s:
            acting = s.c.app.acting
            monkeypatch.setattr(type(acting), "desk", replace(acting.need_desk(), operations=CATALOGUE))
            await s.c.press("colon", *"cancel-query", "enter")
            assert "which pid? :cancel-query PID" in s.c.lines()[-1]
            await s.c.press("colon", *"maintenance vacuum", "enter")
            assert "which database? :maintenance KIND DATABASE" in s.c.lines()[-1]
            offered = [act.operation for act in acting.acts_on(Ref("pg_instances", "postgres-1", "database"))]
            assert "postgres.switchover" in offered
            assert not {"postgres.cancel-query", "postgres.terminate-session", "postgres.maintenance"} & set(offered)

    run(check())


def test_the_palette_offers_what_can_be_done_to_the_row(tmp_path: Path) -> None:
    """ctrl-p finds `Drain k3s-worker-1` by its words, says that it is read-only, and shows the plan."""

    async def check() -> None:
        async with stage(tmp_path, size=(120, 30)) as s:
            await s.c.press("j", "ctrl+p", *"drain worker-1")
            assert "Drain k3s-worker-1" in s.c.text
            assert "read-only: A arms" in s.c.text
            await s.c.press("enter")
            await shows(s.c, "READ-ONLY this is the plan only")

    run(check())


def test_on_a_node_the_acts_are_about_the_node(tmp_path: Path) -> None:
    """On the screen of a node `x` acts on the node, whatever pod the cursor is on; its card says what was asked."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(gate=asyncio.Event())) as s:
            await s.arm()
            await s.hand("j", "enter", "x")
            assert "What can be done to k3s-worker-1" in s.c.text
            await s.hand("c")
            await shows(s.c, "◐ cordon asked")

    run(check())


def test_an_unknown_node_is_told_with_the_nearest_and_tried_again(tmp_path: Path) -> None:
    """What cannot be planned stays on the screen with its remedy; ctrl-r tries again."""

    async def check() -> None:
        scene = Scene(errors={"node.drain": NotFound("no node k3s-workr-1", hint="did you mean k3s-worker-1?")})
        async with stage(tmp_path, scene=scene) as s:
            await s.c.press("colon", *"drain k3s-workr-1", "enter")
            await shows(s.c, "CANNOT BE PLANNED", "no node k3s-workr-1", "→ did you mean k3s-worker-1?")
            scene.errors.clear()
            await s.hand("ctrl+r")
            await shows(s.c, "● GO")

    run(check())


def test_a_marked_list_acts_on_one(tmp_path: Path) -> None:
    """Rows that are marked are not acted on together, and the menu says so."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.hand("space", "space", "x")
            assert "2 rows are marked: an act takes one, k3s-worker-2" in s.c.text

    run(check())


def test_letters_of_the_menu_are_free_and_stable() -> None:
    """Each verb gets its first free letter; none of them moves the cursor, closes, or means yes."""
    verbs = ["cordon", "uncordon", "drain", "reboot", "restart-k3s", "clean-disk"]
    found = keys_for(verbs)
    assert found == ["c", "u", "d", "r", "e", "l"]
    assert not set(found) & RESERVED


def test_the_end_of_a_run_is_told_wherever_one_is(tmp_path: Path) -> None:
    """A run that was started here and is refused by its own runner is told in the last line until it is read."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.drain": go()})) as s:
            await s.arm()
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "Type the verb drain")
            await s.hand(*"drain", "enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)
            await until(s.c, lambda: not isinstance(s.c.app.screen, PlanDialog))
            begun = s.scene.launched[0]
            ended = replace(begun, state=RunState.REFUSED, outcome="k3s-worker-2 is down now", ended=s.c.moment)
            await s.c.put(replace(s.c.site.live.world, runs=RunBoard((ended,), s.c.moment)))
            await shows(s.c, f"Drain {NODE}: refused: k3s-worker-2 is down now")
            assert s.c.app.acting.last_words() == ""

    run(check())


def test_after_leaving_it_is_said_that_runs_go_on(tmp_path: Path) -> None:
    """Leaving asks nothing; the last words count the runs of this console that go on."""

    async def check() -> None:
        async with stage(tmp_path, scene=Scene(plans={"node.drain": go()})) as s:
            await s.arm()
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "Type the verb drain")
            await s.hand(*"drain", "enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)
            await until(s.c, lambda: bool(s.c.app.acting.started))
            assert s.c.app.acting.last_words() == "1 run goes on: coldtui run list"

    run(check())


def test_a_password_is_asked_for_without_echo_and_handed_to_the_run(tmp_path: Path) -> None:
    """A plan that needs a secret asks for it once it is confirmed: neither its letters nor their number are shown, a paste is taken."""

    async def check() -> None:
        need = Finding("needs-secret.sudo", Weight.NOTE, f"sudo on {NODE} asks for a password", f"secrets/sudo/{NODE}")
        async with stage(tmp_path, scene=Scene(plans={"node.drain": drain(need)})) as s:
            await s.arm()
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "Type the verb drain")
            await s.hand(*"drain", "enter")
            await until(s.c, lambda: isinstance(s.c.app.screen, SecretDialog))
            assert s.scene.launched == []
            before = s.c.text
            await s.hand(*"hunter")
            assert "hunter" not in s.c.text
            one = s.c.text
            paste(s.c, "two\n")
            await s.c.settle()
            assert s.c.text == one != before
            await s.hand("enter")
            await until(s.c, lambda: len(s.scene.launched) == 1)
            assert s.scene.secrets == [{f"sudo/{NODE}": Secret("huntertwo")}]

    run(check())


def test_without_the_password_nothing_is_started(tmp_path: Path) -> None:
    """esc at the password leads back to the plan, which says that nothing was started."""

    async def check() -> None:
        need = Finding("needs-secret.sudo", Weight.NOTE, f"sudo on {NODE} asks for a password", f"secrets/sudo/{NODE}")
        async with stage(tmp_path, scene=Scene(plans={"node.drain": drain(need)})) as s:
            await s.arm()
            s.c.app.acting.ask("node.drain", {"node": NODE})
            await shows(s.c, "Type the verb drain")
            await s.hand(*"drain", "enter")
            await until(s.c, lambda: isinstance(s.c.app.screen, SecretDialog))
            await s.hand("escape")
            await shows(s.c, "nothing was started: a password was asked for and not given")
            assert s.scene.launched == []

    run(check())


def test_nothing_to_do_is_said_and_not_journalled(tmp_path: Path) -> None:
    """Cordoning what is cordoned says so, and starts nothing."""

    async def check() -> None:
        from tests.tui.acts import simple

        plan = replace(simple("node.cordon", NODE, "Cordon node", Rung.SMALL), steps=(), done=f"{NODE} is cordoned already")
        async with stage(tmp_path, scene=Scene(plans={"node.cordon": plan})) as s:
            await s.arm()
            await s.hand("j", "x", "c")
            await shows(s.c, f"{NODE} is cordoned already")
            assert s.scene.here == []

    run(check())


def test_an_act_that_is_not_recorded_says_so(tmp_path: Path) -> None:
    """Where the journal could not be written a cordon is done all the same, and that it is not recorded stays until it is read."""

    async def check() -> None:
        async with stage(tmp_path) as s:
            await s.arm()
            real = s.scene.run_here

            async def unrecorded(run: Run) -> Run:
                return replace(await real(run), outcome="done; not recorded: the disk is full")

            s.c.site.desk = replace(s.scene.desk(), run_here=unrecorded)
            await s.hand("j", "x", "c")
            await shows(s.c, "not recorded: the disk is full")
            await s.hand("j")
            assert "ctrl-u undoes it" in s.c.lines()[-1]

    run(check())
