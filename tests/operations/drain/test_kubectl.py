"""`kubectl drain --dry-run=client` lists the same pods as our plan, and refuses for the same ones, on both servers."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.plans import Fate, Plan
from coldtui.domain.readings import Known
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import CONFIG_MAPS, PODS, Json
from coldtui.operations.drain.facts import gather
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.drain.plan import judge
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.lab.apiserver.site import kubectl
from tests.operations.drain.ground import Ground, ground, real_ground

NODES = ("k3s-worker-1", "k3s-worker-4", "k3s-master")
LISTED = re.compile(r"^evicting pod (\S+) \(dry run\)$", re.MULTILINE)

FLAGS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    ((), {}),
    (("--delete-emptydir-data",), {"delete_emptydir": True}),
    (("--force",), {"force": True}),
    (("--delete-emptydir-data", "--force"), {"delete_emptydir": True, "force": True}),
    (("--delete-emptydir-data", "--force", "--skip-wait-for-delete-timeout=1"), {"delete_emptydir": True, "force": True, "skip_wait_for_delete": 1}),
    (("--delete-emptydir-data", "--force", "--pod-selector=app=cold-backend"), {"delete_emptydir": True, "force": True, "pod_selector": "app=cold-backend"}),
]  # fmt: skip
Run = Callable[..., Awaitable[str]]
"""kubectl's stdout and stderr as one text, whatever its exit code."""


def odd_pods(node: str, owner: Json) -> list[Json]:
    """One of each kind that the filters tell apart; `owner` is an object that exists, so that nobody collects what it owns."""

    def made(name: str, *, owned: bool = True, volumes: bool = False, **metadata: Any) -> Json:
        meta: Json = {"name": name, "namespace": "production", "labels": {"odd": "yes"}, **metadata}
        if owned:
            meta["ownerReferences"] = [{**owner, "controller": True}]
        spec: Json = {"nodeName": node, "terminationGracePeriodSeconds": 600, "containers": [{"name": "c", "image": "r/c:1"}]}
        if volumes:
            spec["volumes"] = [{"name": "cache", "emptyDir": {}}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    return [
        made("odd-owned"),
        made("odd-bare", owned=False),
        made("odd-cache", volumes=True),
        made("odd-bare-cache", owned=False, volumes=True),
        made("odd-done", owned=False, volumes=True),
        made("odd-failed", owned=False),
        made("odd-ending", finalizers=["lab.coldtui/hold"]),
    ]


async def prepare(found: Ground, node: str) -> None:
    """The odd pods, in their states."""
    config = await found.client.create(CONFIG_MAPS, {"metadata": {"name": "owner", "namespace": "production"}, "data": {}})
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": config["metadata"]["uid"]}
    for pod in odd_pods(node, owner):
        await found.client.create(PODS, pod)
    for name, phase in (("odd-done", "Succeeded"), ("odd-failed", "Failed")):
        await found.client.patch_status(PODS, name, {"phase": phase}, "production")
    await found.client.delete(PODS, "odd-ending", "production", grace_s=1)


async def compare(found: Ground, run: Run, node: str) -> int:
    """For every set of flags; returns how many pods were compared."""
    compared = 0
    for flags, params in FLAGS:
        text = await run("drain", node, "--dry-run=client", "--ignore-daemonsets", *flags)
        given = DrainNode(node=node, **params)
        facts = await gather(given, found.means, 10.0)
        assert isinstance(facts.node, Known)
        assert isinstance(facts.pods, Known)
        judged = judge(facts, facts.node.value, facts.pods.value, given, found.means.clock.now())
        refused = refusals(text)
        needing = {f.key: {flag.value for flag in f.needs} for f in judged.filtered if f.needs}
        if refused:
            # It stops at the first filter that refuses a pod, where we tell all that it lacks.
            assert set(refused) == set(needing), (node, flags, text)
            assert all(refused[key] in needing[key] for key in refused), (node, flags, text)
            assert await blocked_by(found, node, params, set(refused))
        else:
            ours = {f.key for f in judged.filtered if f.delete}
            assert set(LISTED.findall(text)) == ours, (node, flags, text)
            compared += len(ours)
            plan = await found.plan(node, **params)
            assert going(plan) == ours
    return compared


def refusals(text: str) -> dict[str, str]:
    """Pod -> our flag for what kubectl wants to be told."""
    names = {"--delete-emptydir-data": "--delete-emptydir", "--force": "--force"}
    found = {}
    for part in re.split(r"(?=cannot delete )", text):
        match = re.match(r"cannot delete .*?\(use (--[a-z-]+) to override\): (.*)", part, re.DOTALL)
        if match is not None:
            for key in re.findall(r"[a-z0-9.-]+/[a-z0-9.-]+", match.group(2)):
                found[key] = names[match.group(1)]
    return found


async def blocked_by(found: Ground, node: str, params: dict[str, Any], pods: set[str]) -> bool:
    """The plan cannot be confirmed, and each of these pods says that it needs a flag."""
    plan = await found.plan(node, **params)
    told = {i.object.removeprefix("pods/") for i in plan.items if i.remedy.startswith("--") and i.fate is Fate.NEVER}
    return bool(plan.blocked) and pods <= told


def going(plan: Plan) -> set[str]:
    """What would be evicted, or asked for."""
    return {i.object.removeprefix("pods/") for i in plan.items if i.fate is not Fate.STAYS}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
async def test_on_the_embedded_server(tmp_path: Path) -> None:
    """Each node of the site, with odd pods on one of them, under every set of flags."""
    with ApiServerProcess(tmp_path / "api") as server:
        async with ground(server, tmp_path, crew=()) as found:
            await prepare(found, NODES[0])

            async def run(*arguments: str) -> str:
                done = await asyncio.to_thread(kubectl, server.kubeconfig, *arguments)
                return done.stdout + done.stderr

            assert sum([await compare(found, run, node) for node in NODES]) > 60


@pytest.mark.controlplane
@pytest.mark.timeout(300)
async def test_on_a_real_control_plane(tmp_path: Path) -> None:
    """The same, with the real server's words and defaults."""
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        async with real_ground(plane, tmp_path) as found:
            await prepare(found, NODES[0])
            program = str(plane.describe()["kubectl"])

            async def run(*arguments: str) -> str:
                command = [program, "--kubeconfig", str(plane.kubeconfigs["admin"]), "--cache-dir", str(tmp_path / "cache"), *arguments]
                pipe = asyncio.subprocess.PIPE
                child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
                out, err = await child.communicate()
                return (out + err).decode()

            assert sum([await compare(found, run, node) for node in NODES]) > 60
