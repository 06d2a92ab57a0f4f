"""Looking never changes anything: every key, offer and command of the console and the command line, before a relay that sees all.

The counterpart proves that the relay would see it: the same console, armed and confirmed, does change the site.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.keys import key_to_character
from textual.pilot import Pilot
from textual.widgets import Button, Input

from coldtui.cli.catalogue import COMMANDS
from coldtui.cli.run import main
from coldtui.config.load import load
from coldtui.operations.catalogue import OPERATIONS
from coldtui.tui import hand as keys_of
from coldtui.tui.app import ColdApp
from coldtui.tui.commands import catalogue
from coldtui.tui.dialogs import base
from coldtui.tui.dialogs.base import Fresh
from coldtui.tui.dialogs.help import offers
from coldtui.tui.dialogs.menu import Menu
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.dialogs.planwords import Stage
from coldtui.tui.screens import SCREENS
from coldtui.tui.site import Options
from coldtui.wiring import open_site
from tests.tui import harness
from tests.whole.ground import Embedded, environment
from tests.whole.recorder import Recorder

harness.install()

NODE = "k3s-worker-2"
ARM = frozenset({"arm"})
LEAVES = frozenset({"interrupt", "quit", "help_quit", "suspend_process", "command_palette"})
"""Actions that end the console, or stop the process of the tests."""
LOCAL = frozenset({"palette", "command"})
"""Actions whose contents are driven one by one."""
WAIT_S = 15.0
INSTANT_S = 0.001
STEPS = 8
"""More layers than can lie over a screen."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    made = Embedded(tmp_path_factory.mktemp("gate"))
    yield made
    made.stop()


