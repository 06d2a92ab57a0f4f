"""The patch of a switchover on a real kube-apiserver with the operator's own CRD: the status subresource, the guard of its version, the watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.domain.errors import Conflict
from coldtui.domain.kinds import PG_CLUSTERS
from coldtui.lab import site
from coldtui.lab.client import NAMESPACES, ApiError, KubeClient
from coldtui.lab.client import PG_CLUSTERS as CLUSTERS
from coldtui.operations.postgres.switchover import patch_of
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(120)]
NS, NAME = "switchover-patch", "cold-postgres"


@contextlib.asynccontextmanager
async def cluster(plane: ControlPlane, space: str = NS) -> AsyncIterator[tuple[KubeAdapter, KubeClient]]:
    """The seeded Cluster in a namespace of its own, with its status."""
    seeded = next(o for o in site.build().objects if o["kind"] == "Cluster")
    kubeconfig = plane.kubeconfigs["admin"]
    kube = connect(kubeconfig=kubeconfig, writable=True)
    async with KubeClient.from_kubeconfig(kubeconfig) as client:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        try:
            meta = {"name": NAME, "namespace": space, "annotations": seeded["metadata"].get("annotations") or {}}
            await client.create(CLUSTERS, {**{k: seeded[k] for k in ("apiVersion", "kind", "spec")}, "metadata": meta}, space)
            await client.patch(CLUSTERS, NAME, {"status": seeded["status"]}, space, sub="status")
            yield kube, client
        finally:
            with contextlib.suppress(ApiError):
                await client.delete(CLUSTERS, NAME, space)
            await client.delete(NAMESPACES, space)
            await kube.aclose()


def test_the_patch_its_guard_and_the_watch(plane: ControlPlane) -> None:
    """The status takes the target and every condition; the same version a second time is a conflict that changes nothing; the watch brings the change."""

    async def scene() -> None:
        async with cluster(plane) as (kube, _):
            raw = await kube.fetch(PG_CLUSTERS, NAME, NS)
            before = raw["status"]["conditions"]
            batches: list[Any] = []
            stream = kube.streams.watch(PG_CLUSTERS, str(raw["metadata"]["resourceVersion"]), timeout_s=20)
            watch = asyncio.get_running_loop().run_in_executor(None, _until_target, stream, batches)
            at = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
            await kube.patch(PG_CLUSTERS, NAME, patch_of(raw, "postgres-2", at), NS, subresource="status")
            found = await kube.read(PG_CLUSTERS, NAME, NS)
            assert (found.target_primary, found.current_primary, found.phase) == ("postgres-2", "postgres-1", "Switchover in progress")
            assert (found.target_primary_since, found.phase_reason) == (at, "Switching over to postgres-2")
            assert [c.type for c in found.conditions] == [c["type"] for c in before]
            assert found.condition("Ready").status == "False"
            with pytest.raises(Conflict):
                await kube.patch(PG_CLUSTERS, NAME, patch_of(raw, "postgres-3", at), NS, subresource="status")
            assert (await kube.read(PG_CLUSTERS, NAME, NS)).target_primary == "postgres-2"
            await watch
            assert batches[-1].target_primary == "postgres-2"

    asyncio.run(scene())


def _until_target(stream: Any, found: list[Any]) -> None:
    for batch in stream:
        found += batch.changed.values()
        if found and found[-1].target_primary == "postgres-2":
            return
