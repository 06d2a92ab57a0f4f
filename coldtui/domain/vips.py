"""Services of type LoadBalancer and who announces their addresses (MetalLB, layer 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem
from .selectors import Selector

if TYPE_CHECKING:
    from .world import World


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


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
