"""Metrics and kubelet summaries: each answers, fails or hangs on its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from coldtui.domain.errors import Forbidden, NotInstalled, Unreachable
from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.lab.fakes import FakeKube
from coldtui.live import polls

from .things import FAST, a_node, a_pod, a_usage, eventually, is_live, running, some_stats, trouble


def test_usage_is_polled_again_and_again() -> None:
    """Node metrics arrive, change with the next poll, and vanish with their node."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a"), a_node("b")], "node_usage": [a_usage("a", 100), a_usage("b", 200)]})
        async with running(kube, "nodes", "node_usage") as live:
            await live.until(lambda w: len(w.node_usage) == 2, 3)
            kube.put("node_usage", a_usage("a", 300))
            kube.remove("node_usage", "b")
            await live.until(lambda w: {u.cpu_m for u in w.node_usage.items.values()} == {300}, 3)

    asyncio.run(scene())


def test_unreadable_samples_are_counted() -> None:
    """Samples that cannot be decoded are said to be missing, until all can be read again."""

    async def scene() -> None:
        kube = FakeKube({"node_usage": [a_usage("a", 100)]})
        kube.undecodable("node_usage", 2)
        async with running(kube, "node_usage") as live:
            world = await live.until(trouble("node_usage", "garbage"), 3)
            assert len(world.node_usage) == 1
            kube.undecodable("node_usage", 0)
            await live.until(is_live("node_usage"), 3)

    asyncio.run(scene())


def test_missing_metrics_are_not_installed_and_come_back() -> None:
    """404, 503 and 403 of metrics-server are three different words; the numbers come by themselves afterwards."""

    async def scene() -> None:
        kube = FakeKube({"node_usage": [a_usage("a", 100)]})
        kube.fail("poll", lambda: NotInstalled("metrics-server is not installed"), times=None)
        async with running(kube, "node_usage", pace=replace(FAST, missing_s=0.02, forbidden_s=0.02)) as live:
            await live.until(trouble("node_usage", "not-installed"), 3)
            kube.heal()
            kube.fail("poll", lambda: Unreachable("the backend of metrics.k8s.io is down"), times=None)
            await live.until(trouble("node_usage", "lost"), 3)
            kube.heal()
            kube.fail("poll", lambda: Forbidden("may not list nodes.metrics.k8s.io"), times=None)
            await live.until(trouble("node_usage", "forbidden"), 3)
            kube.heal()
            await live.until(is_live("node_usage"), 3)

    asyncio.run(scene())


def test_pod_metrics_of_a_big_site_are_read_only_when_asked_for() -> None:
    """Beyond the limit pod metrics say why they are not read, raising no alarm; wanted by name they are."""

    async def scene() -> None:
        limit, polls.PODS_AT_MOST = polls.PODS_AT_MOST, 2
        try:
            kube = FakeKube({"pods": [a_pod(f"p{n}") for n in range(3)]})
            async with running(kube) as live:
                await live.until(is_live("pods"), 3)
                world = await live.until(lambda w: w.sources["pod_usage"].trouble is not None, 3)
                assert world.sources["pod_usage"].freshness is Freshness.NOT_INSTALLED
                assert kube.count("poll", "pod_usage") == 0
                live.want("pod_usage")
                await live.until(is_live("pod_usage"), 3)
        finally:
            polls.PODS_AT_MOST = limit

    asyncio.run(scene())


def test_each_kubelet_answers_for_itself() -> None:
    """One kubelet answers, one refuses, one hangs: three readings, and the source is live."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a"), a_node("b"), a_node("c")]})
        kube.stats = {"a": some_stats("a"), "c": some_stats("c")}
        kube.fail("stats", lambda: Forbidden("needs get on nodes/stats"), "b", times=None)
        kube.fail("stats", lambda: TimeoutError(), "c", times=1)
        async with running(kube, "nodes", "node_stats") as live:
            world = await live.until(lambda w: len(w.node_stats) == 3, 3)
            readings = dict(world.node_stats)
            assert isinstance(readings["a"], Known)
            assert readings["b"] == Unknown("kubelet b", "needs get on nodes/stats")
            assert isinstance(readings["c"], Unknown)
            assert is_live("node_stats")(world)
            world = await live.until(lambda w: isinstance(w.node_stats["c"], Known), 3)

    asyncio.run(scene())


def test_when_no_kubelet_answers_the_source_says_so() -> None:
    """If all summaries fail, the source itself carries the reason."""

    async def scene() -> None:
        kube = FakeKube({"nodes": [a_node("a"), a_node("b")]})
        kube.fail("stats", lambda: Forbidden("needs get on nodes/stats", verb="get", resource="nodes/stats"), times=None)
        async with running(kube, "nodes", "node_stats") as live:
            await live.until(trouble("node_stats", "forbidden"), 3)

    asyncio.run(scene())


def test_many_nodes_are_read_in_turn() -> None:
    """With more than fifty nodes a round reads fifty, the next goes on behind them."""

    async def scene() -> None:
        names = [f"n{number:03}" for number in range(120)]
        kube = FakeKube({"nodes": [a_node(name) for name in names]})
        kube.stats = {name: some_stats(name) for name in names}
        async with running(kube, "nodes", "node_stats", pace=replace(FAST, stats_many_s=0.05)) as live:
            await live.until(lambda w: len(w.node_stats) >= 50, 3)
            assert kube.count("stats") == 50
            await live.until(lambda w: len(w.node_stats) == 120, 3)
            await eventually(lambda: kube.count("stats") == 150)

    asyncio.run(scene())


def test_a_fault_of_ours_in_a_poll_is_shown_and_retried() -> None:
    """A fault in one turn of a poll is shown as `bug` and does not end its thread; the next turn is live."""

    async def scene() -> None:
        kube = FakeKube({"node_usage": [a_usage("a", 100)]})
        kube.fail("poll", lambda: AttributeError("key"), times=1)
        async with running(kube, "node_usage") as live:
            await live.until(trouble("node_usage", "bug"), 3)
            await live.until(is_live("node_usage"), 3)

    asyncio.run(scene())
