"""The loop of one kind: every way in which a server can misbehave ends in the server's state, and is named meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest

from coldtui.domain.errors import Expired, Forbidden, NotInstalled, Throttled, Unauthorized, Unreachable
from coldtui.domain.readings import Freshness
from coldtui.domain.world import World
from coldtui.lab.fakes import FakeClock, FakeKube
from coldtui.live.backoff import Backoff
from coldtui.live.line import Line

from .things import FAST, a_lease, a_namespace, a_node, a_pod, eventually, holds, is_live, running, trouble

PATIENT = replace(FAST, heartbeat_s=60.0)
"""No heartbeat comes between."""


def more(kube: FakeKube, call: str, than: int) -> Callable[[], bool]:
    return lambda: kube.count(call, "pods") > than


def test_a_clean_end_reconnects_without_a_list() -> None:
    """When a watch times out it goes on from its version: no second list, no event lost, never called a trouble."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            troubles: list[World] = []
            live.subscribe(lambda world: troubles.append(world) if world.sources["pods"].trouble else None)
            for number in range(5):
                kube.bookmark("pods")
                watches = kube.count("watch", "pods")
                await eventually(lambda: live._builder._open)
                await asyncio.sleep(FAST.short_watch_s * 1.2)  # an earlier end counts as a failure
                kube.end_watches()
                kube.put("pods", a_pod(f"q{number}"))
                await eventually(more(kube, "watch", watches))
            await live.until(lambda w: len(w.pods) == 6, 3)
            assert kube.count("list", "pods") == 1
            assert troubles == []

    asyncio.run(scene())


def test_watches_that_end_at_once_are_slowed_down() -> None:
    """A server that ends each watch at once is asked ever more seldom, and it is said."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods", pace=PATIENT) as live:
            await live.until(is_live("pods"), 3)
            end = asyncio.get_running_loop().time() + 0.5
            while asyncio.get_running_loop().time() < end:
                kube.end_watches()
                await asyncio.sleep(0.001)
            assert kube.count("watch", "pods") < 15
            assert trouble("pods", "server")(live.world)

    asyncio.run(scene())


def test_expired_watch_lists_again_from_what_is_known() -> None:
    """After 410 the list asks for at least the known version; the World then equals the server and counts the restart."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1"), a_pod("p2")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            kube.expire("pods")
            world = await live.until(lambda w: w.sources["pods"].restarts == 1, 3)
            assert set(world.pods.items) == {"shop/p1", "shop/p2"}
            kube.remove("pods", "shop/p1")
            kube.expire("pods")
            await live.until(holds("pods", ["shop/p2"]), 3)

    asyncio.run(scene())


def test_expired_list_falls_back_to_the_newest() -> None:
    """If the server does not give the known version either, the list asks for whatever there is."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            kube.fail("list", lambda: Expired("gone"), "pods", times=1)
            kube.expire("pods")
            await live.until(lambda w: w.sources["pods"].restarts == 1, 3)
            assert kube.count("list", "pods") == 3
            assert is_live("pods")(live.world)

    asyncio.run(scene())


def test_lists_from_which_no_watch_can_start_are_no_hot_loop() -> None:
    """A server that answers every watch with 410 right after a good list is asked ever more slowly, with a word; when it heals, all is live."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods", pace=PATIENT) as live:
            await live.until(is_live("pods"), 3)
            kube.fail("watch", lambda: Expired("too old"), "pods", times=None)
            kube.expire("pods")
            await live.until(trouble("pods", "server"), 3)
            await asyncio.sleep(0.3)
            assert kube.count("list", "pods") < 15
            kube.heal()
            kube.put("pods", a_pod("p2"))
            await live.until(lambda w: len(w.pods) == 2 and is_live("pods")(w), 3)

    asyncio.run(scene())


