"""Claims, persistent volumes, and Longhorn's nodes, volumes, replicas, engines, snapshots and settings.

Longhorn writes times as text that may be empty, and some sizes as text.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.objects import Condition
from ...domain.storage import (
    Claim,
    LhDisk,
    LhEngine,
    LhNode,
    LhReplica,
    LhSetting,
    LhSnapshot,
    LhVolume,
    Progress,
    Volume,
    Workload,
)
from ...domain.text import plain
from .decoding import Decoder, Meta, Wire, WireCondition, conditions, word, words
from .postgres import moment
from .quantity import amount

Quantities = dict[str, str | int | float]


def octets(text: str | int | None) -> int | None:
    """A size that may be text; None when it is empty or no number."""
    if isinstance(text, int):
        return text
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


class LooseCondition(Wire):
    """A condition whose time may be empty text."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = ""


def loose(found: list[LooseCondition] | None) -> tuple[Condition, ...]:
    return tuple(
        Condition(word(c.type), word(c.status), word(c.reason), plain(c.message), moment(c.last_transition_time)) for c in found or ()
    )


# --- Kubernetes ------------------------------------------------------------------------------------------------------------------------


class _Resources(Wire):
    requests: Quantities | None = None


class _ClaimSpec(Wire):
    storage_class_name: str | None = None
    volume_name: str = ""
    access_modes: list[str] | None = None
    resources: _Resources = msgspec.field(default_factory=_Resources)


class _ClaimStatus(Wire):
    phase: str = ""
    capacity: Quantities | None = None
    conditions: list[WireCondition] | None = None


class _Claim(Wire):
    metadata: Meta
    spec: _ClaimSpec = msgspec.field(default_factory=_ClaimSpec)
    status: _ClaimStatus = msgspec.field(default_factory=_ClaimStatus)


def _room(found: Quantities | None) -> int | None:
    return amount(found["storage"]) if found and "storage" in found else None


def _claim(item: _Claim, now: datetime) -> Claim:
    meta, spec, status = item.metadata, item.spec, item.status
    return Claim(
        word(meta.namespace),
        word(meta.name),
        meta.uid,
        meta.creation_timestamp,
        word(status.phase),
        word(spec.storage_class_name or ""),
        word(spec.volume_name),
        _room(spec.resources.requests) or 0,
        _room(status.capacity),
        tuple(word(m) for m in spec.access_modes or ()),
        meta.deletion_timestamp,
        conditions(status.conditions),
        words(meta.labels),
    )


class _ClaimRef(Wire):
    namespace: str = ""
    name: str = ""


class _Csi(Wire):
    driver: str = ""
    volume_handle: str = ""


class _VolumeSpec(Wire):
    capacity: Quantities | None = None
    storage_class_name: str = ""
    claim_ref: _ClaimRef | None = None
    persistent_volume_reclaim_policy: str = ""
    csi: _Csi | None = None


class _VolumeStatus(Wire):
    phase: str = ""
    message: str = ""


class _Volume(Wire):
    metadata: Meta
    spec: _VolumeSpec = msgspec.field(default_factory=_VolumeSpec)
    status: _VolumeStatus = msgspec.field(default_factory=_VolumeStatus)


def _volume(item: _Volume, now: datetime) -> Volume:
    meta, spec, status = item.metadata, item.spec, item.status
    claim = spec.claim_ref
    return Volume(
        word(meta.name),
        meta.creation_timestamp,
        word(status.phase),
        _room(spec.capacity),
        word(spec.storage_class_name),
        f"{plain(claim.namespace)}/{plain(claim.name)}" if claim and claim.name else "",
        word(spec.persistent_volume_reclaim_policy),
        word(spec.csi.driver) if spec.csi else "",
        word(spec.csi.volume_handle) if spec.csi else "",
        plain(status.message),
        words(meta.labels),
    )


# --- Longhorn --------------------------------------------------------------------------------------------------------------------------


class _DiskSpec(Wire):
    path: str = ""
    disk_type: str = "filesystem"
    allow_scheduling: bool = False
    eviction_requested: bool = False
    storage_reserved: int = 0
    tags: list[str] | None = None


class _DiskStatus(Wire):
    disk_uuid: str = msgspec.field(name="diskUUID", default="")
    disk_path: str = ""
    storage_maximum: int = 0
    storage_available: int = 0
    storage_scheduled: int = 0
    scheduled_replica: dict[str, int] | None = None
    conditions: list[LooseCondition] | None = None


class _LhNodeSpec(Wire):
    allow_scheduling: bool = False
    eviction_requested: bool = False
    tags: list[str] | None = None
    disks: dict[str, _DiskSpec] | None = None


class _LhNodeStatus(Wire):
    auto_evicting: bool = False
    zone: str = ""
    conditions: list[LooseCondition] | None = None
    disk_status: dict[str, _DiskStatus | None] | None = None


class _LhNode(Wire):
    metadata: Meta
    spec: _LhNodeSpec = msgspec.field(default_factory=_LhNodeSpec)
    status: _LhNodeStatus = msgspec.field(default_factory=_LhNodeStatus)


