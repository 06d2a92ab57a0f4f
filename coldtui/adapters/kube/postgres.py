"""CloudNativePG clusters and poolers."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from ...domain.postgres import PgCluster, PgPooler, PluginUse, ReportedState, Synchronous
from ...domain.replication import FailoverQuorum
from ...domain.text import plain
from .decoding import EPOCH, AnnotatedMeta, Decoder, Meta, Wire, WireCondition, conditions, word, words

_TAG = re.compile(r"\d+(?:\.\d+)*(?:(?:beta|rc)\d+)?", re.ASCII)


def moment(text: str | None) -> datetime | None:
    """A time written as text: RFC 3339 with any fraction, or Go's own form (`2026-05-01 10:00:00 +0000 UTC`). None when it is neither."""
    if not text:
        return None
    if " " in text:
        parts = text.split(" ")
        text = f"{parts[0]}T{parts[1]}{parts[2]}" if len(parts) >= 3 else text
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None and found > EPOCH else None


class _Sync(Wire):
    method: str = "any"
    number: int = 1
    data_durability: str = "required"
    failover_quorum: bool = False


class _Postgresql(Wire):
    synchronous: _Sync | None = None


class _Storage(Wire):
    size: str = ""
    storage_class: str = ""


class _Store(Wire):
    destination_path: str = ""


class _Snapshots(Wire):
    class_name: str = ""


class _Backup(Wire):
    barman_object_store: _Store | None = None
    volume_snapshot: _Snapshots | None = None
    retention_policy: str = ""
    target: str = ""


class _Plugin(Wire):
    name: str = ""
    enabled: bool = True
    is_wal_archiver: bool = msgspec.field(name="isWALArchiver", default=False)
    parameters: dict[str, str] | None = None


class _Follows(Wire):
    enabled: bool | None = None
    source: str = ""
    primary: str = ""
    self_: str = msgspec.field(name="self", default="")


class _Window(Wire):
    in_progress: bool = False


class _Spec(Wire):
    instances: int = 1
    image_name: str = ""
    failover_delay: int = 0
    switchover_delay: int = 3600
    stop_delay: int = 1800
    smart_shutdown_timeout: int = 180
    min_sync_replicas: int = 0
    max_sync_replicas: int = 0
    primary_update_strategy: str = "unsupervised"
    primary_update_method: str = "restart"
    enable_pdb: bool = msgspec.field(name="enablePDB", default=True)
    postgresql: _Postgresql = msgspec.field(default_factory=_Postgresql)
    storage: _Storage = msgspec.field(default_factory=_Storage)
    wal_storage: _Storage | None = None
    backup: _Backup | None = None
    plugins: list[_Plugin] | None = None
    replica: _Follows | None = None
    node_maintenance_window: _Window | None = None


class _Reported(Wire):
    is_primary: bool = False
    time_line_id: int = msgspec.field(name="timeLineID", default=0)
    ip: str = ""


class _Topology(Wire):
    nodes_used: int | None = None
    successfully_extracted: bool = False


class _PluginStatus(Wire):
    name: str = ""
    version: str = ""
    status: str = ""


class _Certificates(Wire):
    expirations: dict[str, str] | None = None


class _DataImage(Wire):
    image: str = ""
    major_version: int = 0


class _Status(Wire):
    phase: str = ""
    phase_reason: str = ""
    current_primary: str = ""
    target_primary: str = ""
    current_primary_timestamp: str = ""
    target_primary_timestamp: str = ""
    current_primary_failing_since_timestamp: str = ""
    instances: int = 0
    ready_instances: int = 0
    instance_names: list[str] | None = None
    instances_status: dict[str, list[str]] | None = None
    instances_reported_state: dict[str, _Reported] | None = None
    timeline_id: int = msgspec.field(name="timelineID", default=0)
    system_id: str = msgspec.field(name="systemID", default="")
    topology: _Topology | None = None
    dangling_pvc: list[str] | None = msgspec.field(name="danglingPVC", default=None)
    healthy_pvc: list[str] | None = msgspec.field(name="healthyPVC", default=None)
    initializing_pvc: list[str] | None = msgspec.field(name="initializingPVC", default=None)
    resizing_pvc: list[str] | None = msgspec.field(name="resizingPVC", default=None)
    unusable_pvc: list[str] | None = msgspec.field(name="unusablePVC", default=None)
    write_service: str = ""
    read_service: str = ""
    first_recoverability_point: str = ""
    first_recoverability_point_by_method: dict[str, str] | None = None
    last_successful_backup: str = ""
    last_successful_backup_by_method: dict[str, str] | None = None
    last_failed_backup: str = ""
    plugin_status: list[_PluginStatus] | None = None
    certificates: _Certificates | None = None
    conditions: list[WireCondition] | None = None
    image: str = ""
    pg_data_image_info: _DataImage | None = None


