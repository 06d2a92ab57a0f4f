"""Pictures of everything that acts, at both designed sizes, and of each dialog in sixteen colours and without any."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot

from coldtui.domain.errors import HostKeyUnknown, JournalTrouble, NotFound
from coldtui.domain.objects import Ref
from coldtui.domain.plans import Finding, Outlook, Plan, Rung, Weight
from coldtui.tui.acting import Asked
from coldtui.tui.app import ColdApp
from coldtui.tui.arming import ARMED_FOR
from coldtui.tui.dialogs.form import FormDialog
from coldtui.tui.dialogs.hostkey import HostKeyDialog
from coldtui.tui.dialogs.menu import Menu
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.dialogs.planwords import Stage
from coldtui.tui.dialogs.secret import SecretDialog
from coldtui.tui.site import Options
from tests.operations.postgres import failover_scene as emergency
from tests.operations.postgres.failover_scene import plan_of as failover_plan
from tests.tui import acts, worlds
from tests.tui.acts import NODE, Scene
from tests.tui.consoles import FixedLive, FixedSite
from tests.tui.worlds import NOW

Compare = Callable[..., bool]
Before = Callable[[Pilot[int]], Awaitable[None]]
SIZES = [(80, 24), (120, 40)]


def app_over(scene: Scene, theme: str = "cold") -> ColdApp:
    options = Options(theme=theme, start="nodes", read_only=False, now=lambda: NOW, monotonic=lambda: 100.0)
    return ColdApp(FixedSite(FixedLive(worlds.healthy()), None, scene.desk()), options)


async def until(pilot: Pilot[int], test: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not test():
        assert time.monotonic() < end, "never came"
        await pilot.pause(0.01)
    await pilot.pause()


def cold(pilot: Pilot[int]) -> ColdApp:
    assert isinstance(pilot.app, ColdApp)
    return pilot.app


def arm(app: ColdApp) -> None:
    """8 s after it was armed, without a journal."""
    left = ARMED_FOR - timedelta(seconds=8)
    app.acting.arming._until = (100.0 + left.total_seconds(), NOW + left)
    app.arming_changed()


async def planned(pilot: Pilot[int], operation: str = "node.drain", typed: str = "", *, armed: bool = True) -> PlanDialog:
    app = cold(pilot)
    if armed:
        arm(app)
    app.acting.ask(operation, {"node": NODE})
    await until(pilot, lambda: isinstance(app.screen, PlanDialog) and app.screen.stage in {Stage.SHOWN, Stage.FAILED})
    found = app.screen
    assert isinstance(found, PlanDialog)
    if typed:
        at = time.monotonic() + 5
        for i, letter in enumerate(typed):
            from textual import events

            event = events.Key({"-": "minus"}.get(letter, letter), letter)
            event.time = at + i / 5
            event.set_sender(app)
            assert app._driver is not None
            app._driver.send_message(event)
            await pilot.pause()
    return found


WORSE = Finding(
    "remove.other-down",
    Weight.STOP,
    "k3s-worker-2 does not report any more",
    "nodes/k3s-worker-2",
    "bring it back first",
    Outlook.WOULD_LOSE,
)
SECRET = Finding("needs-secret.sudo", Weight.NOTE, f"sudo on {NODE} asks for a password", f"secrets/sudo/{NODE}")
HOST = HostKeyUnknown(
    f"host key of {NODE} is not known",
    fingerprint="ED25519 SHA256:9fQx2Zk0uV7o1sYb4mC8dEwRtLh3nPq6jKaGiBvXyUc",
    line="192.168.15.111 ssh-ed25519 A",
)


def plan_of(plan: Plan, typed: str = "", operation: str = "node.drain", *, armed: bool = True) -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        await planned(pilot, operation, typed, armed=armed)

    return Scene(plans={operation: plan}), before


def failed(error: Exception) -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        await planned(pilot)

    return Scene(errors={"node.drain": error}), before


def shown(show: Callable[[ColdApp], Any], *, armed: bool = True) -> tuple[Scene, Before]:
    """A dialog by itself."""

    async def before(pilot: Pilot[int]) -> None:
        app = cold(pilot)
        if armed:
            arm(app)
        show(app)
        await pilot.pause()
        await pilot.pause()

    return Scene(), before


def holding() -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        dialog = await planned(pilot, "node.remove", NODE)
        dialog._begin(Stage.HOLDING)
        await pilot.pause()

    return Scene(plans={"node.remove": acts.destructive()}), before


def worse() -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        dialog = await planned(pilot, "node.remove")
        dialog.changes = ("k3s-worker-2 does not report any more",)
        dialog._back("stopped: it got worse while it was held, nothing was started")
        await pilot.pause()

    return Scene(plans={"node.remove": acts.destructive(WORSE)}), before


def not_started() -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        dialog = await planned(pilot)
        error = JournalTrouble(
            "the journal cannot be written: the disk is full", detail="/var/lib/coldtui/journal.db", hint="free 10 MB there"
        )
        dialog._back("not started", error=error)
        await pilot.pause()

    return Scene(plans={"node.drain": acts.go()}), before


def reading() -> tuple[Scene, Before]:
    async def before(pilot: Pilot[int]) -> None:
        app = cold(pilot)
        app.acting.ask("node.drain", {"node": NODE})
        await until(pilot, lambda: isinstance(app.screen, PlanDialog))
        found = app.screen
        assert isinstance(found, PlanDialog)
        found._since = 97.0
        found.show()
        await pilot.pause()

    return Scene(gate=asyncio.Event()), before


def asked() -> tuple[Scene, Before]:
    """The list right after a cordon was asked for, with the notice of the undo."""

    async def before(pilot: Pilot[int]) -> None:
        app = cold(pilot)
        arm(app)
        app.acting.asked[f"nodes/{NODE}"] = Asked("node.cordon", "cordon asked")
        app.publish(force=True)
        app.say(f"cordoned {NODE} · ctrl-u undoes it (10 s)", sticky=True)
        await pilot.pause()

    return Scene(), before


def menu(app: ColdApp) -> None:
    app.push_screen(Menu(app.acting, Ref("nodes", NODE)))


def form(app: ColdApp) -> None:
    app.push_screen(FormDialog(app.acting.need_desk().find("node.drain"), {"node": NODE}, f"Drain {NODE}"))


DIALOGS: Mapping[str, Callable[[], tuple[Scene, Before]]] = {
    "go": lambda: plan_of(acts.go(), "dra"),
    "go-after": lambda: plan_of(acts.go_after()),
    "would-hang": lambda: plan_of(acts.would_hang()),
    "refused": lambda: plan_of(acts.refused()),
    "not-evaluated": lambda: plan_of(acts.not_evaluated()),
    "read-only": lambda: plan_of(acts.go_after(), armed=False),
    "rung-1": lambda: plan_of(acts.simple("node.clean-disk", NODE, "Clean disk of node", Rung.VISIBLE), operation="node.clean-disk"),
    "rung-3": lambda: plan_of(acts.destructive(), "k3s-Work", "node.remove"),
    "failover": lambda: plan_of(failover_plan(emergency.killed(), primary_lsn="5/A0500000"), "", "node.remove"),
    "failover-wedged": lambda: plan_of(failover_plan(emergency.wedged()), "", "node.remove"),
    "hold": holding,
    "worse": worse,
    "not-started": not_started,
    "reading": reading,
    "unknown": lambda: failed(NotFound("no node k3s-workr-1", detail="the cluster has 5 nodes", hint="did you mean k3s-worker-1?")),
    "menu": lambda: shown(menu),
    "menu-read-only": lambda: shown(menu, armed=False),
    "form": lambda: shown(form),
    "arm": lambda: shown(lambda app: app.acting.arming.toggle(), armed=False),
    "secret": lambda: shown(lambda app: app.push_screen(SecretDialog(f"sudo/{NODE}", SECRET, acts.go()))),
    "host-key": lambda: shown(lambda app: app.push_screen(HostKeyDialog(HOST))),
    "armed": asked,
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("what", DIALOGS)
def test_act_picture(snap_compare: Compare, what: str, size: tuple[int, int]) -> None:
    """What acts looks as it did."""
    scene, before = DIALOGS[what]()
    assert snap_compare(app_over(scene), terminal_size=size, run_before=before)


@pytest.mark.parametrize("what", DIALOGS)
def test_act_in_sixteen_colours(snap_compare: Compare, what: str) -> None:
    """Each dialog with the terminal's own colours."""
    scene, before = DIALOGS[what]()
    assert snap_compare(app_over(scene, "ansi"), terminal_size=(80, 24), run_before=before)


@pytest.mark.parametrize("what", DIALOGS)
def test_act_without_colours(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Under NO_COLOR words, glyphs, bold and reverse say what colours said."""
    monkeypatch.setenv("NO_COLOR", "1")
    scene, before = DIALOGS[what]()
    assert snap_compare(app_over(scene), terminal_size=(80, 24), run_before=before)
