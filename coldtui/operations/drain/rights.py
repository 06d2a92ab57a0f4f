"""Whether this user may do what a drain does, asked before anything is done: a right that is missed only at the second step leaves a node
cordoned for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ...domain.drains import DrainPod
from ...domain.errors import ColdError
from ...domain.kinds import NODES
from ...domain.plans import Finding, Outlook, Weight
from ...domain.text import counted
from ...domain.values import dataclass
from ...ports import Kube
from .params import DrainNode
from .refill import named

REMEDY = "ask for that right (RBAC)"


@dataclass(frozen=True, slots=True)
class Rights:
    """What is certainly not permitted. A server that does not say is asked no further: the act itself will tell."""

    cordon: bool = True
    barred: frozenset[str] = frozenset()
    """Namespaces whose pods may not be evicted (or deleted, where budgets are bypassed)."""


async def rights_of(kube: Kube, params: DrainNode, pods: Sequence[DrainPod], deadline_s: float) -> Rights:
    """Asks for the whole cluster first; one namespace after another only where that is not given."""
    spaces = sorted({pod.pod.namespace for pod in pods})
    cordon, everywhere = await asyncio.gather(_may(kube, "patch", NODES.plural, "", deadline_s), _may_remove(kube, params, "", deadline_s))
    if everywhere or not spaces:
        return Rights(cordon)
    each = await asyncio.gather(*(_may_remove(kube, params, space, deadline_s) for space in spaces))
    return Rights(cordon, frozenset(space for space, may in zip(spaces, each, strict=True) if not may))


async def _may_remove(kube: Kube, params: DrainNode, namespace: str, deadline_s: float) -> bool:
    if params.disable_eviction:
        return await _may(kube, "delete", "pods", namespace, deadline_s)
    return await _may(kube, "create", "pods", namespace, deadline_s, "eviction")


async def _may(kube: Kube, verb: str, plural: str, namespace: str, deadline_s: float, sub: str = "") -> bool:
    try:
        return await kube.may(verb, "", plural, namespace=namespace, subresource=sub, deadline_s=deadline_s)
    except ColdError:
        return True


def findings(rights: Rights, node: str, cordoned: bool, params: DrainNode, leaving: Sequence[DrainPod]) -> Iterator[Finding]:
    """Only of what the drain would come to: a node that is cordoned needs no patch, a namespace without a pod that leaves no eviction."""
    where = f"nodes/{node}"
    if not rights.cordon and not cordoned:
        yield Finding("drain.right-cordon", Weight.STOP, f"cordoning {node} needs patch on nodes", where, REMEDY, Outlook.REFUSED)
    held = [pod for pod in leaving if pod.pod.namespace in rights.barred]
    if held:
        right = "delete on pods" if params.disable_eviction else "create on pods/eviction"
        verb = "deleting" if params.disable_eviction else "evicting"
        spaces = named(sorted({pod.pod.namespace for pod in held}))
        sentence = f"{verb} {counted(len(held), 'pod')} of {node} needs {right} in {spaces}"
        yield Finding("drain.right-evict", Weight.STOP, sentence, where, REMEDY, Outlook.REFUSED)