class _Cluster(Wire):
    metadata: AnnotatedMeta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def _names(found: list[str] | None) -> tuple[str, ...]:
    return tuple([word(name) for name in found]) if found else ()


def _moments(found: dict[str, str] | None) -> dict[str, datetime]:
    return {word(name): at for name, text in found.items() if (at := moment(text)) is not None} if found else {}


def _fenced(text: str) -> tuple[tuple[str, ...], str]:
    """(names, the text itself when it is no JSON list of names)."""
    if not text:
        return (), ""
    try:
        return tuple(plain(name) for name in msgspec.json.decode(text, type=list[str] | None) or ()), ""
    except (msgspec.MsgspecError, ValueError):
        return (), plain(text)[:200]


def _version(image: str, data: _DataImage | None) -> str:
    """`18.6` from `…/postgresql:18.6-standard-trixie`, else the major version of the data directory."""
    tag = image.partition("@")[0].rpartition(":")[2]
    found = _TAG.match(tag) if "/" not in tag else None
    if found is not None:
        return found.group()
    return str(data.major_version) if data is not None and data.major_version else ""


def _plugins(spec: _Spec, status: _Status) -> tuple[PluginUse, ...]:
    loaded = {p.name: p for p in status.plugin_status or ()}
    return tuple(
        PluginUse(
            word(p.name),
            p.enabled,
            p.is_wal_archiver,
            words(p.parameters),
            word(loaded[p.name].version) or "?" if p.name in loaded else "",
            word(loaded[p.name].status) if p.name in loaded else "",
        )
        for p in spec.plugins or ()
    )


def _follows(item: _Cluster) -> bool:
    """Whether the whole cluster is a replica: told outright, or by a primary that is not itself (distributed topology)."""
    found = item.spec.replica
    if found is None:
        return False
    return found.enabled if found.enabled is not None else bool(found.primary) and found.primary != (found.self_ or item.metadata.name)


