"""Cleaning a disk: what is estimated, what is removed and measured, and what is never touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.plans import Fate, Plan, PlanItem, Rung, Weight
from coldtui.domain.runs import Run, RunState
from coldtui.domain.secret import Secret
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.hosts.machine import Machine
from coldtui.operations.clean_disk.items import archives, file_systems, sizes, stale_releases, unused_images
from coldtui.operations.clean_disk.steps import gained, near
from tests.operations.host_ground import WORKER, HostGround, by_code, host_ground

K3S = "/var/lib/rancher/k3s"
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
MIB = 1 << 20

# ------------------------------------------------------------ what commands said


def images(*found: dict[str, object]) -> str:
    return json.dumps({"images": list(found)})


def containers(*found: dict[str, object]) -> str:
    return json.dumps({"containers": list(found)})


def test_images_that_no_container_uses() -> None:
    """An image is in use by its id, a digest or a tag, with or without sha256:; pinned ones are never counted; sizes are texts."""
    every = images(
        {"id": "sha256:1", "repoTags": ["a:1"], "repoDigests": [], "size": "100"},
        {"id": "sha256:2", "repoTags": ["b:1"], "repoDigests": ["b@sha256:x"], "size": "200"},
        {"id": "sha256:3", "repoTags": ["c:1"], "size": "400"},
        {"id": "sha256:4", "repoTags": ["pause:3"], "size": "800", "pinned": True},
        {"id": "sha256:5", "repoTags": None, "repoDigests": None, "size": "1600"},
        {"id": "sha256:6", "repoTags": ["d:1"], "size": "3200"},
    )
    used = containers(
        {"imageRef": "sha256:1"}, {"imageRef": "b@sha256:x"}, {"image": {"image": "c:1"}}, {"image": {"image": "6"}, "imageRef": ""}
    )
    assert unused_images(every, used) == (1, 6, 1600)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"images": 1}', '{"images": [1]}'])
def test_an_answer_that_is_none_is_no_estimate(text: str) -> None:
    """What cannot be understood is not taken for "nothing in use"."""
    with pytest.raises(ValueError):
        unused_images(text, containers())
    with pytest.raises(ValueError):
        unused_images(images(), text)


def test_stale_releases() -> None:
    """Every unpacked release but those that the two links name; other names in that folder are left alone."""
    names = [A, B, C, "cni", ".lock", "current", "previous", "x" * 64]
    assert stale_releases(names, f"{K3S}/data/{A}", f"{K3S}/data/{B}") == (f"{K3S}/data/{C}",)
    assert stale_releases(names, f"{K3S}/data/{A}", f"{K3S}/data/previous") == (f"{K3S}/data/{B}", f"{K3S}/data/{C}")


@pytest.mark.parametrize("current", ["", f"{K3S}/data/current", f"{K3S}/data/{D}", f"{K3S}/data/cni"])
def test_without_a_clear_present_release_nothing_is_stale(current: str) -> None:
    """A link that leads nowhere, elsewhere or cannot be read: then the running release cannot be told from a stale one."""
    with pytest.raises(ValueError, match="is not clear"):
        stale_releases([A, B, "cni"], current, f"{K3S}/data/{B}")


def test_other_answers() -> None:
    """du and df as they come, headings and errors passed over; archives by the endings that K3s imports."""
    assert sizes(["4096    /var/log/journal", "x", "12 /a b"]) == {"/var/log/journal": 4096, "/a b": 12}
    found = file_systems(["1B-blocks Used Avail Mounted on", "100 60 35 /", "100 60 35 /", "50 1 49 /var/lib/x y", "bad"])
    assert {name: (f.size_b, f.used_b, f.available_b) for name, f in found.items()} == {"/": (100, 60, 35), "/var/lib/x y": (50, 1, 49)}
    assert archives(["k3s-airgap-images-amd64.tar.zst", "a.tar", "b.tgz", "notes.txt", ".cache.tar", "../x.tar", "a b.tar"]) == tuple(
        f"{K3S}/agent/images/{name}" for name in ("k3s-airgap-images-amd64.tar.zst", "a.tar", "b.tgz")
    )


def test_what_came_free() -> None:
    """Over the file systems that were measured both times; without any it is not known."""
    assert gained({"/": 100, "/b": 50}, {"/": 70, "/b": 55, "/c": 9}) == 25
    assert gained({}, {"/": 1}) is None
    assert gained({"/": 1}, {}) is None


def test_near() -> None:
    """On it, in it, around it; a neighbour with the same beginning is none."""
    never = ["/var/lib/longhorn", ""]
    assert all(near(path, never) for path in ("/var/lib/longhorn", "/var/lib/longhorn/x", "/var/lib", "/var"))
    assert not any(near(path, never) for path in ("/var/lib/longhorn-old", "/var/lib/rancher", "/srv"))


# ------------------------------------------------------------ on a host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api"), arguments=("--still",)) as running:
        yield running


def items(plan: Plan) -> dict[str, PlanItem]:
    return {item.object.rpartition("/")[2]: item for item in plan.items}


def names(on: HostGround, folder: str) -> list[str]:
    return on.fleet.machines[WORKER].tree.children(folder)


def untouched(machine: Machine) -> dict[str, int]:
    """Everything that may never be touched, with its size."""
    return {path: e.size for path, e in machine.tree.entries.items() if "longhorn" in path or "/storage" in path or "/server" in path}


def freed(on: HostGround, run: Run) -> list[str]:
    return [text for text in on.said(run) if ": freed " in text]


async def test_from_estimate_to_measure(server: ApiServerProcess, tmp_path: Path) -> None:
    """Each part with its bytes before; one after the other; what came free is measured and near the estimate; a second time nothing is left."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        kept, links = untouched(machine), {name: machine.tree.resolve(f"{K3S}/data/{name}") for name in ("current", "previous")}
        plan = await on.plan("node.clean-disk")
        assert (plan.rung, plan.locks, plan.verb, plan.confirm, plan.blocked) == (Rung.VISIBLE, (f"node:{WORKER}",), "clean", WORKER, "")
        found = items(plan)
        assert {name: item.fate for name, item in found.items()} == {
            "images": Fate.GOES, "journal": Fate.GOES, "apt": Fate.GOES, "data": Fate.GOES, "airgap": Fate.STAYS,
        }  # fmt: skip
        assert found["images"].why.startswith("frees about 7.2 GiB: 14 of 29 images")
        assert found["airgap"].why == "not asked for"
        assert by_code(plan)["disk.airgap-left"].sentence.endswith("would go with --airgap")
        assert machine.freed() == 0

        run = await on.done("node.clean-disk")
        assert run.state is RunState.DONE, run.outcome
        told = freed(on, run)
        assert [text.partition(" on ")[0] for text in told[:-1]] == [
            "Remove unused images", "Cut the journal down", "Empty the package cache", "Remove stale K3s releases",
        ]  # fmt: skip
        assert all("expected about" in text for text in told[:-1])
        assert re.match(rf"{WORKER}: freed 8\.[5-9] GiB in all; / is ", told[-1])
        assert any("Deleted: registry.cold.example/cold-backend:v1.5.166" in line for line in on.log(run))

        assert untouched(machine) == kept
        assert {name: machine.tree.resolve(f"{K3S}/data/{name}") for name in links} == links
        assert set(names(on, f"{K3S}/data")) == {
            "cni",
            ".lock",
            "current",
            "previous",
            *(str(p).rpartition("/")[2] for p in links.values()),
        }
        assert names(on, f"{K3S}/agent/images") == ["k3s-airgap-images-amd64.tar.zst"]
        again = await on.plan("node.clean-disk")
        assert (again.done, again.steps) == (f"nothing worth cleaning on {WORKER}", ())


