"""Services of type LoadBalancer and who announces their addresses (MetalLB, layer 2)."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from .memo import Last
from .objects import Condition, Ref
from .problems import Problem, Severity
from .readings import Freshness, Known, Reading, Unknown
from .selectors import Selector
from .values import dataclass
from .verdicts import Grade, Verdict, seen, unsure

if TYPE_CHECKING:
    from .nodes import Node
    from .postgres import PgCluster
    from .world import Shelf, World


@dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    port: int
    protocol: str = "TCP"
    target: str = ""
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    namespace: str
    name: str
    created: datetime | None = None
    type: str = "ClusterIP"
    cluster_ip: str = ""
    external_ips: tuple[str, ...] = ()
    lb_ips: tuple[str, ...] = ()
    """Assigned addresses (status.loadBalancer.ingress)."""
    lb_hostnames: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    traffic_policy: str = "Cluster"
    """externalTrafficPolicy: with Local only nodes with an endpoint of their own announce."""
    lb_class: str = ""
    wanted_ips: tuple[str, ...] = ()
    """Annotation metallb.io/loadBalancerIPs, else spec.loadBalancerIP."""
    wanted_pool: str = ""
    pool: str = ""
    """Annotation metallb.io/ip-allocated-from-pool."""
    shared_key: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("services", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Endpoint:
    addresses: tuple[str, ...]
    ready: bool
    """Absent means ready, as the API says."""
    serving: bool
    terminating: bool = False
    node: str = ""
    pod: str = ""
    """`namespace/name` when the target is a pod."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    namespace: str
    name: str
    service: str = ""
    """Name of the Service, from label kubernetes.io/service-name."""
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class IpPool:
    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    """CIDRs or a-b ranges, as written."""
    auto_assign: bool = True
    assigned: int | None = None
    """None: this MetalLB does not count."""
    available: int | None = None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("ip_pools", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class L2Advertisement:
    """Which pools are announced from which nodes. Empty pools and pool selectors mean all pools; empty node selectors all nodes."""

    namespace: str
    name: str
    pools: tuple[str, ...] = ()
    pool_selectors: tuple[Selector, ...] = ()
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    interfaces: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class L2Status:
    """MetalLB's word on who announces a Service; can be wrong or stick after a failover, so a probe beats it."""

    namespace: str
    name: str
    node: str = ""
    service_namespace: str = ""
    service: str = ""
    interfaces: tuple[str, ...] = ()
    created: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def service_key(self) -> str:
        return f"{self.service_namespace}/{self.service}"


EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
ADDRESS_GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Vip:
    """One address of a Service of type LoadBalancer. Who announces it is MetalLB's word, not a probe."""

    address: str
    """Empty: none assigned yet."""
    service: Service | None
    """None: no Service holds the address."""
    pool: str
    announcers: tuple[str, ...]
    """Nodes; more than one is wrong for one layer 2 address."""
    announced_by: str
    """Where the announcers come from: `l2_statuses`, `events`, or empty."""
    endpoints_ready: int | None
    """None: not known."""
    endpoints: int | None
    elected: Reading[str]
    """The node that should announce it now, as MetalLB elects."""
    following: Reading[str]
    """The node that takes over when the announcer goes."""
    verdict: Verdict

    @property
    def key(self) -> str:
        return f"{self.address or '?'} {self.service.key if self.service else ''}"


def contains(pool: IpPool, address: str) -> bool:
    """Whether an address lies in a pool's CIDRs or ranges; False for text that is no address."""
    try:
        ip = ipaddress.ip_address(address)
        for part in pool.addresses:
            low, dash, high = part.partition("-")
            if dash:
                first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
                if first.version == ip.version == last.version and int(first) <= int(ip) <= int(last):
                    return True
            elif ip in ipaddress.ip_network(part.strip(), strict=False):
                return True
    except ValueError:
        return False
    return False


def pool_of(world: World, service: Service, address: str) -> str:
    """The pool an address comes from: MetalLB's annotation, else the pool whose range holds it."""
    return service.pool or min((p.name for p in world.ip_pools.items.values() if contains(p, address)), default="")


def advertisements(world: World, service: Service, pool: str) -> tuple[L2Advertisement, ...]:
    """The L2Advertisements that cover this Service's address."""
    labels = next((p.labels for p in world.ip_pools.items.values() if p.name == pool), {})
    return tuple(
        a
        for a in world.l2_advertisements.items.values()
        if (pool in a.pools or any(s.matches(labels) for s in a.pool_selectors) or not (a.pools or a.pool_selectors))
        and (not a.service_selectors or any(s.matches(service.labels) for s in a.service_selectors))
    )


@lru_cache(maxsize=64)
def election_order(nodes: tuple[str, ...], address: str) -> tuple[str, ...]:
    """Nodes in MetalLB's order (speaker/layer2_controller.go): SHA-256 of `node#ip`, the lowest announces."""
    return tuple(sorted(nodes, key=lambda node: hashlib.sha256(f"{node}#{address}".encode()).digest()))


def _slices_by_service(world: World) -> dict[str, list[EndpointSlice]]:
    found: dict[str, list[EndpointSlice]] = {}
    for piece in world.endpointslices.items.values():
        if piece.service:
            found.setdefault(f"{piece.namespace}/{piece.service}", []).append(piece)
    return found


def _dead_speakers(world: World) -> set[str]:
    """Nodes whose speaker pod is in trouble (healthy pods are not looked at: there may be 20,000)."""
    return {
        pod.node
        for pod in world.restless_pods.values()
        if pod.node
        and not pod.is_ready
        and (pod.labels.get("component") == "speaker" or pod.labels.get("app.kubernetes.io/component") == "speaker")
    }


def _eligible(world: World, service: Service, pool: str, endpoints: list[Endpoint]) -> tuple[str, ...]:
    """Nodes that may announce: Ready (which stands for a live speaker), matched by an advertisement, not excluded."""
    adverts = advertisements(world, service, pool)
    everywhere = any(not a.node_selectors for a in adverts)
    selectors = [s for a in adverts for s in a.node_selectors]
    dead = _dead_speakers(world)
    local = {e.node for e in endpoints if e.serving and e.node} if service.traffic_policy == "Local" else None
    return tuple(
        node.name
        for node in _sound(world.nodes)
        if (everywhere or any(s.matches(node.labels) for s in selectors))
        and node.name not in dead
        and (local is None or node.name in local)
    )


def _find_sound(nodes: Shelf[Node]) -> tuple[Node, ...]:
    def sound(node: Node) -> bool:
        network = node.condition("NetworkUnavailable")
        return node.ready == "True" and EXCLUDE not in node.labels and (network is None or network.status != "True")

    return tuple(node for node in nodes.items.values() if sound(node))


_sound = Last(_find_sound)
"""Nodes that may announce as far as the nodes themselves go. Asked for each address, of perhaps 1,000 nodes."""


def _event_announcer(world: World, service: Service) -> str:
    """Older MetalLB says it only in events, which expire: `announcing from node "worker-1" with protocol "layer2"`."""
    newest = max(
        (
            e
            for e in world.events.items.values()
            if e.reason == "nodeAssigned" and e.object_name == service.name and e.object_namespace == service.namespace
        ),
        key=lambda e: e.last,
        default=None,
    )
    parts = newest.message.split('"') if newest is not None else []
    return parts[1] if len(parts) > 2 else ""


def _one(world: World, service: Service, address: str, slices: dict[str, list[EndpointSlice]], statuses: dict[str, list[str]]) -> Vip:
    pieces = slices.get(service.key, [])
    points = [e for piece in pieces for e in piece.endpoints]
    counted = seen(world, "endpointslices")
    ready = len({a for e in points if e.ready for a in e.addresses[:1]}) if counted else None
    total = len({a for e in points for a in e.addresses[:1]}) if counted else None
    pool = pool_of(world, service, address)
    eventful = world.sources["l2_statuses"].freshness is Freshness.NOT_INSTALLED
    source = "events" if eventful else "l2_statuses"
    told = [_event_announcer(world, service)] if eventful else statuses.get(service.key, [])
    announcers = tuple(sorted({node for node in told if node}))
    elected, following = _predict(world, service, address, pool, points, announcers)
    judged = _verdict(world, service, address, pool, announcers, source, ready, total)
    return Vip(address, service, pool, announcers, source if announcers else "", ready, total, elected, following, judged)


def _predict(
    world: World, service: Service, address: str, pool: str, points: list[Endpoint], announcers: tuple[str, ...]
) -> tuple[Reading[str], Reading[str]]:
    source = "election"
    if doubt := unsure(
        world, "nodes", "l2_advertisements", "ip_pools", *(("endpointslices",) if service.traffic_policy == "Local" else ())
    ):
        return Unknown(source, doubt), Unknown(source, doubt)
    as_of = world.sources["nodes"].as_of
    order = election_order(_eligible(world, service, pool, points), address)
    if not order or as_of is None or not address:
        none = Unknown(source, "no node may announce it")
        return none, none
    heirs = tuple(node for node in order if node not in announcers) if announcers else order[1:]
    heir: Reading[str] = Known(heirs[0], source, as_of) if heirs else Unknown(source, "no other node may announce it")
    return Known(order[0], source, as_of), heir


def _verdict(
    world: World, service: Service, address: str, pool: str, announcers: tuple[str, ...], source: str, ready: int | None, total: int | None
) -> Verdict:
    if doubt := unsure(world, "services", "endpointslices"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    if not address:
        return Verdict(Grade.BAD, "no address", f"wants {', '.join(service.wanted_ips)}" if service.wanted_ips else "none was assigned")
    if ready == 0:
        return Verdict(Grade.BAD, "no endpoints", f"0 of {total} ready" if total else "its selector finds no pod")
    if world.sources["ip_pools"].freshness is Freshness.NOT_INSTALLED:
        return Verdict(Grade.UNKNOWN, "unknown", "MetalLB is not installed: who announces it is not known")
    if pool and not unsure(world, "l2_advertisements", "ip_pools") and not advertisements(world, service, pool):
        return Verdict(Grade.BAD, "not announced", f"no L2Advertisement covers pool {pool} (BGP is not read)")
    if not announcers:
        if doubt := unsure(world, "l2_statuses"):  # also when it is not installed: events expire, so that none proves nothing
            return Verdict(Grade.UNKNOWN, "unknown", f"announcer not known: {doubt}")
        return Verdict(Grade.BAD, "no announcer", "no node says that it announces it")
    if len(announcers) > 1:
        return Verdict(Grade.PART, "two announcers", " and ".join(announcers))
    if doubt := unsure(world, "nodes", source):
        return Verdict(Grade.UNKNOWN, "unknown", f"{announcers[0]} when last seen; {doubt}")
    node = world.nodes.items.get(announcers[0])
    if node is None or node.ready != "True":
        return Verdict(Grade.UNKNOWN, "unknown", f"{announcers[0]} announced it and is {'gone' if node is None else node.status}")
    return Verdict(
        Grade.GOOD, "announced", "by MetalLB's word, not probed" if source == "l2_statuses" else "by MetalLB's last event, not probed"
    )


def vips(world: World) -> tuple[Vip, ...]:
    """All addresses of Services of type LoadBalancer, and the Services that wait for one."""
    wanted = [s for s in world.services.items.values() if s.type == "LoadBalancer"]
    if not wanted:
        return ()
    return _vips(world, wanted)


def _vips(world: World, services: list[Service]) -> tuple[Vip, ...]:
    slices = _slices_by_service(world)
    statuses: dict[str, list[str]] = {}
    for status in world.l2_statuses.items.values():
        if status.node:
            statuses.setdefault(status.service_key, []).append(status.node)
    found = [_one(world, s, address, slices, statuses) for s in services for address in s.lb_ips or ("",)]
    return tuple(sorted(found, key=lambda v: (_address_order(v.address), v.key)))


def _address_order(address: str) -> tuple[int, int]:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return (9, 0)
    return (ip.version, int(ip))


def vip(world: World, address: str) -> Vip:
    """One address, also when no Service holds it."""
    for found in vips(world):
        if found.address == address:
            return found
    doubt = unsure(world, "services")
    judged = Verdict(Grade.UNKNOWN, "unknown", doubt) if doubt else Verdict(Grade.BAD, "no Service", "no Service holds this address")
    nobody = Unknown("election", "no Service holds it")
    return Vip(address, None, "", (), "", None, None, nobody, nobody, judged)


def database_vips(world: World, cluster: PgCluster, *, writes: bool = False) -> tuple[Vip, ...]:
    """Addresses that lead to a PostgreSQL cluster, straight or through a pooler: those to the primary first. `writes`: those alone."""
    poolers = {p.name: p.type for p in world.pg_poolers.items.values() if p.namespace == cluster.namespace and p.cluster == cluster.name}
    services: list[tuple[bool, Service]] = []
    for s in world.services.items.values():
        if s.type != "LoadBalancer" or s.namespace != cluster.namespace:
            continue
        if s.selector.get("cnpg.io/cluster") == cluster.name:
            services.append(("primary" not in (s.selector.get("cnpg.io/instanceRole"), s.selector.get("role")), s))
        elif (pooler := s.selector.get("cnpg.io/poolerName", "")) in poolers:
            services.append((poolers[pooler] != "rw", s))
    services = [(replica, s) for replica, s in services if not (writes and replica)]
    if not services:
        return ()
    order = {s.key: replica for replica, s in services}
    found = _vips(world, [s for _, s in services])
    return tuple(sorted(found, key=lambda v: order[v.service.key] if v.service else True))


def trouble(world: World, v: Vip, now: datetime) -> Problem | None:
    """What is wrong with one address, or None. What is merely unknown is no problem of the address."""
    if v.service is None:
        return None
    s, judged = v.service, v.verdict
    ports = ", ".join(str(p.port) for p in s.ports[:3])
    hits = f"clients of {s.key}" + (f" on port {ports}" if ports else "")
    if not v.address:
        if judged.grade is Grade.UNKNOWN or (s.created is not None and now - s.created < ADDRESS_GRACE):
            return None
        refused = max(
            (
                e
                for e in world.events.items.values()
                if e.reason == "AllocationFailed" and e.object_name == s.name and e.object_namespace == s.namespace
            ),
            key=lambda e: e.last,
            default=None,
        )
        return Problem(
            s.ref, Severity.WARNING, f"service {s.name} has no address", s.created, hits, refused.message if refused else judged.why
        )
    if judged.word == "no endpoints":
        return Problem(s.ref, Severity.CRITICAL, f"VIP {v.address} ({s.name}) has no ready endpoint", None, hits, judged.why)
    if judged.word in ("not announced", "no announcer"):
        return Problem(s.ref, Severity.CRITICAL, f"VIP {v.address} ({s.name}) is announced by nobody", None, hits, judged.why)
    if judged.word == "two announcers":
        return Problem(
            s.ref, Severity.WARNING, f"VIP {v.address} ({s.name}) is announced by {len(v.announcers)} nodes", None, hits, judged.why
        )
    if len(v.announcers) == 1 and seen(world, "nodes"):
        node = world.nodes.items.get(v.announcers[0])
        if node is None or node.ready != "True":
            state = "does not exist" if node is None else f"is {node.status}"
            heir = f"next is {v.following.value}" if isinstance(v.following, Known) else ""
            return Problem(
                s.ref, Severity.WARNING, f"VIP {v.address} ({s.name}): its announcer {v.announcers[0]} {state}", None, hits, heir
            )
    return None


def _pool_troubles(world: World) -> Iterator[Problem]:
    for pool in world.ip_pools.items.values():
        if pool.available == 0 and pool.assigned:
            yield Problem(
                pool.ref,
                Severity.NOTICE,
                f"address pool {pool.name} is used up ({pool.assigned} assigned)",
                None,
                "new services get no address",
                "",
            )
        covered = any(
            pool.name in a.pools or any(s.matches(pool.labels) for s in a.pool_selectors) or not (a.pools or a.pool_selectors)
            for a in world.l2_advertisements.items.values()
        )
        if not covered and seen(world, "l2_advertisements") and world.sources["l2_advertisements"].freshness is not Freshness.NOT_INSTALLED:
            yield Problem(
                pool.ref,
                Severity.NOTICE,
                f"address pool {pool.name} is announced by nobody on layer 2",
                None,
                "its addresses, unless BGP announces them",
                "no L2Advertisement covers it",
            )


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return (*(p for v in vips(world) if (p := trouble(world, v, now)) is not None), *_pool_troubles(world))
