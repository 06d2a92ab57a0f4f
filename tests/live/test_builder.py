"""Whatever comes in whatever order: the World equals the server, and the indices equal a recount."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from immutables import Map

from coldtui.domain.kinds import KINDS
from coldtui.domain.nodes import LEASE_STALE, NodeLoad
from coldtui.domain.pods import RECENT_RESTART, Pod, PodCounts
from coldtui.domain.readings import Freshness, Known, Trouble, Unknown
from coldtui.domain.world import SiteFacts, World
from coldtui.lab.fakes import START, FakeClock, FakeKube
from coldtui.live.builder import Builder, is_quiet

from .things import FAST, a_lease, a_namespace, a_node, a_pod, is_live, running, some_stats

NODES = ("", "n1", "n2")
PHASES = (("Running", "Running"), ("Running", "CrashLoopBackOff"), ("Pending", "Pending"), ("Succeeded", "Completed"), ("Failed", "Error"))


def check_indices(world: World) -> None:
    """Count everything again from the pods."""
    pods: list[Pod] = list(world.pods.items.values())
    loads: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
    by_node: dict[str, dict[str, Pod]] = defaultdict(dict)
    for pod in pods:
        by_node[pod.node][pod.key] = pod
        if pod.node:
            load = loads[pod.node]
            load[1] += 1
            if not pod.finished:
                load[0] += 1
                for place, value in enumerate((pod.cpu_request_m, pod.memory_request_b, pod.cpu_limit_m, pod.memory_limit_b), 2):
                    load[place] += value
    restless = {pod.key: pod for pod in pods if not is_quiet(pod, world.at)}
    assert dict(world.node_loads) == {node: NodeLoad(*load) for node, load in loads.items()}
    assert {node: dict(found) for node, found in world.pods_of_node.items()} == by_node
    assert dict(world.restless_pods) == restless
    assert world.pod_counts == PodCounts(
        total=len(pods),
        running=sum(p.phase == "Running" and p.deleted is None for p in pods),
        pending=sum(p.phase == "Pending" for p in pods),
        finished=sum(p.finished for p in pods),
        restless=len(restless),
    )


pods = st.builds(
    lambda n, node, phase, restart, deleted: replace(
        a_pod(f"p{n}", node, phase=phase[0], state=phase[1], last_restart=restart), deleted=START if deleted else None
    ),
    st.integers(0, 12),
    st.sampled_from(NODES),
    st.sampled_from(PHASES),
    st.sampled_from([None, START, START - timedelta(hours=1)]),
    st.booleans(),
)
acts = st.one_of(
    st.tuples(st.just("put"), st.lists(pods, min_size=1, max_size=6)),
    st.tuples(st.just("delete"), st.integers(0, 12)),
    st.tuples(st.just("swap"), st.lists(pods, max_size=8)),
    st.tuples(st.just("sweep"), st.integers(0, 700)),
    st.tuples(st.just("publish"), st.none()),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(acts, max_size=25))
def test_indices_equal_a_recount(story: list[tuple[str, Any]]) -> None:
    """After any series of changes, deletions, relists and passing time, loads, pods by node, restless pods and counts are exact."""
    clock = FakeClock()
    builder = Builder(clock, SiteFacts(), lambda urgent: None)
    truth: dict[str, Pod] = {}
    roster: set[str] = set()
    last = -1
    for act, what in story:
        if act == "put":
            new = {pod.key: pod for pod in what}
            truth.update(new)
            builder.fold("pods", new, ())
        elif act == "delete":
            truth.pop(f"shop/p{what}", None)
            builder.fold("pods", {}, [f"shop/p{what}"])
        elif act == "swap":
            truth = {pod.key: pod for pod in what}
            builder.swap("pods", dict(truth))
        elif act == "sweep":
            clock.advance(what)
            builder.sweep()
        else:
            world = builder.publish() or builder.world
            assert dict(world.pods.items) == truth
            assert (world.pods.roster == last) <= (set(truth) == roster)
            roster, last = set(truth), world.pods.roster
    builder.sweep()
    world = builder.publish() or builder.world
    assert dict(world.pods.items) == truth
    check_indices(world if world.at == clock.now() else replace(world, at=clock.now()))


server_acts = st.one_of(
    st.tuples(st.just("put"), pods),
    st.tuples(st.just("delete"), st.integers(0, 12)),
    st.tuples(st.sampled_from(["expire", "end", "break", "garble", "bookmark", "kill", "revive", "restore", "shut", "yield"]), st.none()),
)


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # shrinking waits for minutes
@given(st.lists(server_acts, min_size=5, max_size=40))
def test_any_history_of_faults_ends_in_the_servers_state(story: list[tuple[str, Any]]) -> None:
    """Events, relists, 410s, broken streams, outages and restores in any order: in the end the World is what the server holds, and live."""

    async def scene() -> None:
        kube = FakeKube(page_size=3)
        # Each restore goes further back than anything counted since: a datastore that has counted past what we knew cannot be told by versions.
        heights = iter(range(1_000_000, 0, -1000))
        kube.restore({"pods": [a_pod(f"p{n}") for n in range(8)]}, version=next(heights))
        pace = replace(
            FAST, wake_jitter_s=0.002, backoff_s=0.002, backoff_cap_s=0.01, heartbeat_s=0.02, lost_probe_s=0.005, restored_s=0.02
        )
        async with running(kube, "pods", pace=pace) as live:
            for act, what in story:
                match act:
                    case "put":
                        kube.put("pods", what)
                    case "delete":
                        if f"shop/p{what}" in kube.objects("pods"):
                            kube.remove("pods", f"shop/p{what}")
                    case "expire":
                        kube.expire("pods")
                    case "end":
                        kube.end_watches()
                    case "break":
                        kube.break_watches()
                    case "garble":
                        kube.garble("pods")
                    case "bookmark":
                        kube.bookmark("pods")
                    case "kill":
                        kube.kill()
                    case "revive":
                        kube.revive()
                    case "restore":
                        kube.restore({"pods": list(kube.objects("pods").values())[:5]}, version=next(heights))
                    case "shut":
                        kube.streams.shut()
                    case _:
                        await asyncio.sleep(0.003)
            kube.revive()
            kube.put("pods", a_pod("last"))
            world = await live.until(lambda w: dict(w.pods.items) == kube.objects("pods") and is_live("pods", "kube")(w), 5)
            live._builder.sweep()
            check_indices(world)

    asyncio.run(scene())


def test_unchanged_parts_are_shared() -> None:
    """A change of one pod leaves every other shelf, and every other pod, the same object."""
    builder = Builder(FakeClock(), SiteFacts(), lambda urgent: None)
    builder.fold("pods", {pod.key: pod for pod in (a_pod("p1"), a_pod("p2"))}, ())
    builder.fold("nodes", {"a": a_node("a")}, ())
    first = builder.publish()
    builder.fold("pods", {"shop/p1": a_pod("p1", cpu=7)}, ())
    second = builder.publish()
    assert first is not None
    assert second is not None
    assert second.nodes is first.nodes
    assert second.pods.items["shop/p2"] is first.pods.items["shop/p2"]
    assert second.pods.roster == first.pods.roster
    assert first.pods.items["shop/p1"].cpu_request_m == 100


def test_a_swap_of_equal_objects_is_no_news() -> None:
    """A relist that brings what is known gives no revision."""
    said: list[bool] = []
    builder = Builder(FakeClock(), SiteFacts(), said.append)
    builder.swap("pods", {pod.key: pod for pod in (a_pod("p1"), a_pod("p2"))})
    builder.publish()
    said.clear()
    builder.swap("pods", {pod.key: pod for pod in (a_pod("p1"), a_pod("p2"))})
    assert said == []
    assert builder.publish() is None


def test_renewed_leases_are_not_urgent_unless_overdue() -> None:
    """A renewal in time only ages; one after 40 s clears a problem and is shown at once."""
    clock = FakeClock()
    said: list[bool] = []
    builder = Builder(clock, SiteFacts(), said.append)
    builder.fold("leases", {"a": a_lease("a", START)}, ())
    assert said == [True]
    clock.advance(10)
    builder.fold("leases", {"a": a_lease("a", START + timedelta(seconds=10))}, ())
    assert said == [True, False]
    clock.advance(LEASE_STALE.total_seconds() + 1)
    builder.fold("leases", {"a": a_lease("a", START + timedelta(seconds=60))}, ())
    assert said == [True, False, True]


def test_a_pod_becomes_quiet_when_its_restart_is_old() -> None:
    """The slow sweep takes a pod out of the restless ones ten minutes after its restart."""
    clock = FakeClock()
    builder = Builder(clock, SiteFacts(), lambda urgent: None)
    builder.fold("pods", {"shop/p": a_pod("p", last_restart=START)}, ())
    assert set((builder.publish() or builder.world).restless_pods) == {"shop/p"}
    clock.advance(RECENT_RESTART.total_seconds() - 1)
    builder.sweep()
    assert builder.publish() is None
    clock.advance(2)
    builder.sweep()
    world = builder.publish()
    assert world is not None
    assert world.restless_pods == Map()
    assert world.pod_counts.restless == 0


def test_ages_of_a_quiet_watch_follow_the_heartbeat() -> None:
    """A quiet watch on a healthy line is current as of the last heartbeat; a broken one is as old as when it broke."""
    clock = FakeClock()
    builder = Builder(clock, SiteFacts(), lambda urgent: None)
    builder.activate(["nodes", "pods", "node_usage"])
    for name in ("nodes", "pods", "node_usage"):
        builder.live(name, listed=True)
    builder.line_good()
    builder.publish()
    clock.advance(60)
    builder.line_good()
    assert builder.publish() is None
    clock.advance(3)
    builder.troubled("pods", Trouble("timeout", "silent"))
    world = builder.publish()
    assert world is not None
    assert world.sources["pods"].as_of == START + timedelta(seconds=60)
    assert world.sources["pods"].since == START + timedelta(seconds=63)
    assert world.sources["nodes"].as_of == START + timedelta(seconds=60)
    assert world.sources["node_usage"].as_of == START  # polled: as old as its poll
    clock.advance(5)
    builder.line_lost(Trouble("refused", "refused"), clock.now())
    world = builder.publish()
    assert world is not None
    assert world.sources["nodes"].freshness is Freshness.STALE
    assert world.sources["leases"].freshness is Freshness.LOADING  # never asked for


def test_summaries_of_nodes_that_are_gone_are_dropped() -> None:
    """A node's summary leaves with the node, and none comes for a node that is not there."""
    builder = Builder(FakeClock(), SiteFacts(), lambda urgent: None)
    builder.swap("nodes", {"a": a_node("a"), "b": a_node("b")})
    builder.stats({"a": Known(some_stats("a"), "kubelet a", START), "b": Unknown("kubelet b", "timed out"), "c": Unknown("kubelet c", "x")})
    builder.swap("nodes", {"a": a_node("a")})
    world = builder.publish()
    assert world is not None
    assert set(world.node_stats) == {"a"}


def test_every_kind_has_a_shelf() -> None:
    """The builder is generic: what is a kind of the domain can be folded."""
    builder = Builder(FakeClock(), SiteFacts(), lambda urgent: None)
    for name in KINDS:
        if name not in ("node_stats", "pods", "leases"):
            builder.fold(name, {"x": a_namespace("x")}, ())
    world = builder.publish()
    assert world is not None
    assert Counter(len(world.shelf(name)) for name in KINDS if name not in ("node_stats", "pods", "leases")) == {1: len(KINDS) - 3}
