"""Nodes, their leases, their usage (metrics.k8s.io) and the kubelet's summary."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from ...domain.nodes import Lease, Node, NodeStats, NodeUsage, Size, Taint, VolumeFill
from ...domain.text import plain
from .decoding import Decoder, Meta, Time, Wire, WireCondition, conditions, word, words
from .quantity import amount, milli

_ROLE = "node-role.kubernetes.io/"
_OLD_ROLE = "kubernetes.io/role"

Quantities = dict[str, str | int | float]


class _Taint(Wire):
    key: str
    value: str = ""
    effect: str = ""


class _Spec(Wire):
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    unschedulable: bool = False
    taints: list[_Taint] | None = None


class _Address(Wire):
    type: str
    address: str


class _Info(Wire):
    boot_id: str = msgspec.field(name="bootID", default="")
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    architecture: str = ""


class _Status(Wire):
    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[WireCondition] | None = None
    addresses: list[_Address] | None = None
    node_info: _Info = msgspec.field(default_factory=_Info)


class _Node(Wire):
    metadata: Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def _size(found: Quantities | None) -> Size:
    if not found:
        return Size()
    return Size(
        milli(found.get("cpu", 0)), amount(found.get("memory", 0)), amount(found.get("ephemeral-storage", 0)), amount(found.get("pods", 0))
    )


def _address(wires: list[_Address] | None, type_: str) -> str:
    return next((plain(wire.address) for wire in wires or () if wire.type == type_), "")


def _roles(labels: dict[str, str]) -> tuple[str, ...]:
    """As kubectl finds them: the label keys, and the value of the old label."""
    found = {key[len(_ROLE) :] for key in labels if key.startswith(_ROLE)} | {labels.get(_OLD_ROLE, "")}
    return tuple(sorted(found - {""}))


def _node(item: _Node, now: datetime) -> Node:
    meta, spec, status, info = item.metadata, item.spec, item.status, item.status.node_info
    labels = words(meta.labels)
    return Node(
        name=word(meta.name),
        uid=plain(meta.uid),
        created=meta.created,
        roles=_roles(labels),
        labels=labels,
        unschedulable=spec.unschedulable,
        taints=tuple(Taint(word(t.key), word(t.value), word(t.effect)) for t in spec.taints or ()),
        conditions=conditions(status.conditions),
        internal_ip=_address(status.addresses, "InternalIP"),
        hostname=_address(status.addresses, "Hostname"),
        kubelet_version=word(info.kubelet_version),
        runtime_version=word(info.container_runtime_version),
        os_image=word(info.os_image),
        kernel_version=word(info.kernel_version),
        architecture=word(info.architecture),
        boot_id=plain(info.boot_id),
        pod_cidr=plain(spec.pod_cidr),
        capacity=_size(status.capacity),
        allocatable=_size(status.allocatable),
    )


NODES = Decoder(_Node, _node)


# --- leases ----------------------------------------------------------------------------------------------------------------------------


class _LeaseSpec(Wire):
    renew_time: Time | None = None
    holder_identity: str = ""


class _Lease(Wire):
    metadata: Meta
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


def _lease(item: _Lease, now: datetime) -> Lease:
    return Lease(word(item.metadata.name), item.spec.renew_time, now, word(item.spec.holder_identity))


LEASES = Decoder(_Lease, _lease)


# --- usage -----------------------------------------------------------------------------------------------------------------------------


class _NodeUsage(Wire):
    metadata: Meta
    timestamp: Time
    usage: Quantities


def _node_usage(item: _NodeUsage, now: datetime) -> NodeUsage:
    return NodeUsage(word(item.metadata.name), milli(item.usage["cpu"]), amount(item.usage["memory"]), item.timestamp)


NODE_USAGE = Decoder(_NodeUsage, _node_usage)


# --- the kubelet's summary -------------------------------------------------------------------------------------------------------------


class _Cpu(Wire):
    time: Time | None = None
    usage_nano_cores: int | None = None


class _Memory(Wire):
    working_set_bytes: int | None = None
    available_bytes: int | None = None


class _Fs(Wire):
    capacity_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None


class _Network(Wire):
    time: Time | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None


class _Runtime(Wire):
    image_fs: _Fs | None = None


class _NodeSummary(Wire):
    node_name: str
    cpu: _Cpu | None = None
    memory: _Memory | None = None
    fs: _Fs | None = None
    network: _Network | None = None
    runtime: _Runtime | None = None


class _ClaimRef(Wire):
    name: str
    namespace: str


class _VolumeStats(_Fs):
    pvc_ref: _ClaimRef | None = None


class _PodSummary(Wire):
    volume: list[_VolumeStats] | None = None


class _Summary(Wire):
    node: _NodeSummary
    pods: list[_PodSummary] | None = None


_summary = msgspec.json.Decoder(_Summary).decode


def _volumes(pods: list[_PodSummary] | None) -> Iterator[VolumeFill]:
    """Each claim once, though several pods may mount it."""
    seen = set()
    for pod in pods or ():
        for volume in pod.volume or ():
            claim = volume.pvc_ref
            if claim is None or volume.capacity_bytes is None or volume.used_bytes is None:
                continue
            if (key := (claim.namespace, claim.name)) not in seen:
                seen.add(key)
                yield VolumeFill(word(claim.namespace), word(claim.name), volume.capacity_bytes, volume.used_bytes)


def node_stats(raw: bytes, now: datetime) -> NodeStats:
    """`/stats/summary`. `at` is when the network counters were read, since rates are made of them. Raises decoding.UNDECODABLE."""
    found = _summary(raw)
    node = found.node
    cpu, memory, fs, network = node.cpu or _Cpu(), node.memory or _Memory(), node.fs or _Fs(), node.network or _Network()
    image = (node.runtime.image_fs if node.runtime else None) or _Fs()
    return NodeStats(
        name=word(node.node_name),
        at=network.time or cpu.time or now,
        disk_capacity_b=fs.capacity_bytes,
        disk_used_b=fs.used_bytes,
        disk_available_b=fs.available_bytes,
        inodes=fs.inodes,
        inodes_free=fs.inodes_free,
        image_capacity_b=image.capacity_bytes,
        image_used_b=image.used_bytes,
        rx_b=network.rx_bytes,
        tx_b=network.tx_bytes,
        cpu_m=None if cpu.usage_nano_cores is None else -(-cpu.usage_nano_cores // 1_000_000),
        memory_working_b=memory.working_set_bytes,
        memory_available_b=memory.available_bytes,
        volumes=tuple(_volumes(found.pods)),
    )
