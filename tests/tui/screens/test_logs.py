"""The log of a container: it flows, breaks, goes on without doubles, and is closed when it is left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from textual.pilot import Pilot

from coldtui.domain.errors import Forbidden, NotFound
from coldtui.domain.objects import Ref
from coldtui.domain.world import World
from coldtui.ports import LogLine
from coldtui.tui.app import ColdApp
from coldtui.tui.screens.logs import ContainerList, LogsScreen, Seen
from coldtui.tui.screens.pods import worth_looking_at
from coldtui.tui.widgets.logview import LogView
from tests.tui import worlds
from tests.tui.consoles import Console, console, run, snapshot_app
from tests.tui.screens import sites
from tests.tui.screens.kubes import LogKube
from tests.tui.screens.waiting import shows, until
from tests.tui.worlds import NOW

KEY = "cold-prod/cold-backend-7d9f6c-0x2"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a pause between tries."""
    monkeypatch.setattr(LogsScreen, "RETRY_S", (0.05,))


async def open_log(c: Console, key: str = KEY, *keys: str) -> LogsScreen:
    screen = c.app.top
    assert screen.table is not None
    assert screen.table.select(key)
    await c.press(*(keys or ("l",)))
    await until(c, lambda: isinstance(c.app.top, LogsScreen), "the log")
    return cast(LogsScreen, c.app.top)


def body(c: Console) -> list[str]:
    return c.app.top.query_one(LogView).text


def test_log_flows() -> None:
    """What was written before is shown, and what comes after is added, in order and once."""

    async def check() -> None:
        kube = LogKube("one", "two")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            screen = await open_log(c)
            await shows(c, "one", "two", "● follow", "cold-backend-7d9f6c-0x2 app")
            kube.write("three", "four")
            await shows(c, "three", "four")
            assert body(c) == [f"{line.at:%Y-%m-%dT%H:%M:%S}.000Z {line.text}" for line in kube.lines if line.at]
            assert screen.container == "app"
            assert kube.requests[0].follow

    run(check())


def test_broken_stream_says_so_and_goes_on_without_doubles() -> None:
    """A break is told once, however many tries fail, and lines of the second at which it resumes are not shown twice or lost."""

    async def check() -> None:
        kube = LogKube("a", "b", "b", "c")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "4 lines")
            kube.cut_line()
            await until(c, lambda: len(kube.requests) > 4, "tries")
            await shows(c, "stream broken at 14:02:10Z: connection reset by peer", "API lost, try")
            kube.write("d", "e")
            kube.mend()
            await shows(c, "going on at 14:02:10Z", "e")
            texts = [line.rpartition("Z ")[2] for line in body(c) if not line.startswith("──")]
            assert texts == ["a", "b", "b", "c", "d", "e"]
            assert sum("stream broken" in line for line in body(c)) == 1
            assert "API lost" not in c.text
            assert kube.requests[-1].since is not None
            assert kube.requests[-1].tail is None

    run(check())


def test_leaving_closes_the_stream_at_once() -> None:
    """After esc no stream is open and no try is made."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "one")
            assert kube.open == 1
            await c.press("escape")
            await until(c, lambda: kube.open == 0, "closed")
            tries = len(kube.requests)
            await c.settle()
            assert len(kube.requests) == tries

    run(check())


def test_another_screen_closes_the_stream_and_coming_back_takes_it_up() -> None:
    """While another screen of the console is in front nothing is read; back again, what was missed follows without doubles."""

    async def check() -> None:
        kube = LogKube("one", "two")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "two")
            await c.press("9")  # pods is this very mode: back to its list
            await until(c, lambda: kube.open == 0, "closed")
            screen = await open_log(c)
            await shows(c, "two")
            c.app.go("nodes")
            await until(c, lambda: kube.open == 0, "closed")
            kube.write("three")
            c.app.switch_mode("pods")
            await until(c, lambda: c.app.screen is screen, "back")
            await shows(c, "three")
            assert [line.rpartition("Z ")[2] for line in body(c)] == ["one", "two", "three"]

    run(check())


def test_help_over_the_log_does_not_stop_it() -> None:
    """A dialog over the log leaves the stream open."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "one")
            await c.press("question_mark")
            kube.write("two")
            await c.press("escape")
            await shows(c, "two")
            assert len(kube.requests) == 1

    run(check())


