"""What acts on a PostgreSQL cluster rest on, read afresh: the Cluster object, its pods and their instance managers, and SQL, each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Any

from ...domain import kinds
from ...domain.backups import PgBackup
from ...domain.deployments import Deployment
from ...domain.errors import ColdError, NotFound, Unauthorized
from ...domain.nodes import Node
from ...domain.plans import Premise
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.readings import Known, Reading, Unknown
from ...domain.replication import ManagerStatus, SqlStatus
from ...domain.sessions import Session
from ...domain.text import plain
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ...domain.vips import EndpointSlice, Service
from ...ports import HeldLease, Kube, Means

INSTANCE_S = 2.0
"""For each instance manager and each server: one that hangs holds no other."""
VIP, WRITES = "vip", "rw"
"""Targets of `ports.Database` on the read-write path: the VIP, and the cluster address of the -rw Service."""


@dataclass(frozen=True, slots=True)
class PgFacts:
    """Each part is Known, or Unknown with the reason."""

    cluster: PgCluster
    at: datetime
    pods: Reading[Mapping[str, Pod]]
    """Of instances, by name."""
    operator: Reading[Deployment | None]
    managers: Mapping[str, Reading[ManagerStatus]]
    """By instance, for each that the operator knows."""
    sql: Mapping[str, Reading[SqlStatus]]
    """By instance, and `vip`."""
    lease: Reading[HeldLease | None]
    writers: Reading[tuple[str, ...]]
    """Instances that the -rw Service leads to."""
    backups: Reading[tuple[PgBackup, ...]]
    nodes: Reading[Mapping[str, Node]]
    sessions: Reading[tuple[Session, ...]]
    """Of the primary."""
    premises: tuple[Premise, ...] = ()
    clusters: tuple[str, ...] = ()
    """Keys of all Clusters there are; empty: not told."""
    site: str = ""
    """Key of the site's Cluster, which the configured addresses belong to; empty: cannot be told."""
    rw: bool = True
    """Whether target `rw` leads to the -rw Service of this Cluster."""

    @property
    def namesakes(self) -> bool:
        """Whether another Cluster has the same name, in another namespace."""
        return any(key != self.cluster.key and key.rpartition("/")[2] == self.cluster.name for key in self.clusters)

    @property
    def primary(self) -> str:
        return self.cluster.current_primary

    def pod(self, name: str) -> Pod | None:
        return None if isinstance(self.pods, Unknown) else self.pods.value.get(name)

    def node_of(self, name: str) -> str:
        pod = self.pod(name)
        return pod.node if pod is not None else ""

    def manager(self, name: str) -> ManagerStatus | None:
        found = self.managers.get(name)
        return found.value if isinstance(found, Known) else None

    def status(self, target: str) -> SqlStatus | None:
        found = self.sql.get(target)
        return found.value if isinstance(found, Known) else None


async def gather_cluster(key: str, means: Means, deadline_s: float) -> PgFacts:
    """Of the cluster `namespace/name`; empty: the site's. Raises NotFound, NotInstalled, and what keeps us from the Cluster object itself."""
    kube, at = means.kube, means.clock.now()
    half = deadline_s / 2
    cluster = await find_cluster(key, means, half)
    where = cluster.namespace
    labels = f"cnpg.io/cluster={cluster.name}"
    first = {
        "pods": _ask("pods", _instances(kube, cluster, half), half, at),
        "operator": _ask("operator", _operator(kube, half), half, at),
        "lease": _ask("lease", kube.lease(where, cluster.name, deadline_s=half), half, at),
        "writers": _ask("endpoints", writers(kube, cluster, half), half, at),
        "backups": _ask("backups", kube.read_all(kinds.PG_BACKUPS, namespace=where, deadline_s=half), half, at),
        "nodes": _ask("nodes", _nodes(kube, half), half, at),
        "service": _ask("services", kube.read_all(kinds.SERVICES, namespace=where, labels=labels, deadline_s=half), half, at),
        "managers": _managers(kube, cluster, at),
        "clusters": _ask("clusters", kube.read_all(kinds.PG_CLUSTERS, deadline_s=half), half, at),
    }
    found: dict[str, Any] = dict(zip(first, await asyncio.gather(*first.values()), strict=True))
    clusters, services = found.pop("clusters"), found.pop("service")
    keys = () if isinstance(clusters, Unknown) else tuple(sorted(c.key for c in clusters.value))
    rw = await introduce(means, cluster, _known(found["pods"], {}), _known(services, ()))
    sql, sessions = await _sql(means, cluster, at)
    premises = (Premise(f"cluster {cluster.key}", at), *_premises(found, sql, sessions))
    site = site_key(means.pg_cluster, keys)
    return PgFacts(cluster=cluster, at=at, sql=sql, sessions=sessions, premises=premises, clusters=keys, site=site, rw=rw, **found)