def _disk(name: str, spec: _DiskSpec, status: _DiskStatus) -> LhDisk:
    return LhDisk(
        word(name),
        word(status.disk_uuid),
        word(spec.path or status.disk_path),
        word(spec.disk_type),
        spec.allow_scheduling,
        spec.eviction_requested,
        spec.storage_reserved,
        status.storage_maximum,
        status.storage_available,
        status.storage_scheduled,
        len(status.scheduled_replica or ()),
        loose(status.conditions),
        tuple(word(t) for t in spec.tags or ()),
    )


def _lh_node(item: _LhNode, now: datetime) -> LhNode:
    meta, spec, status = item.metadata, item.spec, item.status
    wanted, seen = spec.disks or {}, status.disk_status or {}
    return LhNode(
        word(meta.namespace),
        word(meta.name),
        spec.allow_scheduling,
        spec.eviction_requested,
        status.auto_evicting,
        word(status.zone),
        tuple(word(t) for t in spec.tags or ()),
        loose(status.conditions),
        tuple(_disk(name, wanted.get(name) or _DiskSpec(), seen.get(name) or _DiskStatus()) for name in sorted({*wanted, *seen})),
    )


class _Workload(Wire):
    pod_name: str = ""
    pod_status: str = ""
    workload_name: str = ""
    workload_type: str = ""


class _Kubernetes(Wire):
    pv_name: str = ""
    namespace: str = ""
    pvc_name: str = ""
    last_pvc_ref_at: str | None = msgspec.field(name="lastPVCRefAt", default="")
    last_pod_ref_at: str | None = ""
    workloads_status: list[_Workload] | None = None


class _LhVolumeSpec(Wire):
    size: str | int = ""
    number_of_replicas: int = 0
    node_id: str = msgspec.field(name="nodeID", default="")
    access_mode: str = ""
    data_locality: str = ""
    data_engine: str = ""
    encrypted: bool = False
    from_backup: str = ""
    backup_target_name: str = ""
    standby: bool = msgspec.field(name="Standby", default=False)


class _LhVolumeStatus(Wire):
    state: str = ""
    robustness: str = ""
    actual_size: int = 0
    current_node_id: str = msgspec.field(name="currentNodeID", default="")
    kubernetes_status: _Kubernetes | None = None
    conditions: list[LooseCondition] | None = None
    last_backup: str = ""
    last_backup_at: str = ""
    last_degraded_at: str = ""
    last_auto_salvaged_at: str = ""
    restore_required: bool = False
    restore_initiated: bool = False
    is_standby: bool = False
    expansion_required: bool = False


class _LhVolume(Wire):
    metadata: Meta
    spec: _LhVolumeSpec = msgspec.field(default_factory=_LhVolumeSpec)
    status: _LhVolumeStatus = msgspec.field(default_factory=_LhVolumeStatus)


def _lh_volume(item: _LhVolume, now: datetime) -> LhVolume:
    meta, spec, status = item.metadata, item.spec, item.status
    served = status.kubernetes_status or _Kubernetes()
    return LhVolume(
        namespace=word(meta.namespace),
        name=word(meta.name),
        created=meta.creation_timestamp,
        size_b=octets(spec.size) or 0,
        actual_b=status.actual_size,
        state=word(status.state),
        robustness=word(status.robustness),
        replicas=spec.number_of_replicas,
        node=word(status.current_node_id),
        wanted_node=word(spec.node_id),
        claim_namespace=word(served.namespace),
        claim=word(served.pvc_name),
        volume=word(served.pv_name),
        claim_gone=bool(served.last_pvc_ref_at),
        workloads=tuple(
            Workload(word(w.pod_name), word(w.pod_status), word(w.workload_name), word(w.workload_type))
            for w in served.workloads_status or ()
        ),
        workloads_gone=bool(served.last_pod_ref_at),
        conditions=loose(status.conditions),
        last_backup=word(status.last_backup),
        last_backup_at=moment(status.last_backup_at),
        last_degraded_at=moment(status.last_degraded_at),
        last_salvaged_at=moment(status.last_auto_salvaged_at),
        restore_required=status.restore_required,
        restore_initiated=status.restore_initiated,
        standby=status.is_standby or spec.standby,
        expansion_required=status.expansion_required,
        access=word(spec.access_mode),
        locality=word(spec.data_locality),
        engine=word(spec.data_engine) or "v1",
        encrypted=spec.encrypted,
        from_backup=plain(spec.from_backup),
        backup_target=word(spec.backup_target_name),
        labels=words(meta.labels),
    )


class _ReplicaSpec(Wire):
    volume_name: str = ""
    node_id: str = msgspec.field(name="nodeID", default="")
    disk_id: str = msgspec.field(name="diskID", default="")
    disk_path: str = ""
    engine_name: str = ""
    healthy_at: str = ""
    failed_at: str = ""
    active: bool = False
    eviction_requested: bool = False
    volume_size: str | int = ""
    rebuild_retry_count: int = 0


class _ReplicaStatus(Wire):
    current_state: str = ""
    ip: str = ""
    port: int = 0


