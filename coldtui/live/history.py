"""Trends: a sample each 15 s, one hour long, made from what the World knows."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import nan

from immutables import Map

from ..domain.kinds import NODE_USAGE
from ..domain.nodes import Node, NodeStats, NodeUsage
from ..domain.readings import Known
from ..domain.world import Trend, World

SAMPLES = 240
"""One hour of 15 s."""
SAMPLES_MANY = 40
"""Per node with more than 50 nodes, so that 1,000 nodes do not cost tens of megabytes."""
MANY_NODES = 50
RATE_AGE = timedelta(seconds=90)
"""A rate made from older counters is no sample for now."""


class History:
    """Ring buffers. One caller at a time."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._last_at: float | None = None
        self.trends: Map[str, Trend] = Map()
        self._counters: dict[str, NodeStats] = {}
        self._rates: dict[str, tuple[datetime, float | None, float | None]] = {}

    def sample(self, world: World, now: datetime, monotonic: float) -> Map[str, Trend]:
        """Take one sample of everything and return the new trends. Missed steps (a suspended machine) become NaN."""
        missed = 0
        if self._last_at is not None:
            missed = max(0, min(SAMPLES, round((monotonic - self._last_at) / self._step_s) - 1))
        self._last_at = monotonic
        nodes = list(world.nodes.items.values())
        size = SAMPLES if len(nodes) <= MANY_NODES else SAMPLES_MANY
        trends: dict[str, Trend] = {}
        sums: dict[str, tuple[float, float]] = {}
        usage_live = world.sources[NODE_USAGE.name].whole

        def add(name: str, node: str, share: tuple[float, float] | None) -> None:
            key = f"{name}/{node}"
            value = share[0] / share[1] if share and share[1] > 0 else nan
            if key in self.trends or value == value:  # a trend begins with its first value
                trends[key] = self._extended(key, value, missed, size)
            if share and share[1] > 0:
                part, whole = sums.get(name, (0.0, 0.0))
                sums[name] = (part + share[0], whole + share[1])

        for node in nodes:
            reading = world.node_stats.get(node.name)
            stats = reading.value if isinstance(reading, Known) else None
            usage = world.node_usage.items.get(node.name) if usage_live else None
            add("cpu", node.name, _cpu(node, usage, stats))
            add("memory", node.name, _memory(node, usage, stats))
            add("disk", node.name, _disk(stats))
            rx, tx = self._rate(node.name, stats, now)
            add("net_rx", node.name, None if rx is None else (rx, 1.0))
            add("net_tx", node.name, None if tx is None else (tx, 1.0))
        for name in ("cpu", "memory", "disk", "net_rx", "net_tx"):
            part, whole = sums.get(name, (nan, 1.0))
            value = part if name.startswith("net") else part / whole
            if name in self.trends or value == value:
                trends[name] = self._extended(name, value, missed, SAMPLES)
        known = {node.name for node in nodes}
        for gone in self._counters.keys() - known:
            del self._counters[gone]
            self._rates.pop(gone, None)
        self.trends = Map(trends)
        return self.trends

    def _extended(self, key: str, value: float, missed: int, size: int) -> Trend:
        old = self.trends.get(key, ())
        return (*old, *((nan,) * missed if old else ()), value)[-size:]

    def _rate(self, node: str, stats: NodeStats | None, now: datetime) -> tuple[float | None, float | None]:
        """Bytes per second since the kubelet's previous summary; None when there is none, or the counter fell (reboot)."""
        if stats is not None:
            before = self._counters.get(node)
            if before is None or stats.at != before.at:
                self._counters[node] = stats
                if before is not None and stats.at > before.at:
                    seconds = (stats.at - before.at).total_seconds()
                    self._rates[node] = (now, _per_second(before.rx_b, stats.rx_b, seconds), _per_second(before.tx_b, stats.tx_b, seconds))
                else:
                    self._rates.pop(node, None)
        made, rx, tx = self._rates.get(node, (now, None, None))
        return (rx, tx) if stats is not None and now - made <= RATE_AGE else (None, None)


def _per_second(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None or after < before:
        return None
    return (after - before) / seconds


Share = tuple[float, float] | None


def _cpu(node: Node, usage: NodeUsage | None, stats: NodeStats | None) -> Share:
    """metrics-server's number, or else the kubelet's own."""
    used = usage.cpu_m if usage else stats.cpu_m if stats else None
    return None if used is None else (used, node.allocatable.cpu_m)


def _memory(node: Node, usage: NodeUsage | None, stats: NodeStats | None) -> Share:
    used = usage.memory_b if usage else stats.memory_working_b if stats else None
    return None if used is None else (used, node.allocatable.memory_b)


def _disk(stats: NodeStats | None) -> Share:
    if stats is None or stats.disk_used_b is None or stats.disk_available_b is None:
        return None
    return (stats.disk_used_b, stats.disk_used_b + stats.disk_available_b)
