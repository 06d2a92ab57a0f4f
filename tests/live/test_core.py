"""Live as the faces use it: start, subscribe, once, close."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from coldtui.domain.errors import Forbidden, Misconfigured, Unreachable
from coldtui.domain.kinds import WATCHED
from coldtui.domain.readings import Freshness
from coldtui.domain.world import World
from coldtui.lab.fakes import FakeKube
from coldtui.live import Live, Pace
from coldtui.ports import Kube

from .things import FAST, a_node, a_pod, eventually, holds, is_live, running, trouble

CLOSED_S = 4.0
"""Less than any call that hangs takes to give up."""


def my_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("live-")]


def threads_left() -> list[str]:
    """Threads that do not end by themselves at once."""
    for thread in threading.enumerate():
        if thread.name.startswith("live-"):
            thread.join(0.5)
    return my_threads()


async def _listed_and_followed() -> None:
    kube = FakeKube({"nodes": [a_node("a")], "pods": [a_pod("p1")]})
    async with running(kube, "nodes", "pods") as live:
        seen: list[World] = []
        end = live.subscribe(seen.append)
        await live.until(is_live("nodes", "pods", "kube"), 3)
        kube.put("pods", a_pod("p2"))
        kube.remove("pods", "shop/p1")
        world = await live.until(holds("pods", ["shop/p2"]), 3)
        assert world.pods.roster > 0
        assert [w.revision for w in seen] == sorted({w.revision for w in seen})
        end()
        before = len(seen)
        kube.put("pods", a_pod("p3"))
        await live.until(holds("pods", ["shop/p2", "shop/p3"]), 3)
        assert len(seen) == before


def test_lists_and_follows() -> None:
    """Objects of the first list and later changes reach the World and its subscribers, until these have enough."""
    asyncio.run(_listed_and_followed())


def test_all_kinds_start_and_close_leaves_no_thread() -> None:
    """With every kind watched, closing waits for no call and no thread stays."""

    async def scene() -> float:
        kube = FakeKube({"nodes": [a_node("a")]})
        async with running(kube) as live:
            await live.until(is_live("nodes", "pods", "upgrade_plans"), 5)
            assert len(my_threads()) > 30
            began = time.monotonic()
        return time.monotonic() - began

    assert asyncio.run(scene()) < CLOSED_S
    assert threads_left() == []


def test_close_in_the_middle_of_an_outage() -> None:
    """Closing is as quick while every call hangs and while everything waits for the line."""
    for fault in ("pause", "kill"):

        async def scene(fault: str = fault) -> float:
            kube = FakeKube({"nodes": [a_node("a")]})
            async with running(kube, "nodes", "pods") as live:
                await live.until(is_live("nodes"), 3)
                getattr(kube, fault)()
                await asyncio.sleep(0.01)
                began = time.monotonic()
            return time.monotonic() - began

        assert asyncio.run(scene()) < CLOSED_S
        assert threads_left() == []


def test_no_revision_when_nothing_changes() -> None:
    """A quiet site with a beating heart publishes nothing, though its ages are current."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        async with running(kube, "nodes") as live:
            await live.until(is_live("nodes", "kube"), 3)
            await eventually(lambda: live.world.site.version)
            calm = live.world
            beats = kube.count("alive")
            kube.put("nodes", a_node("a"))  # an update in which nothing that is shown differs
            kube.bookmark("nodes")
            await eventually(lambda: kube.count("alive") > beats + 3)
            assert live.world is calm
            kube.put("nodes", a_node("b"))
            world = await live.until(holds("nodes", "ab"), 3)
            assert (world.sources["nodes"].as_of or calm.at) > calm.at

    asyncio.run(scene())


def test_revisions_are_coalesced() -> None:
    """A storm of changes gives some ten revisions a second, not one each."""

    async def scene() -> None:
        kube = FakeKube({"pods": []})
        async with running(kube, "pods", pace=Pace(new_s=0.0)) as live:
            await live.until(is_live("pods"), 3)
            first = live.world.revision
            began = time.monotonic()
            for number in range(300):
                kube.put("pods", a_pod(f"p{number}"))
                await asyncio.sleep(0.001)
            await live.until(lambda w: len(w.pods) == 300, 3)
            passed = time.monotonic() - began
            assert live.world.revision - first <= 10 * passed + 3

    asyncio.run(scene())


def test_a_client_that_cannot_be_made_is_shown_and_tried_again() -> None:
    """A failing connector gives every source its words; refresh tries at once, and there is no client meanwhile."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        errors = [Misconfigured("no kubeconfig", hint="set KUBECONFIG")]

        def connector() -> Kube:
            if errors:
                raise errors[0]
            return kube

        async with running(kube, "nodes", connector=connector) as live:
            world = await live.until(trouble("nodes", "config"), 3)
            assert world.sources["kube"].trouble is not None
            assert live.kube is None
            errors.clear()
            live.refresh()
            world = await live.until(is_live("nodes", "kube"), 3)
            assert live.kube is kube

    asyncio.run(scene())


def test_a_connector_that_hangs_is_named() -> None:
    """A credential plugin that never ends becomes a trouble; what it gives in the end is used."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        go = threading.Event()

        def connector() -> Kube:
            go.wait(10)
            return kube

        async with running(kube, "nodes", connector=connector) as live:
            await live.until(trouble("kube", "timeout"), 3)
            go.set()
            await live.until(is_live("nodes", "kube"), 3)

    asyncio.run(scene())


