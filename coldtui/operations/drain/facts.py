"""What a drain rests on, read afresh: every source within one deadline, each for itself, so that a slow or forbidden one holds no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from immutables import Map

from ...domain import kinds
from ...domain.drains import (
    DRAIN_BUDGETS,
    DRAIN_PODS,
    DRAIN_VOLUMES,
    LH_ATTACHMENTS,
    DrainBudget,
    DrainPod,
    DrainVolume,
    LhAttachment,
)
from ...domain.errors import ColdError, Invalid, NotFound, NotInstalled, Unreachable, UsageError
from ...domain.kinds import Kind
from ...domain.nodes import Node
from ...domain.plans import Premise
from ...domain.readings import Known, Reading, SourceState, Unknown
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ...domain.world import Shelf, World
from ...ports import Kube, Means
from ..nodes import unknown_node
from ..postgres.facts import PgFacts
from .params import DrainNode
from .rights import Rights, rights_of

WORLD: tuple[Kind, ...] = (
    kinds.NODES, kinds.DAEMONSETS, kinds.DEPLOYMENTS, kinds.REPLICASETS, kinds.STATEFULSETS, kinds.PG_CLUSTERS, kinds.PG_BACKUPS,
    kinds.LH_VOLUMES, kinds.LH_REPLICAS, kinds.LH_ENGINES, kinds.LH_SETTINGS, kinds.LH_BACKUPS,
    kinds.SERVICES, kinds.ENDPOINTSLICES, kinds.IP_POOLS, kinds.L2_ADVERTISEMENTS, kinds.L2_STATUSES,
)  # fmt: skip
"""Kinds that are judged as everywhere else in the program."""


@dataclass(frozen=True, slots=True)
class DrainFacts:
    """Every part is Known, or Unknown with the reason. A component that is not installed is known to have nothing."""

    name: str
    """Of the node."""
    at: datetime
    node: Reading[Node]
    pods: Reading[tuple[DrainPod, ...]]
    """On the node, as chosen by the pod selector."""
    every: Reading[tuple[DrainPod, ...]]
    """Of the whole cluster."""
    budgets: Reading[tuple[DrainBudget, ...]]
    volumes: Reading[tuple[DrainVolume, ...]]
    attachments: Reading[tuple[LhAttachment, ...]]
    world: World
    """The other kinds, read afresh for this plan and arranged so that the judgements of the domain serve here too. Never the watched one."""
    premises: tuple[Premise, ...] = ()
    switchovers: Mapping[str, Reading[tuple[PgFacts, str]]] = field(default_factory=dict)
    """By cluster whose primary is on the node: what a switchover rests on, and to whom; Unknown: why none can come first."""
    rights: Rights = field(default_factory=Rights)


@dataclass(frozen=True, slots=True)
class Read:
    """What came of one question: a value or the error."""

    title: str
    """`disruption budgets`, `pods of k3s-worker-1`."""
    value: Any = None
    error: ColdError | None = None

    @property
    def absent(self) -> bool:
        return isinstance(self.error, NotInstalled)

    @property
    def failed(self) -> str:
        """Why it could not be read, in one line; empty: it was, or there is no such component."""
        return "" if self.error is None or self.absent else trouble_of(self.error).words

    def reading(self, at: datetime) -> Reading[Any]:
        if self.failed:
            return Unknown(self.title, self.failed)
        return Known(() if self.absent else self.value, self.title, at)

    def premise(self, at: datetime) -> Premise:
        if self.failed:
            return Premise(self.title, None, self.failed)
        return Premise(f"{self.title}: not installed" if self.absent else self.title, at)

    def state(self, kind: Kind, at: datetime) -> SourceState:
        if self.error is None:
            return SourceState(kind.name, as_of=at)
        return SourceState(kind.name, trouble=trouble_of(self.error), since=at)


OWN: dict[str, Kind] = {"every": DRAIN_PODS, "budgets": DRAIN_BUDGETS, "volumes": DRAIN_VOLUMES, "attachments": LH_ATTACHMENTS}
"""Lists beside those of the World, by the field of the facts that holds them."""


async def gather(params: DrainNode, means: Means, deadline_s: float) -> DrainFacts:
    """Raises NotFound (with the nearest names), UsageError for a pod selector that the API does not take, and Unreachable or Unauthorized
    when neither the node nor its pods could be asked for: then there is nothing to plan."""
    kube = means.kube
    questions = {
        "node": _ask(f"node {params.node}", kube.read(kinds.NODES, params.node, deadline_s=deadline_s), deadline_s),
        "pods": _ask(f"pods of {params.node}", pods_on(kube, params.node, params.pod_selector, deadline_s=deadline_s), deadline_s),
        **{name: _list(kube, kind, deadline_s) for name, kind in OWN.items()},
        **{kind.name: _list(kube, kind, deadline_s) for kind in WORLD},
    }
    reads = dict(zip(questions, await asyncio.gather(*questions.values()), strict=True))
    _refuse(params, reads)
    rights = await rights_of(kube, params, reads["pods"].value or (), deadline_s / 4)
    return replace(assemble(params.node, reads, means.clock.now()), rights=rights)


async def _ask(title: str, question: Awaitable[Any], deadline_s: float) -> Read:
    try:
        return Read(title, await asyncio.wait_for(question, deadline_s))
    except ColdError as error:
        return Read(title, error=error)
    except TimeoutError:
        return Read(title, error=Unreachable(f"no answer within {deadline_s:.0f} s"))


def _list(kube: Kube, kind: Kind, deadline_s: float) -> Awaitable[Read]:
    return _ask("all pods" if kind is DRAIN_PODS else kind.title, kube.read_all(kind, deadline_s=deadline_s), deadline_s)


async def pods_on(kube: Kube, node: str, selector: str = "", *, deadline_s: float = 10.0) -> tuple[DrainPod, ...]:
    """The pods of a node, exactly as kubectl lists them; the server chooses."""
    found: tuple[DrainPod, ...] = await kube.read_all(DRAIN_PODS, fields=f"spec.nodeName={node}", labels=selector, deadline_s=deadline_s)
    return found


def _refuse(params: DrainNode, reads: Mapping[str, Read]) -> None:
    node, pods = reads["node"], reads["pods"]
    if isinstance(node.error, NotFound):
        raise unknown_node(params.node, tuple(n.name for n in reads["nodes"].value or ()))
    if isinstance(pods.error, Invalid) and params.pod_selector:
        hint = "such as app=web or 'tier in (web, api)'"
        raise UsageError(f"pod_selector {params.pod_selector!r} is no label selector", detail=pods.error.detail, hint=hint)
    if isinstance(node.error, Unreachable) and isinstance(pods.error, Unreachable):
        raise node.error


def assemble(name: str, reads: Mapping[str, Read], at: datetime) -> DrainFacts:
    """The facts from what was read, by the names of `gather`'s questions."""
    node = reads["node"]
    if node.failed:  # out of the list of all, where it may not be read by itself
        node = next((Read(node.title, found) for found in reads["nodes"].value or () if found.name == name), node)
    own: dict[str, Any] = {slot: reads[slot].reading(at) for slot in OWN}
    return DrainFacts(
        name=name,
        at=at,
        node=node.reading(at),
        pods=reads["pods"].reading(at),
        **own,
        world=_world(reads, at),
        premises=tuple(read.premise(at) for read in {**reads, "node": node}.values()),
        switchovers={},
    )


def _world(reads: Mapping[str, Read], at: datetime) -> World:
    shelves: dict[str, Any] = {kind.name: Shelf(Map({value.key: value for value in reads[kind.name].value or ()})) for kind in WORLD}
    pods = {pod.key: pod.pod for pod in reads["every"].value or ()}
    states = {kind.name: reads[kind.name].state(kind, at) for kind in WORLD} | {"pods": reads["every"].state(kinds.PODS, at)}
    return World(
        revision=0,
        at=at,
        sources=World(revision=0, at=at).sources.update(states),
        pods=Shelf(Map(pods)),
        restless_pods=Map({key: pod for key, pod in pods.items() if not pod.calm}),
        **shelves,
    )
