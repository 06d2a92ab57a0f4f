"""What a failover rests on: all that is read of a cluster, and beside it who holds the Lease and renews it, the failover quorum, what the operator said
of late, our rights, and, where its node is not to be trusted, whether the old primary still runs on its host."""

from __future__ import annotations

import asyncio
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from ...domain.errors import ColdError, NotFound, Unauthorized, Unreachable
from ...domain.events import Event
from ...domain.failover import CHECK_FAILED, Signs
from ...domain.kinds import LEASES, PG_CLUSTERS, PG_QUORUMS
from ...domain.nodes import Lease, Node
from ...domain.plans import Premise
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.readings import Known, Reading, Unknown
from ...domain.replication import FailoverQuorum, PrimaryLease
from ...domain.troubles import LineTrouble, trouble_of
from ...domain.values import dataclass
from ...ports import HeldLease, Kube, Means
from .facts import PgFacts, _ask, gather_cluster
from .hosted import server_on_host

RENEWS_S = 2.5
"""Between two looks at the Lease: a manager that lives renews it each 2 s (primaryLease.retryPeriodSeconds)."""
NODE_SILENT = timedelta(seconds=40)
"""A kubelet renews its lease each 10 s; after 40 s without, Kubernetes calls the node Unknown itself."""
STALLED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Rights:
    """False: certainly not permitted. A server that does not say is asked no further: the act itself will tell."""

    patch_status: bool = True
    delete_pods: bool = True
    patch_nodes: bool = True


@dataclass(frozen=True, slots=True)
class FailoverFacts:
    pg: PgFacts
    quorum: Reading[FailoverQuorum | None]
    """Asked only where the cluster wants one."""
    events: Reading[tuple[Event, ...]]
    """About the Cluster, oldest first."""
    renews: Reading[bool]
    """Whether the Lease was renewed between two looks; the holder's clock plays no part in it."""
    rights: Rights
    node_trouble: str = ""
    """Why the node of the primary is not to be trusted; empty: nothing known against it."""
    host: Reading[bool] = field(default_factory=lambda: Unknown("ssh", "not asked"))
    """Whether a container of the old primary's server runs on its host, by its container runtime over SSH."""
    premises: tuple[Premise, ...] = ()
    skew_s: float = 0.0
    """The API server's clock minus ours: moments in its objects are by that one."""

    @property
    def cluster(self) -> PgCluster:
        return self.pg.cluster

    @property
    def primary(self) -> str:
        return self.pg.primary

    @property
    def pod(self) -> Pod | None:
        """Of the primary."""
        return self.pg.pod(self.primary)

    @property
    def pods_read(self) -> bool:
        return isinstance(self.pg.pods, Known)

    @property
    def node(self) -> Node | None:
        """Of the primary."""
        return node_of(self.pg, self.primary)

    @property
    def lease(self) -> HeldLease | None:
        found = self.pg.lease
        return found.value if isinstance(found, Known) else None

    def there(self, now: datetime) -> datetime:
        """A moment of ours by the clock of the API server."""
        return now + timedelta(seconds=self.skew_s)

    def signs(self, now: datetime) -> Signs:
        """`now` by our own clock."""
        return signs_of(self, self.there(now))


async def gather_failover(key: str, means: Means, deadline_s: float) -> FailoverFacts:
    """Raises NotFound and NotInstalled as `gather_cluster`, and Unreachable with what that means when the API does not answer."""
    try:
        pg = await gather_cluster(key, means, deadline_s)
    except Unauthorized:
        raise
    except Unreachable as error:
        raise without_api(error) from None
    c, kube, at = pg.cluster, means.kube, means.clock.now()
    wants = c.synchronous is not None and c.synchronous.quorum
    some = min(3.0, deadline_s / 2)
    asked = (
        _ask("failover quorum", _quorum(kube, c, some), some, at) if wants else _not_asked(),
        _ask("events", _events(kube, c, some), some, at),
        _renews(pg, means, some),
        _rights(kube, c.namespace, some),
        _node_trouble(pg, means, some),
    )
    quorum, events, renews, rights, node_trouble = await asyncio.gather(*asked)
    host = await _on_host(pg, means, node_trouble, some)
    premises = (*pg.premises, *_premises(wants, quorum, events, renews, host, node_trouble))
    return FailoverFacts(pg, quorum, events, renews, rights, node_trouble, host, premises, kube.clock_skew_s or 0.0)


