"""Who takes the place of a pod that is gone: the same name elsewhere, or a new pod of the same ReplicaSet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ...domain.errors import ColdError, NotFound
from ...domain.kinds import PODS
from ...domain.pods import Pod
from ...ports import Kube
from .targets import Target
from .workloads import SAME_NAME

HASH = "pod-template-hash"
EVER = datetime(1971, 1, 1, tzinfo=UTC)


class Successors:
    """For words only: what cannot be read is left out, and the drain goes on."""

    def __init__(self, kube: Kube, node: str, known: frozenset[str]) -> None:
        """`known`: UIDs of the pods that were on the node."""
        self._kube, self._node = kube, node
        self._taken = set(known)

    async def find(self, gone: Iterable[Target]) -> None:
        """Fill in `successor` where it is known by now; one that does not run yet is looked for again."""
        sets: dict[tuple[str, str], list[Target]] = {}
        for target in gone:
            owner = target.pod.pod.owner if target.pod is not None else None
            if target.pod is None or owner is None or _settled(target):
                continue
            if owner.kind in SAME_NAME:
                await self._by_name(target)
            elif owner.kind == "ReplicaSet" and (hashed := target.pod.pod.labels.get(HASH)):
                sets.setdefault((target.namespace, hashed), []).append(target)
        for (namespace, hashed), targets in sets.items():
            await self._by_set(namespace, hashed, targets)

    async def _by_name(self, target: Target) -> None:
        try:
            pod: Pod = await self._kube.read(PODS, target.name, target.namespace)
        except NotFound:
            return
        except ColdError:
            return  # the look at the node's pods says when the API is away
        if pod.uid != target.uid:
            _fill(target, pod)

    async def _by_set(self, namespace: str, hashed: str, targets: Sequence[Target]) -> None:
        try:
            pods: tuple[Pod, ...] = await self._kube.read_all(PODS, namespace=namespace, labels=f"{HASH}={hashed}")
        except ColdError:
            return
        since = min(_asked_at(t) for t in targets)
        fresh = [p for p in pods if p.uid not in self._taken and p.node != self._node and p.deleted is None and p.created >= since]
        by_name, ordered = {p.name: p for p in fresh}, sorted(fresh, key=lambda p: (p.created, p.name))
        for target in targets:
            pod = by_name.get(target.heir) or next((p for p in ordered if p.name not in {t.heir for t in targets}), None)
            if pod is not None:
                _fill(target, pod)
                if _settled(target):
                    self._taken.add(pod.uid)


def _asked_at(target: Target) -> datetime:
    """When its deletion began: by the server's clock, as creation times are, where its deletionTimestamp was seen; else by ours."""
    pod = target.pod.pod if target.pod is not None else None
    if pod is not None and pod.deleted is not None:
        return pod.deleted - timedelta(seconds=pod.grace_s + 1)
    return (target.begun or EVER) - timedelta(seconds=1)


def _settled(target: Target) -> bool:
    """Its successor runs: nothing more to look for."""
    return bool(target.successor) and not target.successor.endswith(")")


def _fill(target: Target, pod: Pod) -> None:
    target.heir = pod.name
    where = f"on {pod.node}" if pod.node else "(Pending)"
    unready = " (not Ready yet)" if pod.node and not pod.is_ready else ""
    target.successor = f"{'back' if pod.name == target.name else f'replaced by {pod.name}'} {where}{unready}"