def test_once_reads_only_what_is_asked() -> None:
    """One reading lists just the wanted kinds, knows the site, and leaves no thread."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")], "pods": [a_pod(f"p{n}") for n in range(1200)]})
        kube.fail("list", lambda: Forbidden("needs list on leases", verb="list", resource="leases"), "leases", times=None)
        world = await Live(lambda: kube).once(["nodes", "pods", "leases"], 3)
        assert (len(world.nodes), len(world.pods), world.pod_counts.running) == (1, 1200, 1200)
        assert world.sources["leases"].freshness is Freshness.FORBIDDEN
        assert world.sources["kube"].freshness is Freshness.LIVE
        assert world.site.cluster_uid == kube.uid
        assert {kind for call, kind in kube.calls if call == "list"} == {"nodes", "pods", "leases"}

    asyncio.run(scene())
    assert threads_left() == []


@pytest.mark.parametrize("fault", ["pause", "kill", "connector"])
def test_once_ends_within_its_deadline(fault: str) -> None:
    """With the API paused or dead, or a connector that hangs, one reading ends in time and says why."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        hang = threading.Event()

        def connector() -> Kube:
            if fault == "connector":
                hang.wait(20)
            return kube

        if fault != "connector":
            getattr(kube, fault)()
        began = time.monotonic()
        world = await Live(connector).once(["nodes", "node_usage", "node_stats"], 0.3)
        assert time.monotonic() - began < 4.0
        expected = "refused" if fault == "kill" else "timeout"
        for name in ("kube", "nodes", "node_usage"):
            found = world.sources[name].trouble
            assert found is not None, name
            assert found.kind == expected
        hang.set()

    asyncio.run(scene())


def test_a_failing_subscriber_hurts_nobody() -> None:
    """A subscriber that raises neither stops the others nor the World."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        async with running(kube, "nodes") as live:

            def bad(world: World) -> None:
                raise ValueError

            live.subscribe(bad)
            await live.until(is_live("nodes"), 3)

    asyncio.run(scene())


def test_want_opens_more_while_running() -> None:
    """A kind that is wanted later is read from then on."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")], "pods": [a_pod("p")]})
        async with running(kube, "nodes") as live:
            await live.until(is_live("nodes"), 3)
            assert kube.count("list", "pods") == 0
            live.want("pods")
            await live.until(is_live("pods"), 3)

    asyncio.run(scene())


def test_an_error_of_ours_is_a_trouble_and_is_retried() -> None:
    """A bug in a decoder is shown as `bug`, and the kind is tried again."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        kube.fail("list", lambda: KeyError("spec"), "nodes", times=None)
        async with running(kube, "nodes") as live:
            await live.until(trouble("nodes", "bug"), 3)
            kube.heal()
            world = await live.until(is_live("nodes"), 5)
            assert len(world.nodes) == 1

    asyncio.run(scene())


def test_a_line_that_was_never_there() -> None:
    """With the API refusing from the start every source says so and shows nothing; all come by themselves when it starts."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")]})
        kube.kill()
        async with running(kube, "nodes", "pods") as live:
            world = await live.until(lambda w: trouble("kube", "refused")(w) and trouble("nodes", "lost")(w), 3)
            assert world.sources["nodes"].freshness is Freshness.FAILED
            kube.revive()
            await live.until(is_live("kube", "nodes", "pods"), 3)

    asyncio.run(scene())


def test_unreachable_words() -> None:
    """The words of the trouble are those of the error."""

    async def scene() -> None:
        def connector() -> Kube:
            raise Unreachable("host k3s-master cannot be resolved", hint="check DNS")

        world = await Live(connector).once(["nodes"], 1)
        found = world.sources["kube"].trouble
        assert found is not None
        assert (found.kind, found.hint) == ("dns", "check DNS")

    asyncio.run(scene())


def test_the_first_screen_comes_first_and_the_rest_follows() -> None:
    """The kinds of the first screen are listed before any other, and all the others a moment later without being asked."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a")], "pods": [a_pod("p1")]})
        async with running(kube, pace=FAST) as live:
            await live.until(is_live(*(kind.name for kind in WATCHED)), 3)
            listed = list(dict.fromkeys(name for call, name in kube.calls if call == "list"))
            assert set(listed[:4]) == {"nodes", "pods", "leases", "pg_clusters"}

    asyncio.run(scene())
