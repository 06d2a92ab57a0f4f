"""K3s: snapshots of its datastore and plans of the system-upgrade-controller."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.k3s import EtcdSnapshot, UpgradePlan
from ...domain.text import plain
from .decoding import Decoder, Meta, Wire, word
from .postgres import moment
from .quantity import amount
from .storage import LooseCondition, loose
from .vips import WireSelector, selector


class _S3(Wire):
    bucket: str = ""


class _SnapshotSpec(Wire):
    snapshot_name: str = ""
    node_name: str = ""
    location: str = ""
    s3: _S3 | None = None


class _Error(Wire):
    message: str = ""


class _SnapshotStatus(Wire):
    ready_to_use: bool | None = None
    size: str | int | None = None
    creation_time: str | None = ""
    error: _Error | None = None


class _Snapshot(Wire):
    metadata: Meta
    spec: _SnapshotSpec = msgspec.field(default_factory=_SnapshotSpec)
    status: _SnapshotStatus = msgspec.field(default_factory=_SnapshotStatus)


def _snapshot(item: _Snapshot, now: datetime) -> EtcdSnapshot:
    meta, spec, status = item.metadata, item.spec, item.status
    return EtcdSnapshot(
        plain(meta.name),
        plain(spec.snapshot_name),
        word(spec.node_name),
        plain(spec.location),
        word(spec.s3.bucket) if spec.s3 else "",
        status.ready_to_use,
        None if status.size is None else amount(status.size),
        moment(status.creation_time) or meta.creation_timestamp,
        plain(status.error.message) or "failed" if status.error else "",
    )


class _Upgrade(Wire):
    image: str = ""


class _Drain(Wire):
    force: bool | None = None


class _PlanSpec(Wire):
    version: str = ""
    channel: str = ""
    concurrency: int = 1
    cordon: bool = False
    exclusive: bool = False
    drain: _Drain | None = None
    upgrade: _Upgrade | None = None
    node_selector: WireSelector | None = None


class _PlanStatus(Wire):
    applying: list[str] | None = None
    latest_version: str = ""
    latest_hash: str = ""
    conditions: list[LooseCondition] | None = None


class _Plan(Wire):
    metadata: Meta
    spec: _PlanSpec = msgspec.field(default_factory=_PlanSpec)
    status: _PlanStatus = msgspec.field(default_factory=_PlanStatus)


def _plan(item: _Plan, now: datetime) -> UpgradePlan:
    meta, spec, status = item.metadata, item.spec, item.status
    return UpgradePlan(
        word(meta.namespace),
        word(meta.name),
        meta.creation_timestamp,
        plain(spec.version),
        plain(spec.channel),
        spec.concurrency,
        spec.cordon,
        spec.drain is not None,
        spec.exclusive,
        plain(spec.upgrade.image) if spec.upgrade else "",
        selector(spec.node_selector) if spec.node_selector else None,
        tuple(word(name) for name in status.applying or ()),
        plain(status.latest_version),
        plain(status.latest_hash),
        loose(status.conditions),
    )


ETCD_SNAPSHOTS = Decoder(_Snapshot, _snapshot)
UPGRADE_PLANS = Decoder(_Plan, _plan)
