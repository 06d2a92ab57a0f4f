"""Pods, budgets and volumes in the detail that a drain needs."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.drains import (
    DrainBudget,
    DrainPod,
    DrainVolume,
    EmptyDir,
    LhAttachment,
    NodeTerm,
    PodTerm,
    Requirement,
    Spread,
    Ticket,
    Toleration,
)
from ...domain.selectors import Expression, Selector
from ...domain.text import plain
from .decoding import Decoder, Meta, Present, Wire, WireCondition, int_or_string, number, word, words
from .pods import _Annotations, _Container, _Meta, _Pod, _pod, _Spec, _Volume
from .quantity import amount
from .vips import WireSelector, selector

Quantities = dict[str, str | int | float]
OWN_NODE = "kubernetes.io/hostname"

# A list of a narrower struct stands where the base has one of the wider: msgspec decodes by the annotation, nobody appends.


class _Port(Wire):
    host_port: int = 0
    protocol: str = "TCP"


class _DetailContainer(_Container):
    ports: list[_Port] | None = None


class _EmptyDir(Wire):
    medium: str = ""
    size_limit: str | int | float | None = None


class _DetailVolume(_Volume):
    empty_dir: _EmptyDir | None = None


class _Toleration(Wire):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


class _Requirement(Wire):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class _NodeTerm(Wire):
    match_expressions: list[_Requirement] | None = None
    match_fields: list[_Requirement] | None = None


class _NodeSelector(Wire):
    node_selector_terms: list[_NodeTerm] | None = None


class _NodeAffinity(Wire):
    required: _NodeSelector | None = msgspec.field(name="requiredDuringSchedulingIgnoredDuringExecution", default=None)


class _PodTerm(Wire):
    topology_key: str = ""
    label_selector: WireSelector | None = None
    namespaces: list[str] | None = None
    namespace_selector: WireSelector | None = None
    match_label_keys: list[str] | None = None
    mismatch_label_keys: list[str] | None = None


class _PodAffinity(Wire):
    required: list[_PodTerm] | None = msgspec.field(name="requiredDuringSchedulingIgnoredDuringExecution", default=None)


class _Affinity(Wire):
    node_affinity: _NodeAffinity | None = None
    pod_affinity: _PodAffinity | None = None
    pod_anti_affinity: _PodAffinity | None = None


class _Spread(Wire):
    topology_key: str = ""
    max_skew: int = 1
    when_unsatisfiable: str = ""
    label_selector: WireSelector | None = None
    node_taints_policy: str = ""
    node_affinity_policy: str = ""
    match_label_keys: list[str] | None = None


class _DetailSpec(_Spec):
    containers: list[_DetailContainer] | None = None  # type: ignore[assignment]
    volumes: list[_DetailVolume] | None = None  # type: ignore[assignment]
    termination_grace_period_seconds: int = 30
    tolerations: list[_Toleration] | None = None
    node_selector: dict[str, str] | None = None
    affinity: _Affinity | None = None
    topology_spread_constraints: list[_Spread] | None = None


class _OwnerApi(Wire):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class _DetailAnnotations(_Annotations):
    serial: str = msgspec.field(name="cnpg.io/nodeSerial", default="")


class _DetailMeta(_Meta):
    annotations: _DetailAnnotations | None = None
    owner_references: list[_OwnerApi] | None = None  # type: ignore[assignment]
    finalizers: list[str] | None = None


class _DetailPod(_Pod):
    metadata: _DetailMeta
    spec: _DetailSpec = msgspec.field(default_factory=_DetailSpec)


def _requirements(wires: list[_Requirement] | None) -> tuple[Requirement, ...]:
    return tuple(Requirement(word(w.key), word(w.operator), tuple(word(v) for v in w.values or ())) for w in wires or ())


def _node_terms(wire: _NodeSelector | None) -> tuple[NodeTerm, ...] | None:
    if wire is None:
        return None
    return tuple(NodeTerm(_requirements(t.match_expressions), _requirements(t.match_fields)) for t in wire.node_selector_terms or ())


def _with_own(found: Selector, keys: list[str] | None, labels: dict[str, str], operator: str = "In") -> Selector:
    """matchLabelKeys: the pod's own values of these labels are part of the selector."""
    more = tuple(Expression(word(key), operator, (word(labels[key]),)) for key in keys or () if key in labels)
    return Selector(found.labels, found.expressions + more) if more else found


def _pod_terms(wire: _PodAffinity | None, meta: Meta) -> tuple[PodTerm, ...]:
    labels = meta.labels or {}
    found = []
    for term in (wire.required if wire is not None else None) or ():
        chosen = selector(term.label_selector) if term.label_selector is not None else None
        if chosen is not None:
            chosen = _with_own(_with_own(chosen, term.match_label_keys, labels), term.mismatch_label_keys, labels, "NotIn")
        named = tuple(word(n) for n in term.namespaces or ())
        own = () if named or term.namespace_selector is not None else (word(meta.namespace),)
        found.append(PodTerm(word(term.topology_key), chosen, named or own, term.namespace_selector is not None))
    return tuple(found)


def _spreads(spec: _DetailSpec, meta: Meta) -> tuple[Spread, ...]:
    return tuple(
        Spread(
            word(s.topology_key),
            s.max_skew,
            _with_own(selector(s.label_selector), s.match_label_keys, meta.labels or {}),
            s.node_taints_policy == "Honor",
            s.node_affinity_policy != "Ignore",
        )
        for s in spec.topology_spread_constraints or ()
        if s.when_unsatisfiable == "DoNotSchedule" and s.label_selector is not None
    )


