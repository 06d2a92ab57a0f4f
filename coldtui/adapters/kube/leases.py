"""Leases of `coordination.k8s.io/v1` as locks between machines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from ...domain.errors import NotFound
from ...domain.kinds import Kind
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import Clock, HeldLease, PatchForm
from .decoding import UNDECODABLE, Time, Wire, decoder
from .failures import Question
from .transport import Channel
from .writes import Writes

LOCKS = Kind("locks", "coordination.k8s.io", "v1", "leases", True, "leases")
"""Any namespace, unlike the node leases."""


class _Spec(Wire):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: Time | None = None
    acquire_time: Time | None = None
    lease_transitions: int | None = None


class _Meta(Wire):
    name: str
    namespace: str
    resource_version: str


class _Lease(Wire):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


_decode = decoder(_Lease)


class Leases:
    """Blocking; see `ports.Kube.lease` and `put_lease`."""

    def __init__(self, channel: Channel, writes: Writes, clock: Clock) -> None:
        self._channel, self._writes, self._clock = channel, writes, clock

    def get(self, namespace: str, name: str, deadline_s: float) -> HeldLease | None:
        question = Question.of("get", LOCKS, namespace, name)
        try:
            raw = self._channel.json(LOCKS.path(quote(namespace, safe=""), quote(name, safe="")), question, deadline_s=deadline_s)
        except NotFound:
            return None
        return self._held(raw)

    def put(self, lease: HeldLease, acquired: bool, deadline_s: float) -> HeldLease:
        """A merge patch that names the version which was read: it is refused like a PUT of a stale object, and leaves alone what others keep
        in the lease (acquireTime while it is only renewed, labels, annotations)."""
        spec: dict[str, Any] = {
            "holderIdentity": lease.holder or None,
            "leaseDurationSeconds": max(1, lease.duration_s),
            "renewTime": micro_time(self._clock.now()),
        }
        if acquired:
            spec["acquireTime"] = spec["renewTime"]
            spec["leaseTransitions"] = lease.transitions + bool(lease.version)
        if not lease.version:
            meta = {"name": lease.name, "namespace": lease.namespace}
            body = {"apiVersion": LOCKS.group_version, "kind": "Lease", "metadata": meta, "spec": spec}
            return self._told(self._writes.create(LOCKS, body, lease.namespace, False, deadline_s))
        patch = {"metadata": {"resourceVersion": lease.version}, "spec": spec}
        return self._told(self._writes.patch(LOCKS, lease.name, patch, lease.namespace, PatchForm.MERGE, "", False, deadline_s))

    def _told(self, item: Mapping[str, Any]) -> HeldLease:
        return self._held(msgspec.json.encode(item))

    def _held(self, raw: bytes) -> HeldLease:
        try:
            found: _Lease = _decode(raw)
        except UNDECODABLE:
            raise LineTrouble(f"a lease of {self._channel.where} cannot be read", kind="garbage") from None
        spec = found.spec
        return HeldLease(
            plain(found.metadata.namespace),
            plain(found.metadata.name),
            plain(spec.holder_identity or ""),
            plain(found.metadata.resource_version),
            spec.renew_time,
            spec.lease_duration_seconds or 0,
            spec.lease_transitions or 0,
            spec.acquire_time,
        )


def micro_time(at: datetime) -> str:
    """MicroTime: RFC 3339 with exactly six digits of a second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
