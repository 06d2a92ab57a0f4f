"""The same servers, managers and operator on a real control plane: its API server reaches the pods' status ports and accepts the patches."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from coldtui.lab.client import PODS, ApiError
from coldtui.lab.controllers.base import Pace, pod_ready
from coldtui.lab.egress import Egress
from coldtui.lab.play import play
from coldtui.lab.postgres.database import Database
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(300)]
PACE = dataclasses.replace(Pace(), pod_start=0.3, pod_stop=0.3, promotion=0.5, rejoin=0.5, unready=1.0, notice=0.5, rebuild=2.0, boot=0.5)


async def _scene(plane: ControlPlane, socket: Path, folder: Path) -> None:
    database = await asyncio.to_thread(Database.prepare, folder)
    async with play(plane.kubeconfigs["admin"], pace=PACE, still=True, database=database) as lab:
        egress = Egress(lab, socket)
        await egress.start()
        try:
            await _questions(plane, Place(lab.client, lab, database, plane.kubeconfigs["admin"]))
        finally:
            await egress.aclose()


async def _questions(plane: ControlPlane, on: Place) -> None:
    async def running() -> bool:
        pods = (await on.client.list(PODS))[0]
        return len(pods) >= 60 and all(map(pod_ready, pods))

    await until(running, 90)
    primary = await on.until_whole(60)
    path = f"/api/v1/namespaces/database/pods/https:{primary}:8000/proxy/pg/status"
    said = json.loads(await asyncio.to_thread(plane.kubectl, "get", "--raw", path))
    assert (said["isPrimary"], said["timeLineID"], len(said["replicationInfo"])) == (True, 7, 2)
    with pytest.raises(ApiError) as refused:  # nobody serves that port
        await on.client.call("GET", f"/api/v1/namespaces/database/pods/http:{primary}:9999/proxy/metrics")
    assert refused.value.code in (500, 502, 503)
    target = next(n for n in on.database.servers if n != primary)
    await on.promote(target)

    async def moved() -> bool:
        return bool((await on.status())["currentPrimary"] == target)

    await until(moved, 60)
    assert await on.until_whole(90) == target
    assert (await on.status())["timelineID"] == 8
    assert (await on.manager(target))["isPrimary"] is True
    assert await on.endpoints("rw") == [target]


def test_on_a_real_control_plane(tmp_path: Path) -> None:
    """The real API server proxies to ``/pg/status`` through the lab's way to the pods, and a switchover by its status patch moves the real primary."""
    socket = tmp_path / "egress.sock"
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds(), egress=socket) as plane:
        asyncio.run(_scene(plane, socket, tmp_path / "postgres"))