def _known(reading: Reading[Any], otherwise: Any) -> Any:
    return otherwise if isinstance(reading, Unknown) else reading.value


def site_key(configured: str, keys: tuple[str, ...]) -> str:
    """Key of the Cluster that an operator means without a word: the configured one, else the first. Empty: cannot be told."""
    if "/" in configured:
        return configured
    found = [key for key in keys if not configured or key.rpartition("/")[2] == configured]
    return "" if not found or (configured and len(found) > 1) else min(found)


def _premises(found: Mapping[str, Any], sql: Mapping[str, Reading[SqlStatus]], sessions: Reading[Any]) -> list[Premise]:
    every: dict[str, Reading[Any]] = {name: value for name, value in found.items() if name != "managers"}
    every |= {f"/pg/status of {name}": value for name, value in found["managers"].items()}
    every |= {f"SQL of {name}": value for name, value in sql.items()} | {"sessions of the primary": sessions}
    return [
        Premise(name, None, value.reason) if isinstance(value, Unknown) else Premise(name, value.as_of) for name, value in every.items()
    ]


async def _ask(title: str, question: Awaitable[Any], deadline_s: float, at: datetime) -> Reading[Any]:
    try:
        async with asyncio.timeout(deadline_s + 0.5):
            return Known(await question, title, at)
    except ColdError as error:
        trouble = trouble_of(error)
        return Unknown(title, trouble.words, trouble.kind)
    except TimeoutError:
        return Unknown(title, f"no answer within {deadline_s:.0f} s", "timeout")


async def find_cluster(key: str, means: Means, deadline_s: float) -> PgCluster:
    """Raises NotFound (with those that there are), NotInstalled, Unreachable, Forbidden."""
    wanted = key or means.pg_cluster
    namespace, slash, name = wanted.partition("/")
    if slash:
        try:
            one: PgCluster = await means.kube.read(kinds.PG_CLUSTERS, name, namespace, deadline_s=deadline_s)
        except NotFound:
            every = await means.kube.read_all(kinds.PG_CLUSTERS, deadline_s=deadline_s)
            raise no_cluster(wanted, [c.key for c in every]) from None
        return one
    every = await means.kube.read_all(kinds.PG_CLUSTERS, deadline_s=deadline_s)
    found = [c for c in every if not wanted or c.name == wanted]
    if not found or (wanted and len(found) > 1):
        raise no_cluster(wanted, [c.key for c in every])
    first: PgCluster = min(found, key=lambda c: str(c.key))
    return first


def no_cluster(wanted: str, known: list[str]) -> NotFound:
    hint = f"there are: {', '.join(sorted(known))}" if known else "there is no PostgreSQL cluster"
    return NotFound(f"no PostgreSQL cluster {plain(wanted)}".rstrip(), hint=hint)


async def _instances(kube: Kube, cluster: PgCluster, deadline_s: float) -> Mapping[str, Pod]:
    labels = f"cnpg.io/cluster={cluster.name},cnpg.io/podRole=instance"
    pods = await kube.read_all(kinds.PODS, namespace=cluster.namespace, labels=labels, deadline_s=deadline_s)
    return {pod.name: pod for pod in pods}