def test_first_page_is_shown_at_once_as_a_part() -> None:
    """The first rows are visible, marked partial, while later pages are still on the way."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod(f"p{n}") for n in range(30)]}, page_size=10)
        parts: list[World] = []
        async with running(kube, "pods") as live:
            live.subscribe(lambda world: parts.append(world) if world.sources["pods"].partial else None)
            gate = asyncio.Event()
            loop = asyncio.get_running_loop()

            def hold(kind: str, given: int) -> None:
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5)

            kube.between_pages(hold)
            await live.until(lambda w: len(w.pods) == 10, 3)
            assert live.world.sources["pods"].partial
            assert not live.world.whole("pods")
            gate.set()
            await live.until(lambda w: len(w.pods) == 30 and w.whole("pods"), 3)
        assert parts

    asyncio.run(scene())


def test_halves_of_two_lists_are_never_merged() -> None:
    """410 on a later page: all is listed again in one call; no row of the lost snapshot survives."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod(f"p{n}") for n in range(30)]}, page_size=10)
        further: list[int] = []

        def between(kind: str, given: int) -> None:
            further.append(given)
            if len(further) == 1:
                kube.remove("pods", *[f"shop/p{n}" for n in range(10)])
                raise Expired("the continue token is too old")

        kube.between_pages(between)
        async with running(kube, "pods") as live:
            world = await live.until(is_live("pods"), 3)
            assert set(world.pods.items) == {f"shop/p{n}" for n in range(10, 30)}
            assert kube.count("list", "pods") == 2
            assert further == [1]  # the second list had no further page

    asyncio.run(scene())


def test_a_relist_swaps_at_once() -> None:
    """While a relist is on its pages, the old rows stay whole; then all change in one revision."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod(f"p{n}") for n in range(30)]}, page_size=10)
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            sizes: set[int] = set()
            live.subscribe(lambda world: sizes.add(len(world.pods)))
            kube.remove("pods", *[f"shop/p{n}" for n in range(0, 30, 2)])
            kube.expire("pods")
            await live.until(lambda w: w.sources["pods"].restarts == 1, 3)
            assert sizes == {15} or sizes == {30, 15}

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["lower version", "unknown version"])
def test_a_restored_cluster_is_read_anew(how: str) -> None:
    """Versions that go back mean a restored datastore: it is said, every kind is listed anew, and then all is live."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1"), a_pod("p2")], "nodes": [a_node("a")]})
        async with running(kube, "pods", "nodes") as live:
            await live.until(is_live("pods", "nodes"), 3)
            said: set[str] = set()
            live.subscribe(lambda w: said.update(n for n in ("pods", "nodes") if trouble(n, "restored")(w)))
            if how == "lower version":
                kube.restore({"pods": [a_pod("p1")], "nodes": [a_node("a"), a_node("b")]})
            else:
                kube.restore({"pods": [a_pod("p1")], "nodes": [a_node("a"), a_node("b")]}, version=900)
            await live.until(lambda w: set(w.pods.items) == {"shop/p1"} and len(w.nodes) == 2, 3)
            await live.until(is_live("pods", "nodes"), 3)
            assert said
            kube.put("pods", a_pod("p9"))
            await live.until(holds("pods", ["shop/p1", "shop/p9"]), 3)

    asyncio.run(scene())


