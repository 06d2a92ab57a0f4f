"""What cannot be watched and is asked for again and again: metrics.k8s.io, and the summary of each kubelet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from threading import Thread

from ..domain.errors import Closed, ColdError, Forbidden, NotInstalled
from ..domain.kinds import NODE_STATS, NODES, POD_USAGE, PODS, Kind
from ..domain.nodes import Node, NodeStats
from ..domain.readings import Known, Reading, Trouble, Unknown
from ..domain.troubles import trouble_of
from ..ports import Clock, Kube, KubeStreams
from .backoff import Backoff
from .builder import Builder
from .line import Line
from .pace import Pace
from .reflector import unreadable
from .waits import happens, within

log = logging.getLogger("coldtui.live")

PODS_AT_MOST = 3_000
"""Pod metrics of a bigger site are read only when asked for by name."""
TOO_MANY = Trouble("not-installed", f"not read: more than {PODS_AT_MOST:,} pods", "asked for by name it is read")
"""Of the kind that raises no alarm: nothing is broken."""
MANY_NODES = 50
AT_ONCE = 4


class Poller:
    """One polled collection, in a daemon thread of its own."""

    def __init__(
        self,
        kind: Kind,
        streams: Callable[[], KubeStreams],
        builder: Builder,
        line: Line,
        clock: Clock,
        pace: Pace,
        random: Callable[[], float],
        *,
        asked: bool,
    ) -> None:
        """`streams()` are those of the client of the moment; `asked`: wanted by name, whatever it costs."""
        self._kind, self._streams, self._builder, self._line, self._pace = kind, streams, builder, line, pace
        self._backoff = Backoff(pace.backoff_s, pace.backoff_cap_s, pace.healthy_s, clock, random)
        self.asked = asked
        self.thread = Thread(target=self._run, name=f"live-{kind.name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        while not self._line.closed:
            generation = self._line.generation
            try:
                delay = self._turn()
            except Exception as error:
                log.error("%s: fault of this program, tried again", self._kind.name, exc_info=error)
                delay = self._backoff.next()
                self._builder.troubled(self._kind.name, trouble_of(error), delay)
            self._line.wait(delay, generation)

    def _turn(self) -> float:
        name, pace = self._kind.name, self._pace
        careful = self._kind is POD_USAGE and not self.asked
        if careful and self._builder.arriving(PODS.name):
            return pace.settle_s  # how many there are is not known yet
        if careful and self._builder.count(PODS.name) > PODS_AT_MOST:
            if self._builder.state(name).trouble is None:
                self._builder.swap(name, {})
                self._builder.troubled(name, TOO_MANY, pace.poll_s)
            return pace.poll_s
        try:
            page = self._streams().poll(self._kind, deadline_s=pace.poll_s)
        except Closed:
            return self._backoff.next()
        except ColdError as error:
            waits = {Forbidden: pace.forbidden_s, NotInstalled: pace.missing_s}
            delay = waits.get(type(error)) or self._backoff.next()
            self._builder.troubled(name, trouble_of(error), delay)
            return delay
        self._backoff.reset()
        self._builder.hold(name, unreadable(page.skipped) if page.skipped else None)
        self._builder.swap(name, {item.key: item for item in page.items}, live=True)
        return pace.poll_s


async def read_stats(kube: Kube, nodes: Sequence[Node], builder: Builder, clock: Clock, deadline_s: float) -> None:
    """Ask these kubelets, four at a time; each answers, refuses or hangs on its own."""
    gate = asyncio.Semaphore(AT_ONCE)
    troubles: list[Trouble] = []

    async def one(node: Node) -> Reading[NodeStats]:
        source = f"kubelet {node.name}"
        async with gate:
            try:
                found: NodeStats = await within(kube.node_stats(node.name, node.internal_ip, deadline_s=deadline_s), deadline_s * 1.1)
            except (ColdError, TimeoutError) as error:
                trouble = trouble_of(error)
            except Exception as error:
                log.error("%s: fault of this program, tried again", source, exc_info=error)
                trouble = trouble_of(error)
            else:
                return Known(found, source, clock.now())
            troubles.append(trouble)
            return Unknown(source, trouble.words)

    readings = await asyncio.gather(*(one(node) for node in nodes))
    builder.stats({node.name: reading for node, reading in zip(nodes, readings, strict=True)})
    if troubles and len(troubles) == len(nodes):
        builder.troubled(NODE_STATS.name, troubles[0])
    else:
        builder.live(NODE_STATS.name, listed=True)


class StatsRounds:
    """All kubelets each 15 s; on a big site 50 of them each minute, in turn."""

    def __init__(self, kube: Callable[[], Kube], line: Line, builder: Builder, clock: Clock, pace: Pace) -> None:
        self._kube, self._line, self._builder, self._clock, self._pace = kube, line, builder, clock, pace
        self._next = 0
        self.nudge = asyncio.Event()
        """Set it for a round at once."""

    async def run(self) -> None:
        while True:
            self.nudge.clear()
            wait_s = await self._round()
            await happens(self.nudge, wait_s)

    async def _round(self) -> float:
        """Returns seconds until the next."""
        if not self._line.up or self._builder.state(NODES.name).as_of is None:
            return self._pace.settle_s
        nodes: list[Node] = sorted(self._builder.items(NODES.name).values(), key=lambda node: node.name)
        many = len(nodes) > MANY_NODES
        if many:
            first = self._next % len(nodes)
            self._next = first + MANY_NODES
            nodes = (nodes + nodes)[first : first + MANY_NODES]
        await read_stats(self._kube(), nodes, self._builder, self._clock, self._pace.stats_deadline_s)
        return self._pace.stats_many_s if many else self._pace.stats_s