def test_container_that_has_not_started_is_waited_for() -> None:
    """The reason is told once, and the log begins by itself when the container does."""

    async def check() -> None:
        kube = LogKube("started")
        kube.fail("logs", lambda: NotFound("app of x has not started yet: ContainerCreating", hint="its events say why"), times=None)
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "has not started yet: ContainerCreating", "waiting")
            kube.heal()
            await shows(c, "started")
            await until(c, lambda: "waiting" not in c.lines()[2], "it waits no longer")
            assert sum("has not started" in line for line in body(c)) == 1

    run(check())


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (
            NotFound("previous terminated container app not found", hint="it has not restarted yet"),
            "it has not restarted yet",
            "no previous",
        ),
        (Forbidden("needs get on pods/log", hint="ask for the role"), "needs get on pods/log · ask for the role", "not permitted"),
    ],
)
def test_what_waiting_does_not_change_is_told_and_not_tried_again(error: Exception, words: str, status: str) -> None:
    """No previous instance and a missing permission: the words stay, and the API is not asked in a loop."""

    async def check() -> None:
        kube = LogKube()
        kube.fail("logs", lambda: error, times=None)
        async with console(worlds.healthy(), size=(120, 24), start="pods", kube=kube) as c:
            await open_log(c, KEY, "p")
            await shows(c, words, status)
            assert len(kube.requests) == 1
            assert kube.requests[0].previous
            assert not kube.requests[0].follow

    run(check())


def test_log_ends_with_its_container_and_goes_on_with_the_next_instance() -> None:
    """The end is said with its time; the stream is taken up when the container runs again."""

    async def check() -> None:
        kube = LogKube("bye")
        async with console(worlds.healthy(), size=(120, 24), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "bye")
            kube.stop_container()
            await shows(c, "14:02:10Z ended: the container has stopped, waiting for it to start again")
            kube.write("hello again", "and on")
            await shows(c, "hello again", "and on")
            assert sum(line.endswith("bye") for line in body(c)) == 1

    run(check())


def test_ranges_ask_for_that_part() -> None:
    """0 the tail, 1 the head without a limit, 2 to 6 so many seconds back; the view begins anew each time."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "one")
            for key, since_s, limited in (("1", None, False), ("2", 60, False), ("6", 3600, False), ("0", None, True)):
                before = len(kube.requests)
                await c.press(key)
                await until(c, lambda before=before: len(kube.requests) > before, key)  # type: ignore[misc]  # a bound default
                request = kube.requests[-1]
                assert (request.since_s, request.tail is not None, request.since) == (since_s, limited, None)
                await shows(c, "one")
                assert len(body(c)) == 1
            assert kube.open == 1

    run(check())


def test_head_stops_when_the_view_is_full() -> None:
    """The first lines stay: reading on would push them out."""

    async def check() -> None:
        kube = LogKube(*(f"line {i}" for i in range(50)))
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            screen = await open_log(c)
            await shows(c, "line 49")
            screen.view.capacity = 30
            await c.press("1")
            await shows(c, "line 0", "first lines only")
            assert body(c)[0].endswith("line 0")
            assert body(c)[-1] == "── the first 20 lines; 0 shows the newest ──"
            assert kube.open == 0

    run(check())


def test_several_containers_are_listed_with_the_failing_one_chosen() -> None:
    """The list opens on the container that crashes; enter keeps it, tab goes to the next; each opens a log of its own."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(sites.troubled(), start="pods", kube=kube) as c:
            assert worth_looking_at(sites.crashing()) == 1
            screen = await open_log(c, sites.crashing().key)
            await until(c, lambda: isinstance(c.app.screen, ContainerList), "the list")
            assert "▸ portal" in c.text
            assert "waiting CrashLoopBackOff" in c.text
            await c.press("j", "enter")
            await shows(c, "metrics (3 of 3)", "one")
            assert screen.container == "metrics"
            await c.press("tab")
            await shows(c, "migrate (1 of 3)")
            await until(c, lambda: kube.requests[-1].container == "migrate" and kube.open == 1, "only one stream")

    run(check())