async def test_only_what_was_asked_for(server: ApiServerProcess, tmp_path: Path) -> None:
    """Each part can be left out; the archives go only by their own word, and that is a warning."""
    async with host_ground(server, tmp_path) as on:
        wish: dict[str, Any] = {"images": False, "journal": False, "apt": False, "data": False, "airgap": True}
        plan = await on.plan("node.clean-disk", **wish)
        assert [s.name for s in plan.steps] == ["disk.airgap", "disk.measure"]
        assert by_code(plan)["disk.airgap"].weight is Weight.WARNING
        run = await on.done("node.clean-disk", **wish)
        assert run.state is RunState.DONE, run.outcome
        assert names(on, f"{K3S}/agent/images") == []
        assert on.fleet.machines[WORKER].freed_images() == 0


async def test_what_cannot_be_read_is_left_alone(server: ApiServerProcess, tmp_path: Path) -> None:
    """With K3s stopped, images are not evaluated and stay, with the reason; all else is cleaned."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        await machine.job(machine.k3s, "stop")
        plan = await on.plan("node.clean-disk")
        assert items(plan)["images"].fate is Fate.STAYS
        assert items(plan)["images"].why.startswith("not evaluated: ")
        assert "connect: no such file or directory" in by_code(plan)["disk.unread"].sentence
        run = await on.done("node.clean-disk")
        assert run.state is RunState.DONE, run.outcome
        assert machine.freed_images() == 0 < machine.freed()


async def test_a_release_that_leads_to_data_is_not_removed(server: ApiServerProcess, tmp_path: Path) -> None:
    """A link among the releases that leads to the data of volumes is seen on the host and refused; nothing there is touched."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        for name in [n for n in names(on, f"{K3S}/data") if len(n) == 64]:
            if machine.tree.resolve(f"{K3S}/data/{name}") not in {
                machine.tree.resolve(f"{K3S}/data/{link}") for link in ("current", "previous")
            }:
                machine.tree.remove(f"{K3S}/data/{name}")
        machine.tree.file("/var/lib/longhorn/replicas/pvc-1/volume.img", 900 * MIB)
        machine.tree.link(f"{K3S}/data/{D}", "/var/lib/longhorn/replicas")
        kept = untouched(machine)
        run = await on.done("node.clean-disk", images=False, journal=False, apt=False)
        assert run.state is not RunState.DONE
        assert "it may lead to data of volumes or the datastore" in run.outcome
        assert untouched(machine) == kept
        assert not any("rm -rf" in line for line in on.log(run))