async def _nodes(kube: Kube, deadline_s: float) -> Mapping[str, Node]:
    return {node.name: node for node in await kube.read_all(kinds.NODES, deadline_s=deadline_s)}


async def _operator(kube: Kube, deadline_s: float) -> Deployment | None:
    every: tuple[Deployment, ...] = await kube.read_all(kinds.DEPLOYMENTS, deadline_s=deadline_s)
    named = (d for d in every if d.name.startswith("cnpg-controller-manager"))
    labelled = (d for d in every if d.labels.get("app.kubernetes.io/name") == "cloudnative-pg" and not d.name.startswith("barman"))
    return next(named, None) or next(labelled, None)


async def writers(kube: Kube, cluster: PgCluster, deadline_s: float) -> tuple[str, ...]:
    """Instances that are ready endpoints of the -rw Service. Raises ColdError."""
    service = cluster.writes_at
    labels = f"kubernetes.io/service-name={service}"
    slices: tuple[EndpointSlice, ...] = await kube.read_all(
        kinds.ENDPOINTSLICES, namespace=cluster.namespace, labels=labels, deadline_s=deadline_s
    )
    return tuple(sorted({e.pod.rpartition("/")[2] for s in slices if s.service == service for e in s.endpoints if e.ready and e.pod}))


async def _managers(kube: Kube, cluster: PgCluster, at: datetime) -> Mapping[str, Reading[ManagerStatus]]:
    names = cluster.instance_names
    asked = [_ask("/pg/status", kube.pg_status(cluster.namespace, name, deadline_s=INSTANCE_S), INSTANCE_S, at) for name in names]
    return dict(zip(names, await asyncio.gather(*asked), strict=True))


async def _sql(means: Means, cluster: PgCluster, at: datetime) -> tuple[Mapping[str, Reading[SqlStatus]], Reading[tuple[Session, ...]]]:
    if means.database is None:
        nobody = Unknown("sql", "no connection to the database servers")
        return dict.fromkeys(cluster.instance_names, nobody), nobody
    names = (*cluster.instance_names, *((VIP,) if VIP in means.database.targets else ()))
    asked = [_ask(name, means.database.status(name, deadline_s=INSTANCE_S), INSTANCE_S, at) for name in names]
    sessions = _ask("sessions", means.database.sessions(cluster.current_primary, deadline_s=INSTANCE_S), INSTANCE_S, at)
    *statuses, held = await asyncio.gather(*asked, sessions)
    return dict(zip(names, statuses, strict=True)), held


def target_stamp(cluster: PgCluster) -> str:
    """When targetPrimary was written last, as text: by it a run knows its own order again."""
    return cluster.target_primary_since.isoformat() if cluster.target_primary_since is not None else ""


async def told_by(kube: Kube, namespace: str, name: str) -> ManagerStatus | str:
    """What an instance manager says now, or in a sentence why not. Raises Unauthorized: that ends no wait."""
    try:
        return await kube.pg_status(namespace, name, deadline_s=INSTANCE_S)
    except Unauthorized:
        raise
    except ColdError as error:
        return f"{name} does not answer at /pg/status: {trouble_of(error).words}"


async def introduce(means: Means, cluster: PgCluster, pods: Mapping[str, Pod], services: tuple[Service, ...]) -> bool:
    """Tell the database adapter where the servers and the -rw Service are, where the configuration does not. Returns whether the Service has an address."""
    if means.database is None:
        return False
    await asyncio.to_thread(lambda: means.database.targets)  # the library is loaded here, not on the loop
    for name, pod in pods.items():
        if pod.ip:
            means.database.at(name, pod.ip, 5432)
    wanted = cluster.writes_at
    here = [s for s in services if s.name == wanted and s.cluster_ip not in ("", "None")]
    for service in here:
        means.database.at(WRITES, service.cluster_ip, 5432)
    return bool(here)
