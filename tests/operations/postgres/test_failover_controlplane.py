"""What a failover writes, on a real kube-apiserver with the operator's own CRD: the taint of a node that is off, and the pod that goes by its UID."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter
from coldtui.domain.errors import NotFound, Refused
from coldtui.domain.kinds import NODES, PODS
from coldtui.domain.plans import PlannedStep
from coldtui.lab.client import NODES as LAB_NODES
from coldtui.lab.client import PODS as LAB_PODS
from coldtui.lab.client import ApiError, KubeClient
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres.stopping import MARK, StopPrimary
from tests.controlplane.plane import ControlPlane
from tests.journals import a_run, an_entry
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.test_patch_controlplane import NAME, cluster

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(120)]
NODE, POD = "failover-node", "postgres-1"
TAINTED, DELETED = "failover-taint", "failover-pod"
"""Namespaces."""


@contextlib.asynccontextmanager
async def stage(plane: ControlPlane, space: str, folder: Path) -> AsyncIterator[tuple[KubeAdapter, KubeClient, RunContext]]:
    async with cluster(plane, space) as (kube, client):
        await client.create(LAB_NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"unschedulable": True}})
        clock = SystemClock()
        means = replace(offline(clock, ME), kube=kube)
        try:
            with journal_in(folder) as journal:
                run = replace(a_run("20261124-170210-0001"), locks=())
                journal.begin(run, an_entry(run))
                yield kube, client, RunContext(run.id, None, means, journal, step=0)
        finally:
            with contextlib.suppress(ApiError):
                await client.delete(LAB_NODES, NODE)


def planned(way: str, space: str) -> PlannedStep:
    args: dict[str, Any] = {"namespace": space, "cluster": NAME, "from": POD, "to": "postgres-2", "way": way, "node": NODE}
    return PlannedStep("postgres.stop-primary", "Stop it", args)


async def readiness(client: KubeClient, status: str) -> None:
    condition = {"type": "Ready", "status": status, "reason": "Test", "message": "", "lastHeartbeatTime": "2026-11-24T12:00:00Z"}
    await client.patch(LAB_NODES, NODE, {"status": {"conditions": [condition]}}, sub="status")


def test_the_taint_is_set_once_beside_others_and_never_on_a_node_that_lives(plane: ControlPlane, tmp_path: Path) -> None:
    """The whole list goes with the version that was read; a node that is Ready is refused and stays as it is."""

    async def scene() -> None:
        async with stage(plane, TAINTED, tmp_path) as (kube, client, ctx):
            await readiness(client, "True")
            with pytest.raises(Refused, match="Ready again"):
                await StopPrimary().run(planned("out-of-service", TAINTED), ctx)
            await readiness(client, "Unknown")
            own = ("not-ready", "unreachable")  # the node controller puts these on and takes them off, when it comes to it
            before = {str(t) for t in (await kube.read(NODES, NODE)).taints if t.key.rpartition("/")[2] not in own}
            for _ in range(2):
                await StopPrimary().run(planned("out-of-service", TAINTED), ctx)
                taints = [str(t) for t in (await kube.read(NODES, NODE)).taints]
                assert before | {MARK} <= set(taints)
                assert taints.count(MARK) == 1
            assert MARK in StopPrimary().left_behind(planned("out-of-service", TAINTED), ctx)

    asyncio.run(scene())


def test_the_pod_goes_at_once_and_a_namesake_stays(plane: ControlPlane, tmp_path: Path) -> None:
    """Without grace, by its UID: the order given again by a resumed run does not hit the pod that came after."""

    async def scene() -> None:
        async with stage(plane, DELETED, tmp_path) as (kube, client, ctx):
            await readiness(client, "True")
            step = StopPrimary()
            await client.create(LAB_PODS, pod(), DELETED)
            memo = await step.before(planned("delete-pod", DELETED), ctx)
            await ctx.remember(**memo)
            await step.run(planned("delete-pod", DELETED), ctx)
            with pytest.raises(NotFound):
                await kube.read(PODS, POD, DELETED)
            await client.create(LAB_PODS, pod(), DELETED)
            await step.run(planned("delete-pod", DELETED), ctx)
            assert (await kube.read(PODS, POD, DELETED)).uid != memo["uid"]

    asyncio.run(scene())


def pod() -> dict[str, Any]:
    spec = {"nodeName": NODE, "containers": [{"name": "postgres", "image": "none"}], "terminationGracePeriodSeconds": 1800}
    spec["automountServiceAccountToken"] = False
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": DELETED}, "spec": spec}
