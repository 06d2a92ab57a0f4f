"""The patches of hibernating and of restarting the primary on a real kube-apiserver with the operator's own CRD, each with the guard of its version."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from coldtui.domain.errors import Conflict
from coldtui.domain.kinds import PG_CLUSTERS
from coldtui.operations.postgres.ordering import guarded
from coldtui.operations.postgres.restarting_primary import PHASE, patch_of
from tests.controlplane.plane import ControlPlane
from tests.operations.postgres.test_patch_controlplane import NAME, cluster

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(120)]


def test_the_annotation_and_its_guard(plane: ControlPlane) -> None:
    """On, then off; the others are kept, and the version that was read before is a conflict that changes nothing."""

    async def scene() -> None:
        async with cluster(plane, "hibernate-order") as (kube, _):
            raw = await kube.fetch(PG_CLUSTERS, NAME, "hibernate-order")
            others = dict(raw["metadata"].get("annotations") or {})
            await kube.patch(PG_CLUSTERS, NAME, guarded(raw, hibernation="on"), "hibernate-order")
            assert (await kube.read(PG_CLUSTERS, NAME, "hibernate-order")).hibernated
            with pytest.raises(Conflict):
                await kube.patch(PG_CLUSTERS, NAME, guarded(raw, hibernation="off"), "hibernate-order")
            raw = await kube.fetch(PG_CLUSTERS, NAME, "hibernate-order")
            assert raw["metadata"]["annotations"] == {**others, "cnpg.io/hibernation": "on"}
            await kube.patch(PG_CLUSTERS, NAME, guarded(raw, hibernation="off"), "hibernate-order")
            found = await kube.read(PG_CLUSTERS, NAME, "hibernate-order")
            assert (found.hibernated, found.hibernation) == (False, "off")

    asyncio.run(scene())


def test_the_phase_and_its_guard(plane: ControlPlane) -> None:
    """The status takes phase, reason and every condition; targets stay; a second time is a conflict."""

    async def scene() -> None:
        async with cluster(plane, "restart-order") as (kube, _):
            raw = await kube.fetch(PG_CLUSTERS, NAME, "restart-order")
            before, at = await kube.read(PG_CLUSTERS, NAME, "restart-order"), datetime.now(UTC)
            await kube.patch(PG_CLUSTERS, NAME, patch_of(raw, at), "restart-order", subresource="status")
            found = await kube.read(PG_CLUSTERS, NAME, "restart-order")
            assert (found.phase, found.phase_reason) == (PHASE, "Requested by the user")
            assert (found.current_primary, found.target_primary) == (before.current_primary, before.target_primary)
            assert [c.type for c in found.conditions] == [c.type for c in before.conditions]
            assert found.condition("Ready").status == "False"
            with pytest.raises(Conflict):
                await kube.patch(PG_CLUSTERS, NAME, patch_of(raw, at), "restart-order", subresource="status")

    asyncio.run(scene())
