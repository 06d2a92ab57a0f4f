"""Objects and a running Live for the tests of this room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from coldtui.domain.nodes import Lease, Node, NodeStats, NodeUsage, Size
from coldtui.domain.objects import Condition
from coldtui.domain.pods import Namespace, Pod
from coldtui.domain.readings import Freshness
from coldtui.domain.world import SiteFacts, World
from coldtui.lab.fakes import START, FakeKube
from coldtui.live import Live, Pace
from coldtui.live.core import Connector
from coldtui.ports import Clock

FAST = replace(
    Pace().scaled(0.02), publish_s=0.002, lazy_s=0.1, close_s=0.8, connect_s=0.3, list_s=1.0, watch_min_s=300, watch_max_s=600,
    restored_s=0.1, poll_s=0.1, stats_s=0.1, save_s=0.1,
)  # fmt: skip
"""The true rules, fifty times as fast."""


def a_node(name: str = "k3s-worker-1", ready: str = "True") -> Node:
    size = Size(4000, 8 << 30, 100 << 30, 110)
    return Node(
        name, f"uid-{name}", START, ("worker",), {}, False, (), (Condition("Ready", ready, since=START),), "10.0.0.1", name,
        "v1.34.4+k3s1", "containerd://2", "Debian", "6.1", "amd64", "boot", "10.42.0.0/24", size, size,
    )  # fmt: skip


def a_pod(
    name: str, node: str = "k3s-worker-1", *, phase: str = "Running", state: str = "", last_restart: datetime | None = None, cpu: int = 100
) -> Pod:
    ready = phase == "Running"
    return Pod(
        "shop", name, f"uid-{name}", START, node, phase, state or phase, int(ready), 1, int(last_restart is not None), last_restart, ready,
        START if ready else None, None, 30, None, "10.42.0.9", {"app": "shop"}, (), cpu, 64 << 20, 2 * cpu, 128 << 20, (), "",
    )  # fmt: skip


def a_lease(name: str, renewed: datetime) -> Lease:
    return Lease(name, renewed, observed=renewed)


def a_namespace(name: str) -> Namespace:
    return Namespace(name, "Active", START)


def a_usage(name: str, cpu_m: int, at: datetime = START) -> NodeUsage:
    return NodeUsage(name, cpu_m, 2 << 30, at)


def some_stats(name: str, at: datetime = START, rx: int | None = 1000, disk_used: int | None = 40) -> NodeStats:
    return NodeStats(name, at, 100, disk_used, 60, 10, 9, 100, 40, rx, rx, 500, 1 << 30, 3 << 30)


@asynccontextmanager
async def running(
    kube: FakeKube,
    *interests: str,
    pace: Pace = FAST,
    clock: Clock | None = None,
    state_dir: Path | None = None,
    connector: Connector | None = None,
    seed: int = 1,
) -> AsyncIterator[Live]:
    """A started Live, closed at the end."""
    live = Live(
        connector or (lambda: kube), clock=clock, site=SiteFacts(server=kube.server, context="test"), state_dir=state_dir, pace=pace,
        random=Random(seed).random,
    )  # fmt: skip
    await live.start(interests or None)
    try:
        yield live
    finally:
        await live.close()


async def eventually(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    """Wait until `condition()` is true."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError("the condition was not met in time")
        await asyncio.sleep(0.0005)


def is_live(*names: str) -> Callable[[World], bool]:
    return lambda world: all(world.sources[name].freshness is Freshness.LIVE and not world.sources[name].partial for name in names)


def trouble(name: str, kind: str) -> Callable[[World], bool]:
    def look(world: World) -> bool:
        found = world.sources[name].trouble
        return found is not None and found.kind == kind

    return look


def holds(kind: str, keys: Iterable[str]) -> Callable[[World], bool]:
    wanted = set(keys)
    return lambda world: set(world.shelf(kind).items) == wanted


def names(world: World, kind: str) -> set[str]:
    return {item.name for item in world.shelf(kind).items.values()}


Values = dict[str, Any]