@pytest.fixture
def recorder(ground: Embedded, tmp_path: Path) -> Iterator[Recorder]:
    with Recorder(ground.kubeconfig, tmp_path / "recorder") as found:
        yield found


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys count however quickly they come: what guards against a paste or a held key must not be what keeps the site unchanged here."""
    for module, name in ((base, "SETTLE_S"), (base, "BURST_S"), (keys_of, "HELD_S"), (keys_of, "BURST_S"), (keys_of, "LETTER_S")):
        monkeypatch.setattr(module, name, INSTANT_S)
    monkeypatch.chdir(tmp_path)  # some keys save a file


@dataclass
class Hand:
    """A person at the console, who tries everything."""

    app: ColdApp
    pilot: Pilot[int]
    skip: frozenset[str]
    """Actions that are left alone."""
    met: set[str] = field(default_factory=set)
    """Names of the screens and dialogs that came up."""
    pressed: int = 0
    insisted: set[str] = field(default_factory=set)
    """Dialogs that were answered, by what they ask."""

    async def settle(self) -> None:
        """Until all that was typed has been taken, and what it led to was handled. (Textual's own wait looks for an idle processor, and Live's
        threads never leave it idle.)"""
        await self.pilot._wait_for_screen()
        await self.until(lambda: not self.app._typed and not self.app._typing, "the keys are taken")
        await self.pilot._wait_for_screen()
        await self.until(self.app._takes_keys, "the screen takes keys")
        if isinstance(self.app.screen, Fresh):
            await asyncio.sleep(2 * INSTANT_S)
        self.met.add(type(self.app.screen).__name__)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        end = asyncio.get_running_loop().time() + WAIT_S
        while not condition():
            assert asyncio.get_running_loop().time() < end, f"never: {what}\n{self.text}"
            await asyncio.sleep(0.005)

    @property
    def typing(self) -> bool:
        """A line for text has the focus."""
        return any(line.has_focus for line in self.app.screen.query(Input))

    @property
    def text(self) -> str:
        screen = self.app.screen
        return "\n".join(strip.text.rstrip() for strip in screen._compositor.render_strips(screen.size))

    async def press(self, *keys: str) -> None:
        driver = self.app._driver
        assert driver is not None
        for key in keys:
            self.pressed += 1
            event = events.Key(key, key_to_character(key))
            event.set_sender(self.app)
            driver.send_message(event)
            await self.settle()

    async def insist(self) -> None:
        """Say yes to whatever asks, in every way in which it could be said; once to the same question."""
        for _ in range(STEPS):
            dialog = self.app.screen
            if not isinstance(dialog, Fresh) or isinstance(dialog, Menu):
                return
            self.met.add(type(dialog).__name__)
            words, asked = [NODE], f"{type(dialog).__name__} {getattr(dialog, '_title', '')}"
            if isinstance(dialog, PlanDialog):
                await self.until(lambda d=dialog: d.stage is not Stage.READING, "the plan is there")  # type: ignore[misc]
                words, asked = [*dialog.operation.name.split("."), NODE], f"plan of {dialog.operation.name}"
            if asked in self.insisted:
                return
            self.insisted.add(asked)
            await self.press("y", "enter")
            for word in words:
                await self.press(*word, "enter")
            for button in list(dialog.query(Button)):
                if dialog.is_current and button.id != "cancel":
                    button.focus()
                    await self.press("enter")
            if self.app.screen is dialog:
                return

    async def back(self, id: str) -> None:
        """To a screen, with nothing over it."""
        for _ in range(STEPS):
            if not self.typing and len(self.app.screen_stack) == 1 and self.app.current_mode == id:
                return
            if self.typing or len(self.app.screen_stack) > 1:
                await self.press("escape")
            else:
                self.app.go(id)
                await self.settle()
        self.app.go(id)
        await self.settle()

    async def keys(self, id: str, *more: str) -> None:
        """Every live key of a screen (reached from there by `more`), each from there."""
        await self.reach(id, more)
        here = self.app.screen
        found = {key: active.binding.action for key, active in self.app.screen.active_bindings.items() if active.enabled}
        for key, action in found.items():
            if key == "ctrl+c" or action.partition("(")[0].rpartition(".")[2] in LEAVES | LOCAL | self.skip:
                continue
            await self.press(key)
            await self.insist()
            if self.app.screen is not here or self.typing:
                await self.reach(id, more)
                here = self.app.screen

    async def reach(self, id: str, more: tuple[str, ...]) -> None:
        await self.back(id)
        for key in more:
            await self.press(key)

    async def offers(self, id: str) -> None:
        """Every line of the palette."""
        await self.back(id)
        for number, offer in enumerate(offers(self.app)):
            if offer.keys or offer.name.startswith(":"):
                continue  # keys were pressed already, and commands are another test
            again = offers(self.app)[number]
            assert again.name == offer.name
            again.run()
            await self.settle()
            await self.insist()
            await self.back(id)


@asynccontextmanager
async def console(recorder: Recorder, home: Path, *arguments: str, skip: frozenset[str] = ARM, **settings: Any) -> AsyncIterator[Hand]:
    """The console as a person starts it, with the first lists there."""
    environ = environment(home, COLDTUI_STATE=str(home / "state"))
    config = load({"kube.kubeconfig": str(recorder.kubeconfig), **settings}, environ)
    site = open_site(config, environ)
    app = ColdApp(site, Options(read_only=config.read_only, state_dir=home, begin=site.live.start))
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            hand = Hand(app, pilot, skip)
            await hand.until(
                lambda: app.world is not None and NODE in app.world.nodes.items and bool(app.world.pods.items), "the first lists"
            )
            yield hand
            failures = list(app.failures)
    finally:
        await site.live.close()
        if site.desk is not None:
            await site.desk.closing()
    assert failures == []


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


DEEPER = (("nodes", "enter"), ("nodes", "d"), ("nodes", "x"), ("pods", "enter"), ("pods", "l"), ("deployments", "enter"))
"""What is reached from a screen by a key, and has keys of its own."""


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize("screen", [entry.id for entry in SCREENS])
def test_no_key_and_no_offer_of_a_screen_changes_anything(recorder: Recorder, tmp_path: Path, screen: str) -> None:
    """In a console that is not armed every key and every line of the palette is tried, and every question answered with yes."""

    async def drive() -> None:
        async with console(recorder, tmp_path, production=True) as hand:
            await hand.keys(screen)
            for id, key in DEEPER:
                if id == screen:
                    await hand.keys(screen, key)
            await hand.offers(screen)
            assert hand.pressed > 15
            if screen == "nodes":
                assert {"Menu", "PlanDialog", "Palette"} - {"Palette"} <= hand.met, hand.met

    run(drive())
    assert [str(request) for request in recorder.mutating()] == []
    assert len(recorder.requests) > 20, "the relay saw the console read"


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize("read_only", [False, True])
def test_no_command_changes_anything(recorder: Recorder, tmp_path: Path, read_only: bool) -> None:
    """Every command after `:`, with and without a node; in a console started with --read-only not even arming helps."""
    skip: frozenset[str] = frozenset() if read_only else ARM

    async def drive() -> None:
        async with console(recorder, tmp_path, skip=skip, production=True, read_only=read_only) as hand:
            for command in catalogue(hand.app):
                if command.name in {"quit", "suspend"}:
                    continue
                for line in (command.name, f"{command.name} {NODE}"):
                    await hand.back("nodes")
                    if read_only:
                        await hand.press("A")
                        await hand.insist()
                        await hand.back("nodes")
                    hand.app.run_command(line)
                    await hand.settle()
                    await hand.insist()
            assert not hand.app.acting.armed
            assert "PlanDialog" in hand.met

    run(drive())
    assert [str(request) for request in recorder.mutating()] == []


@pytest.mark.usefixtures("careless")
def test_the_relay_sees_what_an_armed_console_confirms(recorder: Recorder, tmp_path: Path, ground: Embedded) -> None:
    """Armed, a plan that is looked at and cancelled changes nothing; a cordon that is asked for is one patch, and its undo another."""

    def cordons() -> list[Any]:
        return [request.json["spec"]["unschedulable"] for request in recorder.matching("PATCH", f"/nodes/{NODE}")]

    async def drive() -> None:
        async with console(recorder, tmp_path) as hand:
            await hand.back("nodes")
            await hand.press("A")
            await hand.press("y")
            await hand.until(lambda: hand.app.acting.armed, "it is armed")
            assert recorder.mutating() == []
            hand.app.run_command(f"cordon {NODE}")
            await hand.until(lambda: cordons() == [True], "the node is cordoned")
            await hand.until(lambda: hand.app.acting.can_undo, "undo is offered")
            await hand.press("ctrl+u")
            await hand.until(lambda: len(cordons()) == 2, "it is undone")
            await hand.until(lambda: not hand.app.acting.asked, "the World shows it")

    run(drive())
    assert not cordons()[1]
    assert not ground.get(f"/api/v1/nodes/{NODE}")["spec"].get("unschedulable")


def test_no_listing_and_no_plan_changes_anything(
    recorder: Recorder, tmp_path: Path, ground: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that only shows, every operation that is only planned, and every one under --read-only, sends nothing that could change the site."""
    environ, where = environment(tmp_path, COLDTUI_STATE=str(tmp_path / "state")), ["--kubeconfig", str(recorder.kubeconfig)]
    acting = {"run", *(operation.name.partition(".")[0] for operation in OPERATIONS)}
    for name in set(COMMANDS) - {"demo", "logs"} - acting:
        main([*where, name], environ)
    pod = ground.get("/api/v1/pods?limit=1")["items"][0]["metadata"]
    main([*where, "logs", f"{pod['namespace']}/{pod['name']}", "--tail", "5"], environ)
    assert len(recorder.requests) > 20
    for entry in OPERATIONS:
        noun, _, verb = entry.name.partition(".")
        for more in (["--plan"], ["--plan", "--json"]):
            main([*where, noun, verb, NODE, *more], environ)
        main([*where, "--read-only", noun, verb, NODE, "--yes", NODE, "--reason", "a test"], environ)
    assert "Traceback" not in capsys.readouterr().err
    assert [str(request) for request in recorder.mutating()] == []