class _Replica(Wire):
    metadata: Meta
    spec: _ReplicaSpec = msgspec.field(default_factory=_ReplicaSpec)
    status: _ReplicaStatus = msgspec.field(default_factory=_ReplicaStatus)


def _failed(text: str, now: datetime) -> datetime | None:
    """failedAt set to unreadable text still means failed."""
    return (moment(text) or now) if text else None


def _lh_replica(item: _Replica, now: datetime) -> LhReplica:
    meta, spec, status = item.metadata, item.spec, item.status
    return LhReplica(
        word(meta.namespace),
        word(meta.name),
        word(spec.volume_name),
        word(spec.node_id),
        word(spec.disk_id),
        word(spec.disk_path),
        word(spec.engine_name),
        moment(spec.healthy_at),
        _failed(spec.failed_at, now),
        spec.active,
        spec.eviction_requested,
        word(status.current_state),
        octets(spec.volume_size) or 0,
        spec.rebuild_retry_count,
        f"{plain(status.ip)}:{status.port}" if status.ip and status.port else "",
    )


class _Rebuild(Wire):
    is_rebuilding: bool = False
    progress: int = 0
    error: str = ""
    state: str = ""


class _Restore(Wire):
    is_restoring: bool = False
    progress: int = 0
    error: str = ""
    state: str = ""


class _EngineSpec(Wire):
    volume_name: str = ""
    node_id: str = msgspec.field(name="nodeID", default="")


class _EngineStatus(Wire):
    current_state: str = ""
    current_size: str | int = ""
    replica_mode_map: dict[str, str] | None = None
    rebuild_status: dict[str, _Rebuild | None] | None = None
    restore_status: dict[str, _Restore | None] | None = None
    snapshots: dict[str, msgspec.Raw] | None = None
    is_expanding: bool = False
    last_expansion_error: str = ""


class _Engine(Wire):
    metadata: Meta
    spec: _EngineSpec = msgspec.field(default_factory=_EngineSpec)
    status: _EngineStatus = msgspec.field(default_factory=_EngineStatus)


def _lh_engine(item: _Engine, now: datetime) -> LhEngine:
    meta, spec, status = item.metadata, item.spec, item.status
    rebuilds, restores = status.rebuild_status or {}, status.restore_status or {}
    return LhEngine(
        word(meta.namespace),
        word(meta.name),
        word(spec.volume_name),
        word(spec.node_id),
        word(status.current_state),
        {word(name): word(mode) for name, mode in (status.replica_mode_map or {}).items()},
        tuple(Progress(plain(a), r.is_rebuilding, r.progress, plain(r.error), word(r.state)) for a, r in sorted(rebuilds.items()) if r),
        tuple(Progress(plain(a), r.is_restoring, r.progress, plain(r.error), word(r.state)) for a, r in sorted(restores.items()) if r),
        octets(status.current_size) or 0,
        len([name for name in status.snapshots or () if name != "volume-head"]),
        status.is_expanding,
        plain(status.last_expansion_error),
    )


class _SnapshotSpec(Wire):
    volume: str = ""


class _SnapshotStatus(Wire):
    ready_to_use: bool = False
    error: str = ""
    creation_time: str = ""
    size: int = 0
    restore_size: int = 0
    user_created: bool = False
    mark_removed: bool = False
    parent: str = ""
    labels: dict[str, str] | None = None


class _Snapshot(Wire):
    metadata: Meta
    spec: _SnapshotSpec = msgspec.field(default_factory=_SnapshotSpec)
    status: _SnapshotStatus = msgspec.field(default_factory=_SnapshotStatus)


def _lh_snapshot(item: _Snapshot, now: datetime) -> LhSnapshot:
    meta, status = item.metadata, item.status
    return LhSnapshot(
        word(meta.namespace),
        plain(meta.name),
        word(item.spec.volume),
        moment(status.creation_time) or meta.creation_timestamp,
        status.ready_to_use,
        plain(status.error),
        status.size,
        status.restore_size,
        status.user_created,
        status.mark_removed,
        plain(status.parent),
        word((status.labels or {}).get("RecurringJob", "")),
    )


class _SettingStatus(Wire):
    applied: bool = True


class _Setting(Wire):
    metadata: Meta
    value: str = ""
    status: _SettingStatus = msgspec.field(default_factory=_SettingStatus)


def _lh_setting(item: _Setting, now: datetime) -> LhSetting:
    return LhSetting(word(item.metadata.namespace), word(item.metadata.name), plain(item.value), item.status.applied)


CLAIMS = Decoder(_Claim, _claim)
VOLUMES = Decoder(_Volume, _volume)
LH_NODES = Decoder(_LhNode, _lh_node)
LH_VOLUMES = Decoder(_LhVolume, _lh_volume)
LH_REPLICAS = Decoder(_Replica, _lh_replica)
LH_ENGINES = Decoder(_Engine, _lh_engine)
LH_SNAPSHOTS = Decoder(_Snapshot, _lh_snapshot)
LH_SETTINGS = Decoder(_Setting, _lh_setting)
