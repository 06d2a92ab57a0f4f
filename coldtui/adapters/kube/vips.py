"""Services, their endpoints, and MetalLB's pools, advertisements and announcements."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.selectors import Expression, Selector
from ...domain.text import plain
from ...domain.vips import Endpoint, EndpointSlice, IpPool, L2Advertisement, L2Status, Service, ServicePort
from .decoding import NOTHING, AnnotatedMeta, Decoder, Meta, Wire, WireCondition, conditions, int_or_string, word, words


class WireExpression(Wire):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class WireSelector(Wire):
    match_labels: dict[str, str] | None = None
    match_expressions: list[WireExpression] | None = None


def selector(wire: WireSelector) -> Selector:
    return Selector(
        words(wire.match_labels),
        tuple(Expression(word(e.key), word(e.operator), tuple(word(v) for v in e.values or ())) for e in wire.match_expressions or ()),
    )


def _selectors(wires: list[WireSelector] | None) -> tuple[Selector, ...]:
    return tuple(selector(w) for w in wires or ())


def _names(found: list[str] | None) -> tuple[str, ...]:
    return tuple(word(name) for name in found or ())


class _Port(Wire):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int = 0


class _ServiceSpec(Wire):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    load_balancer_ip: str = msgspec.field(name="loadBalancerIP", default="")
    load_balancer_class: str = ""
    external_traffic_policy: str = "Cluster"
    ports: list[_Port] | None = None
    selector: dict[str, str] | None = None


class _Ingress(Wire):
    ip: str = ""
    hostname: str = ""


class _LoadBalancer(Wire):
    ingress: list[_Ingress] | None = None


class _ServiceStatus(Wire):
    load_balancer: _LoadBalancer = msgspec.field(default_factory=_LoadBalancer)
    conditions: list[WireCondition] | None = None


class _Service(Wire):
    metadata: AnnotatedMeta
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)
    status: _ServiceStatus = msgspec.field(default_factory=_ServiceStatus)


def _note(notes: dict[str, str], name: str) -> str:
    """A MetalLB annotation under its present or its old prefix."""
    return plain(notes.get(f"metallb.io/{name}") or notes.get(f"metallb.universe.tf/{name}") or "")


def _service(item: _Service, now: datetime) -> Service:
    meta, spec, notes = item.metadata, item.spec, item.metadata.annotation or NOTHING
    ingress = item.status.load_balancer.ingress or []
    wanted = _note(notes, "loadBalancerIPs") or plain(spec.load_balancer_ip)
    return Service(
        namespace=word(meta.namespace),
        name=word(meta.name),
        created=meta.creation_timestamp,
        type=word(spec.type),
        cluster_ip=plain(spec.cluster_ip),
        external_ips=_names(spec.external_ips),
        lb_ips=tuple(plain(i.ip) for i in ingress if i.ip),
        lb_hostnames=tuple(plain(i.hostname) for i in ingress if i.hostname),
        ports=tuple(
            ServicePort(word(p.name), p.port, word(p.protocol), int_or_string(p.target_port), p.node_port) for p in spec.ports or ()
        ),
        selector=words(spec.selector),
        traffic_policy=word(spec.external_traffic_policy) or "Cluster",
        lb_class=word(spec.load_balancer_class),
        wanted_ips=tuple(part.strip() for part in wanted.split(",") if part.strip()),
        wanted_pool=_note(notes, "address-pool"),
        pool=_note(notes, "ip-allocated-from-pool"),
        shared_key=_note(notes, "allow-shared-ip"),
        labels=words(meta.labels),
        conditions=conditions(item.status.conditions),
    )


class _EndpointConditions(Wire):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Target(Wire):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class _Endpoint(Wire):
    addresses: list[str] | None = None
    conditions: _EndpointConditions = msgspec.field(default_factory=_EndpointConditions)
    node_name: str | None = None
    target_ref: _Target | None = None


class _SlicePort(Wire):
    port: int | None = None


class _Slice(Wire):
    metadata: Meta
    address_type: str = "IPv4"
    endpoints: list[_Endpoint] | None = None
    ports: list[_SlicePort] | None = None


def _endpoint(wire: _Endpoint) -> Endpoint:
    """Absent `ready` means ready; absent `serving` means as `ready` (API of discovery.k8s.io/v1)."""
    ready = wire.conditions.ready is not False
    serving = ready if wire.conditions.serving is None else wire.conditions.serving
    target = wire.target_ref
    pod = f"{word(target.namespace)}/{word(target.name)}" if target is not None and target.kind == "Pod" else ""
    return Endpoint(_names(wire.addresses), ready, serving, bool(wire.conditions.terminating), word(wire.node_name or ""), pod)


def _slice(item: _Slice, now: datetime) -> EndpointSlice:
    meta = item.metadata
    return EndpointSlice(
        word(meta.namespace),
        word(meta.name),
        word((meta.labels or NOTHING).get("kubernetes.io/service-name", "")),
        word(item.address_type),
        tuple(_endpoint(e) for e in item.endpoints or ()),
        tuple(p.port for p in item.ports or () if p.port is not None),
    )


class _PoolSpec(Wire):
    addresses: list[str] | None = None
    auto_assign: bool | None = None


class _PoolStatus(Wire):
    assigned_ipv4: int | None = msgspec.field(name="assignedIPv4", default=None)
    assigned_ipv6: int | None = msgspec.field(name="assignedIPv6", default=None)
    available_ipv4: int | None = msgspec.field(name="availableIPv4", default=None)
    available_ipv6: int | None = msgspec.field(name="availableIPv6", default=None)


class _Pool(Wire):
    metadata: Meta
    spec: _PoolSpec = msgspec.field(default_factory=_PoolSpec)
    status: _PoolStatus = msgspec.field(default_factory=_PoolStatus)


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None and b is None else (a or 0) + (b or 0)


def _pool(item: _Pool, now: datetime) -> IpPool:
    meta, spec, status = item.metadata, item.spec, item.status
    return IpPool(
        word(meta.namespace),
        word(meta.name),
        _names(spec.addresses),
        spec.auto_assign is not False,
        _sum(status.assigned_ipv4, status.assigned_ipv6),
        _sum(status.available_ipv4, status.available_ipv6),
        words(meta.labels),
    )


class _AdvertisementSpec(Wire):
    ip_address_pools: list[str] | None = None
    ip_address_pool_selectors: list[WireSelector] | None = None
    node_selectors: list[WireSelector] | None = None
    service_selectors: list[WireSelector] | None = None
    interfaces: list[str] | None = None


class _Advertisement(Wire):
    metadata: Meta
    spec: _AdvertisementSpec = msgspec.field(default_factory=_AdvertisementSpec)


def _advertisement(item: _Advertisement, now: datetime) -> L2Advertisement:
    meta, spec = item.metadata, item.spec
    return L2Advertisement(
        word(meta.namespace),
        word(meta.name),
        _names(spec.ip_address_pools),
        _selectors(spec.ip_address_pool_selectors),
        _selectors(spec.node_selectors),
        _selectors(spec.service_selectors),
        _names(spec.interfaces),
    )


class _Interface(Wire):
    name: str = ""


class _L2StatusStatus(Wire):
    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    interfaces: list[_Interface] | None = None


class _L2Status(Wire):
    metadata: Meta
    status: _L2StatusStatus = msgspec.field(default_factory=_L2StatusStatus)


def _l2_status(item: _L2Status, now: datetime) -> L2Status:
    meta, status, labels = item.metadata, item.status, item.metadata.labels or NOTHING
    return L2Status(
        word(meta.namespace),
        word(meta.name),
        word(status.node or labels.get("metallb.io/node", "")),
        word(status.service_namespace or labels.get("metallb.io/service-namespace", "")),
        word(status.service_name or labels.get("metallb.io/service-name", "")),
        tuple(word(i.name) for i in status.interfaces or ()),
        meta.creation_timestamp,
    )


SERVICES = Decoder(_Service, _service)
ENDPOINTSLICES = Decoder(_Slice, _slice)
IP_POOLS = Decoder(_Pool, _pool)
L2_ADVERTISEMENTS = Decoder(_Advertisement, _advertisement)
L2_STATUSES = Decoder(_L2Status, _l2_status)