def _cluster(item: _Cluster, now: datetime) -> PgCluster:
    meta, spec, status, notes = item.metadata, item.spec, item.status, item.metadata.annotation
    fenced, unreadable = _fenced(notes.get("cnpg.io/fencedInstances", ""))
    backup, sync, topology = spec.backup, spec.postgresql.synchronous, status.topology
    image = plain(status.image or spec.image_name)
    return PgCluster(
        namespace=word(meta.namespace),
        name=word(meta.name),
        uid=word(meta.uid),
        created=meta.created,
        phase=plain(status.phase),
        current_primary=word(status.current_primary),
        target_primary=word(status.target_primary),
        phase_reason=plain(status.phase_reason),
        instances=spec.instances,
        made_instances=status.instances,
        ready_instances=status.ready_instances,
        instance_names=_names(status.instance_names),
        instances_status={word(k): _names(v) for k, v in (status.instances_status or {}).items()},
        reported=tuple(
            ReportedState(word(name), r.is_primary, r.time_line_id or None, plain(r.ip))
            for name, r in (status.instances_reported_state or {}).items()
        ),
        timeline=status.timeline_id or None,
        system_id=plain(status.system_id),
        current_primary_since=moment(status.current_primary_timestamp),
        target_primary_since=moment(status.target_primary_timestamp),
        primary_failing_since=moment(status.current_primary_failing_since_timestamp),
        nodes_used=topology.nodes_used if topology is not None and topology.successfully_extracted else None,
        dangling_claims=_names(status.dangling_pvc),
        healthy_claims=_names(status.healthy_pvc),
        initializing_claims=_names(status.initializing_pvc),
        resizing_claims=_names(status.resizing_pvc),
        unusable_claims=_names(status.unusable_pvc),
        write_service=word(status.write_service),
        read_service=word(status.read_service),
        first_recoverability=moment(status.first_recoverability_point),
        first_recoverability_by=_moments(status.first_recoverability_point_by_method),
        last_good_backup=moment(status.last_successful_backup),
        last_good_backup_by=_moments(status.last_successful_backup_by_method),
        last_failed_backup=moment(status.last_failed_backup),
        plugins=_plugins(spec, status),
        certificates=_moments(status.certificates.expirations if status.certificates else None),
        conditions=conditions(status.conditions),
        image=image,
        version=_version(image, status.pg_data_image_info),
        fenced=fenced,
        fenced_unreadable=unreadable,
        hibernation=word(notes.get("cnpg.io/hibernation", "")),
        reconciliation_disabled=notes.get("cnpg.io/reconciliationLoop") == "disabled",
        skip_wal_archiving=notes.get("cnpg.io/skipWalArchiving") == "enabled",
        skip_empty_archive_check=notes.get("cnpg.io/skipEmptyWalArchiveCheck") == "enabled",
        restarted_at=plain(notes.get("kubectl.kubernetes.io/restartedAt", "")),
        failover_delay_s=spec.failover_delay,
        switchover_delay_s=spec.switchover_delay,
        stop_delay_s=spec.stop_delay,
        smart_shutdown_s=spec.smart_shutdown_timeout,
        min_sync=spec.min_sync_replicas,
        max_sync=spec.max_sync_replicas,
        synchronous=Synchronous(word(sync.method), sync.number, word(sync.data_durability), sync.failover_quorum) if sync else None,
        update_strategy=word(spec.primary_update_strategy),
        update_method=word(spec.primary_update_method),
        budget=spec.enable_pdb,
        maintenance=spec.node_maintenance_window is not None and spec.node_maintenance_window.in_progress,
        replica_cluster=_follows(item),
        replica_source=word(spec.replica.source) if spec.replica else "",
        storage_size=word(spec.storage.size),
        storage_class=word(spec.storage.storage_class),
        wal_size=word(spec.wal_storage.size) if spec.wal_storage else "",
        in_tree_archive=backup is not None and backup.barman_object_store is not None,
        archive_path=plain(backup.barman_object_store.destination_path) if backup and backup.barman_object_store else "",
        snapshot_class=word(backup.volume_snapshot.class_name) if backup and backup.volume_snapshot else "",
        retention=word(backup.retention_policy) if backup else "",
        backup_target=word(backup.target) if backup else "",
        labels=words(meta.labels),
    )


class _PoolerTarget(Wire):
    name: str = ""


class _Bouncer(Wire):
    pool_mode: str = "session"
    paused: bool = False


class _PoolerSpec(Wire):
    cluster: _PoolerTarget = msgspec.field(default_factory=_PoolerTarget)
    type: str = "rw"
    instances: int = 1
    pgbouncer: _Bouncer = msgspec.field(default_factory=_Bouncer)


class _PoolerStatus(Wire):
    instances: int = 0


class _Pooler(Wire):
    metadata: Meta
    spec: _PoolerSpec = msgspec.field(default_factory=_PoolerSpec)
    status: _PoolerStatus = msgspec.field(default_factory=_PoolerStatus)


def _pooler(item: _Pooler, now: datetime) -> PgPooler:
    meta, spec = item.metadata, item.spec
    return PgPooler(
        word(meta.namespace),
        word(meta.name),
        word(spec.cluster.name),
        word(spec.type),
        spec.instances,
        item.status.instances,
        word(spec.pgbouncer.pool_mode),
        spec.pgbouncer.paused,
    )


class _QuorumStatus(Wire):
    method: str = ""
    primary: str = ""
    standby_names: list[str] | None = None
    standby_number: int = 0


class _Quorum(Wire):
    metadata: Meta
    status: _QuorumStatus = msgspec.field(default_factory=_QuorumStatus)


def _quorum(item: _Quorum, now: datetime) -> FailoverQuorum:
    meta, status = item.metadata, item.status
    names = _names(status.standby_names)
    return FailoverQuorum(word(meta.namespace), word(meta.name), word(status.method), word(status.primary), names, status.standby_number)


PG_CLUSTERS = Decoder(_Cluster, _cluster)
PG_QUORUMS = Decoder(_Quorum, _quorum)
PG_POOLERS = Decoder(_Pooler, _pooler)