def without_api(error: Unreachable) -> Unreachable:
    """Instances act on the Cluster object and on nothing else."""
    return LineTrouble(
        "nothing can be promoted while the Kubernetes API does not answer: instances act on the Cluster object alone",
        kind=trouble_of(error).kind,
        detail=trouble_of(error).words,
        hint="bring K3s back first: coldtui node restart-k3s on a server; coldtui postgres status asks the servers by SQL meanwhile",
    )


async def _quorum(kube: Kube, cluster: PgCluster, deadline_s: float) -> FailoverQuorum | None:
    """None: none is recorded."""
    try:
        found: FailoverQuorum = await kube.read(PG_QUORUMS, cluster.name, cluster.namespace, deadline_s=deadline_s)
    except NotFound:
        return None
    return found


async def _events(kube: Kube, cluster: PgCluster, deadline_s: float) -> tuple[Event, ...]:
    """About the Cluster and about the pod of its primary."""
    objects = [("Cluster", cluster.name), *([("Pod", cluster.current_primary)] if cluster.current_primary else [])]
    found = await asyncio.gather(*(kube.events_of(kind, name, cluster.namespace, deadline_s=deadline_s) for kind, name in objects))
    return tuple(event for every in found for event in every)


async def _not_asked() -> Reading[FailoverQuorum | None]:
    return Unknown("failover quorum", "not asked")


def _premises(
    wants: bool, quorum: Reading[Any], events: Reading[Any], renews: Reading[Any], host: Reading[Any], trouble: str
) -> list[Premise]:
    every: dict[str, Reading[Any]] = {"events of the cluster": events, "renewal of the lease": renews}
    every |= {"failover quorum": quorum} if wants else {}
    every |= {"containers on the host of the primary, over SSH": host} if trouble else {}
    return [Premise(name, None, r.reason) if isinstance(r, Unknown) else Premise(name, r.as_of) for name, r in every.items()]


# ------------------------------------------------------------ the lease


async def _renews(pg: PgFacts, means: Means, deadline_s: float) -> Reading[bool]:
    """A second look, long enough after the first for a living manager to have renewed it."""
    if isinstance(pg.lease, Unknown):
        return Unknown("lease", pg.lease.reason)
    first = pg.lease.value
    if first is None or not first.holder:
        return Known(False, "lease", pg.at)
    left = RENEWS_S - (means.clock.now() - pg.at).total_seconds()
    if left > 0:
        await asyncio.sleep(left)
    c = pg.cluster
    found: Reading[HeldLease | None] = await _ask(
        "lease", means.kube.lease(c.namespace, c.name, deadline_s=deadline_s), deadline_s, means.clock.now()
    )
    if isinstance(found, Unknown):
        return found
    return Known(moved(first, found.value), "lease", found.as_of)


def moved(before: HeldLease, after: HeldLease | None) -> bool:
    """Whether the same holder has renewed it meanwhile."""
    return after is not None and after.holder == before.holder and after.renewed != before.renewed


# ------------------------------------------------------------ rights


async def _rights(kube: Kube, namespace: str, deadline_s: float) -> Rights:
    async def may(verb: str, group: str, resource: str, space: str, sub: str = "") -> bool:
        try:
            return await kube.may(verb, group, resource, namespace=space, subresource=sub, deadline_s=deadline_s)
        except ColdError:
            return True

    asked = (
        may("patch", PG_CLUSTERS.group, PG_CLUSTERS.plural, namespace, "status"),
        may("delete", "", "pods", namespace),
        may("patch", "", "nodes", ""),
    )
    return Rights(*await asyncio.gather(*asked))