async def test_a_release_that_became_the_present_one_is_left(server: ApiServerProcess, tmp_path: Path) -> None:
    """K3s was upgraded between confirmation and act: what the links name now stays, whatever was confirmed."""
    async with host_ground(server, tmp_path) as on:
        machine = on.fleet.machines[WORKER]
        run = await on.begun("node.clean-disk", images=False, journal=False, apt=False)
        await on.killed(run, 3)  # its plan is made and its first step begun
        facts = items(await on.plan("node.clean-disk"))["data"].facts
        stale = [text.rpartition("/")[2] for label, text in facts if label == "path"]
        machine.tree.link(f"{K3S}/data/current", f"{K3S}/data/{stale[0]}")
        done = await on.perform(run)
        assert done.state is RunState.DONE, done.outcome
        assert stale[0] in names(on, f"{K3S}/data")


async def test_killed_at_every_turn(server: ApiServerProcess, tmp_path: Path) -> None:
    """A runner that dies after any of its events: taken up, the run goes on with what is left, and measures."""
    async with host_ground(server, tmp_path) as on:
        at, ended = 3, False
        while not ended:
            machine = on.fleet.machines[WORKER]
            machine.tree.file("/var/cache/apt/archives/again.deb", 20 * MIB)
            machine.tree.file(f"{K3S}/data/{D}/bin/k3s", 70 * MIB)
            run = await on.begun("node.clean-disk")
            ended = not await on.killed(run, at)
            done = on.journal.run(run.id)  # its end may have been the event after which it died
            done = done if done.state.ended else await on.perform(run)
            assert done.state is RunState.DONE, (at, done.outcome)
            assert D not in names(on, f"{K3S}/data")
            assert "again.deb" not in names(on, "/var/cache/apt/archives")
            assert freed(on, run)[-1].startswith(f"{WORKER}: freed ")
            at += 3
        assert at > 6


async def test_with_a_password(server: ApiServerProcess, tmp_path: Path) -> None:
    """Before the password nothing can be estimated, and the plan asks for it; the runner estimates with it, and does only what is worth it."""
    async with host_ground(server, tmp_path) as on:
        on.fleet.want_password(WORKER, True)
        plan = await on.plan("node.clean-disk")
        assert by_code(plan)["needs-secret.sudo"].object == f"secrets/sudo/{WORKER}"
        assert (plan.items, plan.blocked, plan.done) == ((), "", "")
        on.secrets = {"sudo": Secret(on.fleet.password_file.read_text().strip())}
        run = await on.done("node.clean-disk", apt=False)
        assert run.state is RunState.DONE, run.outcome
        assert re.match(rf"{WORKER}: freed 8\.[3-6] GiB in all", freed(on, run)[-1])


async def test_a_node_whose_api_is_away(server: ApiServerProcess, tmp_path: Path) -> None:
    """A full disk may be why the API does not answer: the plan works over SSH alone."""
    async with host_ground(server, tmp_path) as on:
        server.control("down")
        try:
            plan = await on.plan("node.clean-disk")
        finally:
            server.control("down", False)
        assert (plan.blocked, plan.done) == ("", "")
        assert items(plan)["images"].fate is Fate.GOES
        assert [p.reason != "" for p in plan.premises if p.name == f"node {WORKER}"] == [True]
        assert replace(plan, premises=()).steps
