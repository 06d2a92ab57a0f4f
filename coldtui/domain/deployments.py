"""Workloads: deployments with their rollouts, and the sets beside them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Condition, Owner, Ref
from .problems import Problem, Severity
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

SETTLING = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Deployment:
    namespace: str
    name: str
    uid: str
    created: datetime
    generation: int
    observed_generation: int
    desired: int
    replicas: int
    """All pods of all its ReplicaSets."""
    updated: int
    ready: int
    available: int
    unavailable: int
    paused: bool
    strategy: str
    max_surge: str
    max_unavailable: str
    revision: int
    """Annotation deployment.kubernetes.io/revision; 0 when absent."""
    change_cause: str
    images: tuple[tuple[str, str], ...]
    """(container, image) of the template."""
    selector: dict[str, str]
    labels: dict[str, str]
    conditions: tuple[Condition, ...]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("deployments", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def version(self) -> str:
        """The tag of the first image; a digest is shortened to 12 letters."""
        image = self.images[0][1] if self.images else ""
        _, at, digest = image.partition("@")
        if at:
            return digest.removeprefix("sha256:")[:12]
        _, colon, tag = image.rpartition(":")
        return tag if colon and "/" not in tag else "latest"

    @property
    def rollout(self) -> str:
        """Where the rollout stands, in kubectl's order (polymorphichelpers rollout_status.go).

        One of: unobserved, paused, failed, updating, old-pending, not-available, complete.
        """
        if self.observed_generation < self.generation:
            return "unobserved"
        progressing = self.condition("Progressing")
        if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
            return "failed"
        if self.paused:
            return "paused"
        if self.updated < self.desired:
            return "updating"
        if self.replicas > self.updated:
            return "old-pending"
        if self.available < self.updated:
            return "not-available"
        return "complete"


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    namespace: str
    name: str
    uid: str
    created: datetime
    owner: Owner | None
    revision: int
    desired: int
    replicas: int
    ready: int
    available: int
    images: tuple[tuple[str, str], ...]
    change_cause: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class StatefulSet:
    namespace: str
    name: str
    uid: str
    created: datetime
    generation: int
    observed_generation: int
    desired: int
    replicas: int
    ready: int
    updated: int
    available: int
    images: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class DaemonSet:
    namespace: str
    name: str
    uid: str
    created: datetime
    generation: int
    observed_generation: int
    desired: int
    current: int
    ready: int
    updated: int
    available: int
    images: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Budget:
    """PodDisruptionBudget."""

    namespace: str
    name: str
    min_available: str
    max_unavailable: str
    selector: dict[str, str] | None
    """matchLabels; None selects nothing. Expressions are left to the drain plan, which reads fresh."""
    has_expressions: bool
    allowed: int
    healthy: int
    desired_healthy: int
    expected: int

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def trouble(world: World, deployment: Deployment, now: datetime) -> Problem | None:
    """What is wrong with one deployment, or None."""
    d = deployment
    progressing, available, failure = d.condition("Progressing"), d.condition("Available"), d.condition("ReplicaFailure")
    hits = f"{d.available} of {d.desired} available"
    since = next(
        (c.since for c in (available, progressing) if c is not None and c.status != "True" and c.since),
        progressing.since if progressing else None,
    )
    if d.rollout == "failed" and progressing is not None:
        return Problem(
            d.ref,
            Severity.CRITICAL if d.available == 0 else Severity.WARNING,
            f"rollout of {d.key} made no progress within its deadline",
            progressing.since,
            hits,
            progressing.message,
        )
    if failure is not None and failure.status == "True":
        return Problem(d.ref, Severity.WARNING, f"{d.key} cannot make pods", failure.since, hits, failure.message)
    if d.desired > 0 and d.available == 0 and now - d.created > SETTLING:
        return Problem(d.ref, Severity.CRITICAL, f"{d.key} has no available replica", since, hits, available.message if available else "")
    if d.available < d.desired and d.rollout not in {"updating", "old-pending", "unobserved"} and (since is None or now - since > SETTLING):
        return Problem(
            d.ref,
            Severity.WARNING,
            f"{d.key} has {d.available} of {d.desired} replicas available",
            since,
            hits,
            available.message if available else "",
        )
    if d.rollout == "paused":
        return Problem(d.ref, Severity.NOTICE, f"rollout of {d.key} is paused", progressing.since if progressing else None, hits, "")
    return None


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    found = [p for d in world.deployments.items.values() if (p := trouble(world, d, now)) is not None]
    for s in world.statefulsets.items.values():
        if s.ready < s.desired and now - s.created > SETTLING:
            ref = Ref("statefulsets", s.name, s.namespace)
            found.append(
                Problem(
                    ref,
                    Severity.CRITICAL if s.ready == 0 else Severity.WARNING,
                    f"{s.key} has {s.ready} of {s.desired} replicas ready",
                    None,
                    "",
                    "",
                )
            )
    for ds in world.daemonsets.items.values():
        if ds.ready < ds.desired and now - ds.created > SETTLING:
            ref = Ref("daemonsets", ds.name, ds.namespace)
            found.append(Problem(ref, Severity.WARNING, f"{ds.key} is ready on {ds.ready} of {ds.desired} nodes", None, "", ""))
    return tuple(found)