# ------------------------------------------------------------ the node and its host


def node_of(pg: PgFacts, name: str) -> Node | None:
    pod = pg.pod(name)
    return pg.nodes.value.get(pod.node) if pod is not None and isinstance(pg.nodes, Known) else None


async def _node_trouble(pg: PgFacts, means: Means, deadline_s: float) -> str:
    """A node that was cut off keeps its pods Ready for some 45 s: its lease tells earlier."""
    pod = pg.pod(pg.primary)
    if pod is None or not pod.node or isinstance(pg.nodes, Unknown):
        return ""
    node = pg.nodes.value.get(pod.node)
    if node is None:
        return f"its node {pod.node} is gone"
    if node.ready != "True":
        return f"its node {node.name} is {node.status.partition(',')[0]}"
    try:
        lease: Lease = await means.kube.read(LEASES, node.name, deadline_s=deadline_s)
    except ColdError:
        return ""  # the node's own word stands
    if lease.renewed is None:
        return ""
    silent = means.clock.now() + timedelta(seconds=means.kube.clock_skew_s or 0.0) - lease.renewed
    return f"its node {node.name} has been silent for {int(silent.total_seconds())} s" if silent > NODE_SILENT else ""


async def _on_host(pg: PgFacts, means: Means, trouble: str, deadline_s: float) -> Reading[bool]:
    """Asked only where the API's word for the node is not enough."""
    pod = pg.pod(pg.primary)
    if not trouble or pod is None or not pod.node:
        return Unknown("ssh", "not asked")
    return await server_on_host(means, pod, node_of(pg, pod.name), deadline_s)


# ------------------------------------------------------------ signs


def signs_of(facts: FailoverFacts, now: datetime) -> Signs:
    pg = facts.pg
    return Signs(
        cluster=pg.cluster,
        now=now,
        pods=pg.pods.value if isinstance(pg.pods, Known) else None,
        managers=pg.managers,
        sql=pg.sql,
        operator=pg.operator,
        lease=_lease_of(facts),
        quorum=facts.quorum,
        check_failed=_check_failed(facts.events),
        node_trouble=facts.node_trouble,
        turned_back=_turned_back(facts.events, pg.cluster, now),
    )


def _lease_of(facts: FailoverFacts) -> Reading[PrimaryLease | None]:
    """With the time at which we saw it renewed in place of the holder's own, where we did."""
    found = facts.pg.lease
    if isinstance(found, Unknown) or found.value is None:
        return found if isinstance(found, Unknown) else Known(None, found.source, found.as_of)
    seen = isinstance(facts.renews, Known) and facts.renews.value
    renewed = facts.there(facts.pg.at) if seen else found.value.renewed
    return Known(PrimaryLease(found.value.holder, renewed, found.value.duration_s), found.source, found.as_of)


def _check_failed(events: Reading[tuple[Event, ...]]) -> Reading[datetime | None]:
    if isinstance(events, Unknown):
        return events
    return Known(max((e.last for e in events.value if e.reason == CHECK_FAILED), default=None), events.source, events.as_of)


def _turned_back(events: Reading[tuple[Event, ...]], cluster: PgCluster, now: datetime) -> tuple[datetime, ...]:
    """A failover from the same primary that was begun more than once has gone back each time but the last."""
    if isinstance(events, Unknown):
        return ()
    begun: list[datetime] = []
    for event in events.value:
        if event.reason == "FailingOver" and cluster.current_primary in event.message.split() and now - event.last < STALLED:
            begun += [event.first, *([event.last] * (event.count - 1))]
    return tuple(sorted(begun))[:-1]