def test_forbidden_names_the_verb_and_is_asked_again() -> None:
    """403 is shown as forbidden with the missing verb; a permission given later is noticed by itself, or at once on refresh."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        kube.fail("list", lambda: Forbidden("may not list pods", verb="list", resource="pods"), "pods", times=None)
        async with running(kube, "pods", pace=replace(FAST, forbidden_s=20.0)) as live:
            world = await live.until(trouble("pods", "forbidden"), 3)
            state = world.sources["pods"]
            assert state.freshness is Freshness.FORBIDDEN
            assert state.trouble is not None
            assert "list pods" in state.trouble.words
            assert state.retry_at is not None
            assert state.retry_at - world.at >= timedelta(seconds=18)
            kube.heal()
            live.refresh()
            await live.until(is_live("pods"), 10)

    asyncio.run(scene())


def test_not_installed_is_no_failure_and_appears_later() -> None:
    """404 on a custom kind reads "not installed"; an installed component appears; a removed one takes its rows along."""

    async def scene() -> None:
        kube = FakeKube()
        kube.fail("list", lambda: NotInstalled("CloudNativePG is not installed"), "pg_clusters", times=None)
        async with running(kube, "pg_clusters", "nodes", pace=replace(FAST, missing_s=0.05)) as live:
            world = await live.until(trouble("pg_clusters", "not-installed"), 3)
            assert world.sources["pg_clusters"].freshness is Freshness.NOT_INSTALLED
            kube.heal()
            await live.until(is_live("pg_clusters"), 3)

    asyncio.run(scene())


def test_a_removed_component_takes_its_rows_along_but_not_at_the_first_word() -> None:
    """One 404 of a kind that was there is doubted (a starting server says that too); when it stays, the rows go."""

    async def scene() -> None:
        kube = FakeKube({"pg_clusters": [a_namespace("pg")]})
        async with running(kube, "pg_clusters", pace=replace(FAST, missing_s=60)) as live:
            await live.until(is_live("pg_clusters"), 3)
            kube.fail("*", lambda: NotInstalled("CloudNativePG is not installed"), "pg_clusters", times=1)
            kube.end_watches()
            await live.until(lambda w: w.sources["pg_clusters"].restarts == 1, 3)
            assert len(live.world.pg_clusters) == 1
            kube.fail("*", lambda: NotInstalled("CloudNativePG is not installed"), "pg_clusters", times=None)
            kube.expire("pg_clusters")
            world = await live.until(trouble("pg_clusters", "not-installed"), 3)
            assert len(world.pg_clusters) == 0

    asyncio.run(scene())


def test_unauthorized_gets_one_more_try() -> None:
    """A single 401 is healed by the client's new credentials without a word; a second one is shown."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        kube.fail("list", lambda: Unauthorized("credentials refused"), "pods", times=1)
        said: list[World] = []
        async with running(kube, "pods") as live:
            live.subscribe(lambda w: said.append(w) if w.sources["pods"].trouble else None)
            await live.until(is_live("pods"), 3)
            assert said == []
            kube.fail("watch", lambda: Unauthorized("credentials refused"), "pods", times=3)
            kube.end_watches()
            await live.until(trouble("pods", "unauthorized"), 3)
            await live.until(is_live("pods"), 3)

    asyncio.run(scene())


def test_throttled_watch_keeps_its_version_and_obeys() -> None:
    """429 on opening a watch: its Retry-After passes, a refresh does not shorten it, and the watch goes on without a list."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            kube.bookmark("pods")
            await asyncio.sleep(0.03)
            kube.fail("watch", lambda: Throttled("too many requests", retry_after_s=0.3), "pods", times=1)
            kube.end_watches()
            world = await live.until(trouble("pods", "throttled"), 3)
            watches = kube.count("watch", "pods")
            live.refresh()
            kube.put("pods", a_pod("p2"))
            world = await live.until(lambda w: len(w.pods) == 2, 3)
            assert (world.at - (world.sources["pods"].as_of or world.at)).total_seconds() >= 0
            assert kube.count("watch", "pods") == watches + 1
            assert kube.count("list", "pods") == 1
            await live.until(is_live("pods"), 3)

    asyncio.run(scene())


def test_refused_watch_keeps_its_version() -> None:
    """A watch that cannot be opened backs off and goes on from its version: a starting server is spared the lists."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods", pace=PATIENT) as live:
            await live.until(is_live("pods", "kube"), 3)
            kube.fail("watch", lambda: Unreachable("no route"), "pods", times=4)
            kube.end_watches()
            world = await live.until(trouble("pods", "lost"), 3)
            assert world.sources["pods"].freshness is Freshness.STALE
            kube.put("pods", a_pod("p2"))
            await live.until(lambda w: len(w.pods) == 2 and is_live("pods")(w), 3)
            assert kube.count("list", "pods") == 1

    asyncio.run(scene())


def test_one_broken_stream_is_no_trouble() -> None:
    """A stream that breaks once is opened again before anyone is alarmed."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods", "kube"), 3)
            said: list[World] = []
            live.subscribe(lambda w: said.append(w) if w.sources["pods"].trouble else None)
            watches = kube.count("watch", "pods")
            kube.break_watches()
            kube.put("pods", a_pod("p2"))
            await live.until(lambda w: len(w.pods) == 2, 3)
            assert kube.count("watch", "pods") == watches + 1
            assert said == []

    asyncio.run(scene())


def test_garbage_on_a_watch_lists_again() -> None:
    """Lines that are no objects are named and mended by a list."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        async with running(kube, "pods") as live:
            await live.until(is_live("pods"), 3)
            said: list[World] = []
            live.subscribe(lambda w: said.append(w) if trouble("pods", "garbage")(w) else None)
            kube.garble("pods", 3)
            await live.until(lambda w: w.sources["pods"].restarts == 1 and is_live("pods")(w), 3)
            assert said

    asyncio.run(scene())