def test_pod_that_the_world_does_not_know_is_asked_for() -> None:
    """Without the pod in the World its containers are read from the API."""

    async def check() -> None:
        kube = LogKube("one")
        kube.whole = {"spec": {"initContainers": [{"name": "init"}], "containers": [{"name": "web"}]}}
        async with console(worlds.loading(), start="pods", kube=kube) as c:
            c.app.push_screen(LogsScreen(Ref("pods", "fresh", "shop")))
            await shows(c, "fresh web", "one")
            assert kube.requests[0].container == "web"

    run(check())


def test_lag_is_told_for_new_lines_only() -> None:
    """Old lines of a tail are history; a line written after the log was opened that comes late is lag, with the way out."""

    async def check() -> None:
        kube = LogKube("old", at=NOW - timedelta(hours=2))
        async with console(worlds.healthy(), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "old")
            assert "behind" not in c.text
            c.moment = NOW + timedelta(seconds=20)
            kube.lines.append(LogLine(NOW + timedelta(seconds=2), "late"))
            await shows(c, "18 s behind, 0 skips")

    run(check())


def test_lost_api_is_told_while_the_stream_is_silent() -> None:
    """The adapter mends a line by itself for half a minute; meanwhile the first line says that what is shown may be old."""

    async def check() -> None:
        kube = LogKube("one")
        async with console(worlds.healthy(), size=(120, 24), start="pods", kube=kube) as c:
            await open_log(c)
            await shows(c, "one")
            await c.put(worlds.lost(c.site.live.world))
            assert "the API does not answer" in c.text
            await c.put(replace(worlds.healthy(), revision=99))
            assert "the API does not answer" not in c.text

    run(check())


def test_not_connected_is_told_and_tried_again() -> None:
    """Without a client the log says so, and begins when there is one."""

    async def check() -> None:
        async with console(worlds.healthy(), start="pods") as c:
            await open_log(c)
            await shows(c, "not connected to the API yet")
            c.site.kube = LogKube("one")
            await shows(c, "one")

    run(check())


def test_seen_drops_only_what_was_shown() -> None:
    """Equal lines at one moment are counted; lines without a time always pass."""
    seen = Seen()
    a, b = LogLine(NOW, "same"), LogLine(NOW, "other")
    assert seen.fresh([a, a]) == [a, a]
    seen.resume()
    assert seen.fresh([LogLine(NOW - timedelta(seconds=1), "before"), a, a, a, b]) == [a, b]
    assert seen.fresh([LogLine(None, "x")]) == [LogLine(None, "x")]


def test_hostile_lines_are_text() -> None:
    """Markup in a line is shown as it is written, and a click on it does nothing."""

    async def check() -> None:
        async with console(worlds.healthy(), start="pods", kube=LogKube(*worlds.HOSTILE)) as c:
            await open_log(c)
            await shows(c, "[/b][@click=app.quit]x[/]")
            assert await c.pilot.click(LogView, offset=(8, 4))
            await c.settle()
            assert c.app.is_running
            assert all(len(line) <= 80 for line in c.lines())

    run(check())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("state", ["flowing", "broken", "forbidden", "stale"])
def test_logs_picture(snap_compare: object, size: tuple[int, int], state: str) -> None:
    """How the log looks: flowing, broken, forbidden, and with the API lost."""
    kube = LogKube(*(f'level=info msg="request {i} done" took={i * 7 % 90}ms' for i in range(60)))
    world: World = worlds.healthy()
    if state == "forbidden":
        kube.fail("logs", lambda: Forbidden("needs get on pods/log", hint="ask for the role coldtui-reader"), times=None)
    if state == "stale":
        world = worlds.lost(world)

    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ColdApp)
        c = Console(app, pilot, app.site)  # type: ignore[arg-type]  # the fixed site
        await open_log(c)
        await shows(c, "needs get" if state == "forbidden" else "request 59")
        if state == "broken":
            LogsScreen.RETRY_S = (30.0,)  # undone with the fixture
            kube.cut_line()
            await shows(c, "stream broken")

    assert snap_compare(snapshot_app(world, start="pods", kube=kube), terminal_size=size, run_before=prepare)  # type: ignore[operator]