def _empty_dirs(spec: _DetailSpec) -> tuple[EmptyDir, ...]:
    return tuple(
        EmptyDir(word(v.name), v.empty_dir.medium == "Memory", None if v.empty_dir.size_limit is None else amount(v.empty_dir.size_limit))
        for v in spec.volumes or ()
        if v.empty_dir is not None
    )


def _drain_pod(item: _DetailPod, now: datetime) -> DrainPod:
    meta, spec = item.metadata, item.spec
    affinity = spec.affinity or _Affinity()
    notes = meta.annotations
    controller = next((o for o in meta.owner_references or () if o.controller), None)
    return DrainPod(
        pod=_pod(item, now),
        grace_s=spec.termination_grace_period_seconds,
        owner_api=word(controller.api_version) if controller is not None else "",
        finalizers=tuple(word(f) for f in meta.finalizers or ()),
        empty_dirs=_empty_dirs(spec),
        tolerations=tuple(
            Toleration(word(t.key), word(t.operator) or "Equal", word(t.value), word(t.effect)) for t in spec.tolerations or ()
        ),
        node_labels=words(spec.node_selector),
        node_terms=_node_terms(affinity.node_affinity.required) if affinity.node_affinity is not None else None,
        beside=_pod_terms(affinity.pod_affinity, meta),
        apart=_pod_terms(affinity.pod_anti_affinity, meta),
        spreads=_spreads(spec, meta),
        host_ports=tuple((word(p.protocol), p.host_port) for c in spec.containers or () for p in c.ports or () if p.host_port),
        serial=number(notes.serial) if notes is not None and notes.serial else None,
    )


# --- budgets ---------------------------------------------------------------------------------------------------------------------------


class _BudgetSpec(Wire):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: WireSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class _BudgetStatus(Wire):
    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: list[WireCondition] | None = None


class _Budget(Wire):
    metadata: Meta
    spec: _BudgetSpec = msgspec.field(default_factory=_BudgetSpec)
    status: _BudgetStatus = msgspec.field(default_factory=_BudgetStatus)


def _drain_budget(item: _Budget, now: datetime) -> DrainBudget:
    meta, spec, status = item.metadata, item.spec, item.status
    failed = next((c for c in status.conditions or () if c.type == "DisruptionAllowed" and c.reason == "SyncFailed"), None)
    return DrainBudget(
        namespace=word(meta.namespace),
        name=word(meta.name),
        created=meta.created,
        min_available=int_or_string(spec.min_available),
        max_unavailable=int_or_string(spec.max_unavailable),
        selector=None if spec.selector is None else selector(spec.selector),
        generation=meta.generation,
        observed=status.observed_generation,
        policy=word(spec.unhealthy_pod_eviction_policy or ""),
        allowed=status.disruptions_allowed,
        healthy=status.current_healthy,
        desired=status.desired_healthy,
        expected=status.expected_pods,
        sync_error="" if failed is None else plain(failed.message) or "its controller cannot count",
    )


# --- volumes ---------------------------------------------------------------------------------------------------------------------------


class _ClaimRef(Wire):
    namespace: str = ""
    name: str = ""


class _VolumeAffinity(Wire):
    required: _NodeSelector | None = None


class _VolumeSpec(Wire):
    capacity: Quantities | None = None
    claim_ref: _ClaimRef | None = None
    local: Present | None = None
    host_path: Present | None = None
    node_affinity: _VolumeAffinity | None = None


class _PersistentVolume(Wire):
    metadata: Meta
    spec: _VolumeSpec = msgspec.field(default_factory=_VolumeSpec)


def _drain_volume(item: _PersistentVolume, now: datetime) -> DrainVolume:
    spec, claim = item.spec, item.spec.claim_ref
    return DrainVolume(
        name=word(item.metadata.name),
        claim=f"{plain(claim.namespace)}/{plain(claim.name)}" if claim is not None and claim.name else "",
        local=spec.local is not None or spec.host_path is not None,
        terms=_node_terms(spec.node_affinity.required) if spec.node_affinity is not None else None,
        capacity_b=amount(spec.capacity["storage"]) if spec.capacity and "storage" in spec.capacity else None,
    )


class _Ticket(Wire):
    id: str = ""
    type: str = ""
    node_id: str = msgspec.field(name="nodeID", default="")


class _AttachmentSpec(Wire):
    volume: str = ""
    attachment_tickets: dict[str, _Ticket | None] | None = None


class _Attachment(Wire):
    metadata: Meta
    spec: _AttachmentSpec = msgspec.field(default_factory=_AttachmentSpec)


def _attachment(item: _Attachment, now: datetime) -> LhAttachment:
    meta, spec = item.metadata, item.spec
    tickets = tuple(
        Ticket(word(t.id), word(t.type), word(t.node_id)) for _, t in sorted((spec.attachment_tickets or {}).items()) if t is not None
    )
    return LhAttachment(word(meta.namespace), word(meta.name), word(spec.volume), tickets)


DRAIN_PODS = Decoder(_DetailPod, _drain_pod)
DRAIN_BUDGETS = Decoder(_Budget, _drain_budget)
DRAIN_VOLUMES = Decoder(_PersistentVolume, _drain_volume)
LH_ATTACHMENTS = Decoder(_Attachment, _attachment)