def test_undecodable_objects_are_never_silently_dropped() -> None:
    """A list with unreadable objects shows the others, says how many are missing, and is not called whole."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod("p1")]})
        kube.undecodable("pods", 2)
        async with running(kube, "pods") as live:
            world = await live.until(trouble("pods", "garbage"), 3)
            assert set(world.pods.items) == {"shop/p1"}
            assert not world.whole("pods")
            kube.put("pods", a_pod("p2"))
            world = await live.until(lambda w: len(w.pods) == 2, 3)
            assert trouble("pods", "garbage")(world)
            kube.undecodable("pods", 0)
            kube.end_watches()
            await live.until(is_live("pods"), 3)

    asyncio.run(scene())


def test_leases_carry_our_own_observation() -> None:
    """A lease's age counts from when we saw its renewal, whatever its node's clock says; an update without renewal changes nothing."""

    async def scene() -> None:
        clock = FakeClock()
        kube = FakeKube({"leases": [a_lease("a", clock.now() - timedelta(hours=1))]})
        async with running(kube, "leases", clock=clock) as live:
            world = await live.until(is_live("leases"), 3)
            first = world.leases.items["a"]
            assert first.observed == clock.now()
            clock.advance(50)
            kube.put("leases", replace(first, holder="x", observed=clock.now()))
            world = await live.until(lambda w: w.leases.items["a"].holder == "x", 3)
            assert world.leases.items["a"].observed == first.observed
            kube.put("leases", a_lease("a", clock.now() - timedelta(minutes=30)))
            world = await live.until(lambda w: w.leases.items["a"].observed == clock.now(), 3)

    asyncio.run(scene())


def test_backoff_doubles_to_its_cap_and_begins_anew() -> None:
    """0.8 s doubling to 30 s, stretched by up to its own length, begun anew after two healthy minutes."""
    clock = FakeClock()
    calm = Backoff(0.8, 30, 120, clock, lambda: 0.0)
    assert [round(calm.next(), 1) for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    wild = Backoff(0.8, 30, 120, clock, lambda: 1.0)
    assert [round(wild.next(), 1) for _ in range(7)][-1] == 60
    clock.advance(119)
    assert calm.next() == 30
    clock.advance(121)
    assert calm.next() == 0.8


def test_a_wake_before_the_wait_is_not_missed() -> None:
    """A waiter that took its generation before the wake does not wait at all."""
    line = Line()
    before = line.generation
    line.wake()
    assert line.wait(1000, before)
    line.close()
    assert not line.wait(1000)
    assert not line.sleep(1000)


def test_memory_is_flat_over_a_thousand_relists() -> None:
    """A thousand relists of 200 pods leave nothing behind."""

    async def scene() -> None:
        kube = FakeKube({"pods": [a_pod(f"p{n}") for n in range(200)]})
        async with running(kube, "pods", pace=replace(FAST, wake_jitter_s=0.0, short_watch_s=0.0)) as live:
            await live.until(is_live("pods"), 3)
            process = psutil.Process()

            async def relist(times: int) -> None:
                for _ in range(times):
                    lists = kube.count("list", "pods")
                    watches = kube.count("watch", "pods")
                    kube.expire("pods")
                    await eventually(more(kube, "list", lists))
                    await eventually(more(kube, "watch", watches))
                    if len(kube.calls) > 100:
                        kube.calls.clear()

            await relist(100)
            gc.collect()
            before, objects = process.memory_info().rss, len(gc.get_objects())
            await relist(1000)
            gc.collect()
            assert process.memory_info().rss - before < 3 << 20
            assert len(gc.get_objects()) - objects < 500
            assert len(live.world.pods) == 200

    logging.getLogger("coldtui.live").setLevel(logging.ERROR)
    asyncio.run(scene())
