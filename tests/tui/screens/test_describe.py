"""Describe and YAML: read once with a deadline, aged, and honest about what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot

from coldtui.domain.errors import ColdError, Forbidden, NotFound, Unreachable
from coldtui.domain.kinds import KINDS
from coldtui.domain.objects import Ref
from coldtui.tui.app import ColdApp
from coldtui.tui.screens.describe import DescribeScreen
from coldtui.tui.widgets.textview import TextView
from tests.tui import worlds
from tests.tui.consoles import Console, console, run, snapshot_app
from tests.tui.screens import sites
from tests.tui.screens.kubes import LogKube
from tests.tui.screens.waiting import shows, until
from tests.tui.worlds import NOW

REF = Ref("pods", "customer-portal-5c4b-2k8", "cold-prod")
OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": REF.name,
        "namespace": REF.namespace,
        "labels": {"app": "customer-portal"},
        "creationTimestamp": "2026-10-21T14:02:10Z",
    },
    "spec": {
        "nodeName": "k3s-worker-4",
        "containers": [{"name": "portal", "image": "registry.local/portal:v2.1.0", "env": [{"name": "PASSWORD", "value": "hunter2"}]}],
    },
    "status": {"phase": "Running", "podIP": "10.42.1.7"},
}


def api(**changes: Any) -> LogKube:
    kube = LogKube()
    kube.whole = {**OBJECT, **changes}
    world = sites.troubled()
    kube.put("events", *world.events.items.values())
    return kube


async def open_it(c: Console, *, yaml: bool = False, ref: Ref = REF) -> DescribeScreen:
    screen = DescribeScreen(ref, yaml=yaml)
    c.app.push_screen(screen)
    await until(c, lambda: c.app.screen is screen, "the screen")
    return screen


def text(c: Console) -> str:
    return "\n".join(c.app.screen.query_one(TextView).text)


def test_object_with_its_events_and_the_time_of_reading() -> None:
    """What the API gives is described with its events; the time of reading is shown and ages."""

    async def check() -> None:
        async with console(worlds.healthy(), kube=api()) as c:
            await open_it(c)
            await shows(c, "Pod cold-prod/customer-portal-5c4b-2k8", "read 14:02:10Z, 0s ago · not followed: ctrl-r reads again")
            await until(c, lambda: "BackOff" in text(c), "events")
            assert "hunter2" not in text(c)
            await c.at(NOW + timedelta(minutes=3))
            assert "read 14:02:10Z, 3m ago" in c.text

    run(check())


def test_yaml_and_back_without_reading_again() -> None:
    """y shows the same reading as YAML, d describes it again; the API is asked once."""

    async def check() -> None:
        kube = api()
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c)
            await until(c, lambda: "BackOff" in text(c), "events")
            await c.press("y")
            await until(c, lambda: "nodeName: k3s-worker-4" in text(c), "YAML")
            assert "· YAML" in c.text
            await c.press("d")
            await until(c, lambda: "Node:" in text(c), "description")
            assert kube.count("fetch") == 1

    run(check())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound("pods cold-prod/x not found"), ("not found", "deleted or replaced")),
        (Forbidden("needs get on pods", hint="ask for the role"), ("needs get on pods", "ask for the role", "may not read it")),
        (Unreachable("connection refused", detail="127.0.0.1:6443"), ("connection refused", "127.0.0.1:6443", "ctrl-r tries again")),
        (RuntimeError("boom"), ("fault of this program: RuntimeError",)),
    ],
)
def test_why_it_could_not_be_read(error: Exception, words: tuple[str, ...]) -> None:
    """Every failure is said in words in place of the object, and the console goes on."""

    async def check() -> None:
        kube = api()
        kube.fail("fetch", lambda: error, times=None)
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c)
            await shows(c, *words)
            if not isinstance(error, ColdError):
                c.app.failures.clear()  # shown and logged, as it must be
            kube.heal()
            await c.press("ctrl+r")
            await until(c, lambda: "Node:" in text(c), "the object after all")
            assert "not read" not in c.text

    run(check())


def test_not_connected_is_said() -> None:
    """While there is no client, the screen says so and does not fail."""

    async def check() -> None:
        async with console(worlds.loading()) as c:
            await open_it(c)
            await shows(c, "not connected to the API yet", "ctrl-r tries again")

    run(check())


def test_old_reading_stays_when_the_next_fails() -> None:
    """After a failed reading the object stays, said to be old, with the reason."""

    async def check() -> None:
        kube = api()
        async with console(worlds.healthy(), size=(120, 24), kube=kube) as c:
            await open_it(c)
            await until(c, lambda: "BackOff" in text(c), "events")
            kube.kill()
            await c.at(NOW + timedelta(minutes=2))
            await c.press("ctrl+r")
            await shows(c, "not read again: connection refused · shown as read 14:02:10Z, 2m ago", "customer-portal")

    run(check())


def test_events_that_cannot_be_read_are_not_none() -> None:
    """Without a permission for events the object is shown, and its events are said to be unread."""

    async def check() -> None:
        kube = api()
        kube.fail("events", lambda: Forbidden("needs list on events"), times=None)
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c)
            await until(c, lambda: "not read: needs list on events" in text(c), "the reason")
            assert "<none>" not in text(c).rpartition("Events")[2]

    run(check())


def test_silence_counts_seconds_and_keys_work() -> None:
    """While the API hangs, the screen says that it reads, y and esc work at once."""

    async def check() -> None:
        kube = api()
        kube.pause()
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c)
            await shows(c, "◐ reading …")
            await c.at(NOW + timedelta(seconds=4))
            assert "reading for 4 s" in c.text
            await c.press("y")
            assert c.app.screen.query_one(TextView)
            await c.press("escape")
            assert not isinstance(c.app.screen, DescribeScreen)

    run(check())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_described(kind: str) -> None:
    """Each kind that the console reads, custom resources too, is fetched by its own path and shown."""

    async def check() -> None:
        kube = LogKube()
        kube.whole = {"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "n"}, "spec": {"deep": {"list": [1, {"a": "b"}]}}}
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c, ref=Ref(kind, "n", "ns" if KINDS[kind].namespaced else ""))
            await until(c, lambda: "deep" in text(c), kind)
            assert ("fetch", "nodes" if kind == "node_stats" else kind) in kube.calls

    run(check())


@pytest.mark.parametrize("name", worlds.HOSTILE)
def test_hostile_names(name: str) -> None:
    """A name with markup or of 253 characters is text in the title and in the body."""

    async def check() -> None:
        kube = api(metadata={"name": name, "namespace": "x", "annotations": {name: name}})
        async with console(worlds.healthy(), kube=kube) as c:
            await open_it(c, ref=replace(REF, name=name))
            await until(c, lambda: name in text(c) or name[:60] in text(c), name)
            assert len(c.lines()) == 24
            assert c.app.is_running

    run(check())


def _prepare(words: str, *, yaml: bool) -> Callable[[Pilot[int]], Any]:
    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ColdApp)
        c = Console(app, pilot, app.site)  # type: ignore[arg-type]  # the fixed site
        screen = await open_it(c, yaml=yaml)
        await shows(c, words)
        await until(c, lambda: screen.read_at is None or screen.events is not None, "the events")
        await shows(c, "read 14:02:10Z" if screen.read_at else "not read")

    return prepare


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("state", ["described", "yaml", "forbidden", "not connected"])
def test_describe_picture(snap_compare: object, size: tuple[int, int], state: str) -> None:
    """How an object looks described, as YAML, forbidden, and while there is no client."""
    kube: LogKube | None = api()
    words = {
        "described": "Restart",
        "yaml": "phase: Running",
        "forbidden": "ask for the role",
        "not connected": "not connected to the API yet",
    }
    if state == "forbidden":
        assert kube is not None
        kube.fail("fetch", lambda: Forbidden("needs get on pods", hint="ask for the role coldtui-reader"), times=None)
    if state == "not connected":
        kube = None
    wanted = "Containers" if state == "described" else words[state]
    app = snapshot_app(sites.troubled(), start="pods", kube=kube)
    assert snap_compare(app, terminal_size=size, run_before=_prepare(wanted, yaml=state == "yaml"))  # type: ignore[operator]
