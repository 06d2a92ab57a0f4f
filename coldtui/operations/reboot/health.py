"""What of the storage and the database is well on a node: before a reboot to remember, after it to wait for.

It is waited for after the uncordon: Longhorn rebuilds no copy on a node that takes no new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import timedelta
from typing import Any

from ...domain.errors import NotInstalled, Unreachable
from ...domain.kinds import LH_NODES, LH_REPLICAS, LH_VOLUMES, NODES, PODS, Kind
from ...domain.nodes import Node
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.storage import LhVolume, title
from ...domain.text import counted
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ...ports import Kube
from ..drain.postgres import is_instance
from ..drain.refill import named
from ..engine import RunContext, Step
from ..host_steps import Pace, kept
from .back import Lacking, until_there


@dataclass(frozen=True, slots=True)
class Health:
    volumes: tuple[str, ...] = ()
    """Keys of healthy Longhorn volumes with a copy on the node."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Keys of ready PostgreSQL instances on the node -> which pod it is and since when it is ready."""


async def health_of(kube: Kube, node: str) -> Health:
    """Raises ColdError when it cannot be read."""
    volumes: tuple[LhVolume, ...] = await _all(kube, LH_VOLUMES)
    replicas = await _all(kube, LH_REPLICAS) if volumes else ()
    here = {replica.volume for replica in replicas if replica.node == node}
    pods: tuple[Pod, ...] = await kube.read_all(PODS, fields=f"spec.nodeName={node}")
    return Health(
        tuple(sorted(v.key for v in volumes if v.robustness == "healthy" and v.name in here)),
        {p.key: _stamp(p) for p in pods if is_instance(p) and p.is_ready},
    )


def _stamp(pod: Pod) -> str:
    return f"{pod.uid}/{pod.ready_since.isoformat() if pod.ready_since is not None else ''}"


async def _all(kube: Kube, kind: Kind) -> tuple[Any, ...]:
    try:
        return await kube.read_all(kind)
    except NotInstalled:
        return ()


async def ill_volumes(kube: Kube, before: Health) -> str:
    """Volumes that were healthy and are not yet again, in words; empty: all are. What was removed meanwhile is not missed."""
    if not before.volumes:
        return ""
    found: dict[str, LhVolume] = {volume.key: volume for volume in await _all(kube, LH_VOLUMES)}
    # A volume that nobody uses has no robustness: Longhorn looks at it when it is attached again.
    ill = [found[key] for key in before.volumes if key in found and found[key].robustness in ("degraded", "faulted")]
    names = named([f"{title(volume)} {volume.robustness}" for volume in ill])
    return f"{counted(len(ill), 'Longhorn volume')} not healthy again: {names}" if ill else ""


async def ill_instances(kube: Kube, before: Health, *, believe: bool) -> str:
    """Instances that were ready and are not yet again. A pod that is ready since before the reboot is one of which nothing new was told; such word
    is taken when `believe`."""
    if not before.instances:
        return ""
    pods: dict[str, Pod] = {pod.key: pod for pod in await kube.read_all(PODS, namespace=_one_namespace(before.instances))}

    def well(key: str, stamp: str) -> bool:
        return key in pods and pods[key].is_ready and (believe or _stamp(pods[key]) != stamp)

    absent = [key for key, stamp in before.instances.items() if not well(key, stamp)]
    return f"PostgreSQL instance not ready again: {named(absent)}" if absent else ""


def _one_namespace(keys: Iterable[str]) -> str:
    """To list no more than need be."""
    namespaces = {key.partition("/")[0] for key in keys}
    return namespaces.pop() if len(namespaces) == 1 else ""


class SeeWell(Step):
    """Arguments: `node`. Compares with what the step before the order remembered. Memo: `well`."""

    name = "host.well"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("well"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        node = str(planned.args["node"])
        old = ctx.now + timedelta(seconds=self.pace.stale_s)
        late = f"{node} is back, but not all that was well there is well again"
        await until_there(ctx, lambda: self._look(node, ctx, believe=ctx.now > old), late, self.pace.look_s)
        await ctx.remember(well=True)
        await ctx.say(f"storage and database of {node} are as before the reboot")

    async def _look(self, node: str, ctx: RunContext, *, believe: bool) -> Lacking | None:
        kube, before = ctx.means.kube, Health(tuple(kept(ctx, "volumes") or ()), dict(kept(ctx, "instances") or {}))
        try:
            volumes, instances = await ill_volumes(kube, before), await ill_instances(kube, before, believe=believe)
            if volumes and await _closed(kube, node):
                await ctx.item(f"nodes/{node}", f"{volumes}; Longhorn rebuilds no copy there while it is cordoned")
                volumes = ""
        except Unreachable as error:
            return Lacking(
                f"the Kubernetes API does not answer: {trouble_of(error).words}", "look at k3s on the servers: journalctl -u k3s -b"
            )
        what = "; ".join(part for part in (volumes, instances) if part)
        return Lacking(what, "rebuilding can take long: coldtui storage, coldtui postgres") if what else None


async def _closed(kube: Kube, node: str) -> bool:
    """Whether the node is cordoned and Longhorn puts nothing there for that."""
    found: Node = await kube.read(NODES, node)
    if not found.unschedulable:
        return False
    for each in await _all(kube, LH_NODES):
        if each.name == node:
            condition = next((c for c in each.conditions if c.type == "Schedulable"), None)
            return condition is not None and condition.status == "False"
    return False
