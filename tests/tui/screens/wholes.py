"""A whole healthy site as its API objects describe it, for the screens that show everything; made worse by `tests.tui.worlds`' transformations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from immutables import Map

from coldtui.domain.events import Event
from coldtui.domain.nodes import Lease, NodeStats, NodeUsage
from coldtui.domain.readings import Known, Reading, SourceState, Trouble
from coldtui.domain.world import Shelf, SiteFacts, World
from coldtui.tui.app import ColdApp
from coldtui.tui.site import Options
from tests import sample
from tests.tui import worlds
from tests.tui.consoles import FixedLive, FixedSite

NOW = sample.NOW


def shelf(items: list[Any]) -> Shelf[Any]:
    return Shelf(Map({item.key: item for item in items}), 1)


def whole() -> World:
    """Nodes with load and trends, database, storage, VIP, backups, two applications and a few events."""
    base = sample.build(sample.healthy(), facts=SiteFacts("cold-site", "https://192.168.15.110:6443", "cold", "uid", "v1.34.4+k3s1"))
    names = sorted(base.nodes.items)
    stats: Map[str, Reading[NodeStats]] = Map()
    for i, name in enumerate(names):
        used, size = (40 + 4 * i) * 2**30, 200 * 2**30
        told = NodeStats(name, NOW, size, used, size - used, 1000, 900, size, used // 4, 10, 10, 900, 4 * 2**30, 4 * 2**30)
        stats = stats.set(name, Known(told, "node_stats", NOW))
    wave = tuple(0.3 + 0.02 * (i % 5) for i in range(40))
    trends = {"cpu": wave, "memory": tuple(2 * v for v in wave), "disk": (0.25,) * 40, "net_rx": (12e6,) * 40, "net_tx": (9e6,) * 40}
    applications = [replace(worlds.deployment(name), created=NOW - timedelta(days=41)) for name in ("cold-backend", "customer-portal")]
    events = [
        Event("cold-prod", "e1", "Normal", "Pulled", "image already present", "Pod", "cold-backend-7d9f6c-0x2", "cold-prod", 1, NOW, NOW - timedelta(minutes=4), "kubelet"),
        Event("default", "e2", "Warning", "FreeDiskSpaceFailed", "wanted to free 4 GiB", "Node", "k3s-worker-2", "", 3, NOW, NOW - timedelta(minutes=9), "kubelet"),
    ]  # fmt: skip
    pods = [
        *base.pods.items.values(),
        *(replace(p, created=NOW - timedelta(days=4)) for p in worlds.healthy().pods.items.values() if p.namespace != "postgres"),
    ]
    base = worlds.with_pods(base, pods)
    return replace(
        base,
        leases=shelf([Lease(name, NOW, NOW) for name in names]),
        node_usage=shelf([NodeUsage(name, 900 + 100 * i, (3 + i) * 2**30, NOW) for i, name in enumerate(names)]),
        node_stats=stats,
        trends=Map(trends),
        deployments=shelf([*base.deployments.items.values(), *applications]),
        events=shelf(events),
    )


def lost(world: World) -> World:
    """The API went away 42 s ago."""
    trouble = Trouble("refused", "connection refused by 127.0.0.1:6443", "is the K3s service running?")
    then = NOW - timedelta(seconds=42)
    return worlds.sourced(world, *(SourceState(name, as_of=then, trouble=trouble, since=then) for name in world.sources))


def app_of(world: World, *, start: str, theme: str = "cold") -> ColdApp:
    return ColdApp(FixedSite(FixedLive(world)), Options(theme=theme, start=start, now=lambda: NOW, state_dir=Path("/nonexistent")))
