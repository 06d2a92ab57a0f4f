"""Deployments, the sets beside them, and disruption budgets."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.deployments import Budget, DaemonSet, Deployment, ReplicaSet, StatefulSet
from ...domain.text import plain
from .decoding import Decoder, Meta, Wire, WireCondition, conditions, int_or_string, number, owner, word, words


class _Annotations(Wire):
    revision: str = msgspec.field(name="deployment.kubernetes.io/revision", default="")
    change_cause: str = msgspec.field(name="kubernetes.io/change-cause", default="")


class _Meta(Meta):
    annotations: _Annotations | None = None

    @property
    def notes(self) -> _Annotations:
        return self.annotations or _NO_NOTES


_NO_NOTES = _Annotations()


class _Container(Wire):
    name: str
    image: str = ""


class _PodSpec(Wire):
    containers: list[_Container] | None = None


class _Template(Wire):
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)


class _Selector(Wire):
    match_labels: dict[str, str] | None = None
    match_expressions: list[msgspec.Raw] | None = None


class _RollingUpdate(Wire):
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class _Strategy(Wire):
    type: str = ""
    rolling_update: _RollingUpdate | None = None


class _Spec(Wire):
    """Of all four workloads."""

    replicas: int = 1
    """The API's default."""
    paused: bool = False
    template: _Template = msgspec.field(default_factory=_Template)
    selector: _Selector | None = None
    strategy: _Strategy = msgspec.field(default_factory=_Strategy)


class _Status(Wire):
    """Of Deployment, ReplicaSet and StatefulSet."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: list[WireCondition] | None = None


class _Workload(Wire):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def _images(template: _Template) -> tuple[tuple[str, str], ...]:
    return tuple((word(c.name), word(c.image)) for c in template.spec.containers or ())


def _deployment(item: _Workload, now: datetime) -> Deployment:
    meta, spec, status = item.metadata, item.spec, item.status
    rolling = spec.strategy.rolling_update or _RollingUpdate()
    return Deployment(
        namespace=word(meta.namespace),
        name=word(meta.name),
        uid=plain(meta.uid),
        created=meta.created,
        generation=meta.generation,
        observed_generation=status.observed_generation,
        desired=spec.replicas,
        replicas=status.replicas,
        updated=status.updated_replicas,
        ready=status.ready_replicas,
        available=status.available_replicas,
        unavailable=status.unavailable_replicas,
        paused=spec.paused,
        strategy=word(spec.strategy.type),
        max_surge=int_or_string(rolling.max_surge),
        max_unavailable=int_or_string(rolling.max_unavailable),
        revision=number(meta.notes.revision),
        change_cause=plain(meta.notes.change_cause),
        images=_images(spec.template),
        selector=words(spec.selector.match_labels if spec.selector else None),
        labels=words(meta.labels),
        conditions=conditions(status.conditions),
    )


def _replicaset(item: _Workload, now: datetime) -> ReplicaSet:
    meta, spec, status = item.metadata, item.spec, item.status
    return ReplicaSet(
        namespace=word(meta.namespace),
        name=word(meta.name),
        uid=plain(meta.uid),
        created=meta.created,
        owner=owner(meta),
        revision=number(meta.notes.revision),
        desired=spec.replicas,
        replicas=status.replicas,
        ready=status.ready_replicas,
        available=status.available_replicas,
        images=_images(spec.template),
        change_cause=plain(meta.notes.change_cause),
    )


def _statefulset(item: _Workload, now: datetime) -> StatefulSet:
    meta, spec, status = item.metadata, item.spec, item.status
    return StatefulSet(
        namespace=word(meta.namespace),
        name=word(meta.name),
        uid=plain(meta.uid),
        created=meta.created,
        generation=meta.generation,
        observed_generation=status.observed_generation,
        desired=spec.replicas,
        replicas=status.replicas,
        ready=status.ready_replicas,
        updated=status.updated_replicas,
        available=status.available_replicas,
        images=_images(spec.template),
    )


DEPLOYMENTS = Decoder(_Workload, _deployment)
REPLICASETS = Decoder(_Workload, _replicaset)
STATEFULSETS = Decoder(_Workload, _statefulset)


class _DaemonSetStatus(Wire):
    observed_generation: int = 0
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    number_ready: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0


class _DaemonSet(Wire):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _DaemonSetStatus = msgspec.field(default_factory=_DaemonSetStatus)


def _daemonset(item: _DaemonSet, now: datetime) -> DaemonSet:
    meta, status = item.metadata, item.status
    return DaemonSet(
        namespace=word(meta.namespace),
        name=word(meta.name),
        uid=plain(meta.uid),
        created=meta.created,
        generation=meta.generation,
        observed_generation=status.observed_generation,
        desired=status.desired_number_scheduled,
        current=status.current_number_scheduled,
        ready=status.number_ready,
        updated=status.updated_number_scheduled,
        available=status.number_available,
        images=_images(item.spec.template),
    )


DAEMONSETS = Decoder(_DaemonSet, _daemonset)


class _BudgetSpec(Wire):
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: _Selector | None = None


class _BudgetStatus(Wire):
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class _Budget(Wire):
    metadata: Meta
    spec: _BudgetSpec = msgspec.field(default_factory=_BudgetSpec)
    status: _BudgetStatus = msgspec.field(default_factory=_BudgetStatus)


def _budget(item: _Budget, now: datetime) -> Budget:
    meta, spec, status = item.metadata, item.spec, item.status
    return Budget(
        namespace=word(meta.namespace),
        name=word(meta.name),
        min_available=int_or_string(spec.min_available),
        max_unavailable=int_or_string(spec.max_unavailable),
        selector=None if spec.selector is None else words(spec.selector.match_labels),
        has_expressions=bool(spec.selector and spec.selector.match_expressions),
        allowed=status.disruptions_allowed,
        healthy=status.current_healthy,
        desired_healthy=status.desired_healthy,
        expected=status.expected_pods,
    )


BUDGETS = Decoder(_Budget, _budget)
