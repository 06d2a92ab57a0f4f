"""Drains on a living API, embedded and real: the scenes, and the whole site with PostgreSQL and Longhorn on the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldtui.domain.plans import Fate
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import NODES
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.operations.drain.ground import WORKER, Ground, empty_ground, ground, real_ground
from tests.operations.drain.scenes import SCENES, Scene


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("real") / "plane", crds=lab_crds()) as running:
        yield running


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s.name)
async def test_scenes_on_the_embedded_server(scene: Scene, server: ApiServerProcess, tmp_path: Path) -> None:
    """What each scene says of itself holds with the lab's controllers."""
    name = scene.name.replace("_", "-")
    async with empty_ground(server, tmp_path, name, stop_s=scene.stop_s, lasting_node=scene.lasting_node) as on:
        await scene.play(on)


@pytest.mark.controlplane
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scene", [s for s in SCENES if not s.embedded_only], ids=lambda s: s.name)
async def test_scenes_on_a_real_control_plane(scene: Scene, real: ControlPlane, tmp_path: Path) -> None:
    """And with the real API server, scheduler, disruption controller and garbage collector."""
    async with empty_ground(real, tmp_path, scene.name.replace("_", "-"), stop_s=max(0.3, scene.stop_s)) as on:
        await scene.play(on)


async def test_the_whole_site_on_the_embedded_server(tmp_path: Path) -> None:
    """Primary, Longhorn, replicas under budgets: every pod that goes or waits is gone, told, and replaced; DaemonSet pods stay."""
    with ApiServerProcess(tmp_path / "api") as running:
        async with ground(running, tmp_path) as on:
            await the_whole_site(on)


@pytest.mark.controlplane
@pytest.mark.timeout(300)
async def test_the_whole_site_on_a_real_control_plane(tmp_path: Path) -> None:
    """The same where the real controllers make the pods anew."""
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        async with real_ground(plane, tmp_path) as on:
            await the_whole_site(on)


async def the_whole_site(on: Ground) -> None:
    drain = await on.drain(delete_emptydir=True, timeout=120)
    assert {i.fate for i in drain.plan.items} == {Fate.STAYS, Fate.GOES, Fate.WAITS}
    await drain.perform()
    staying = {i.object.rpartition("/")[2] for i in drain.plan.items if i.fate is Fate.STAYS}
    assert set(await on.pods_on()) == staying
    assert (await on.client.get(NODES, WORKER))["spec"]["unschedulable"] is True
    for each in drain.plan.items:
        if each.fate is not Fate.STAYS:
            name = each.object.rpartition("/")[2]
            assert any(text.startswith("gone after") for text in drain.told(name)), (name, drain.told(name))
    moved = [text for each in drain.plan.items for text in drain.told(each.object.rpartition("/")[2])]
    assert any("back on k3s-" in text for text in drain.told("postgres-1"))
    assert any("replaced by" in text and " on k3s-" in text for text in moved)
    assert any(text.startswith("budget instance-manager") and "refuses (1 healthy, 1 needed)" in text for text in moved)
    gone = sum(i.fate is not Fate.STAYS for i in drain.plan.items)
    assert drain.said[-1] == f"{gone} pods gone from k3s-worker-1"
