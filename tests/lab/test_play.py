"""The same machines and operators on a real control plane: its scheduler and controllers do the rest."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from coldtui.lab.client import DEPLOYMENTS, L2_STATUSES, LH_VOLUMES, NODES, PG_CLUSTERS, PODS, ApiError
from coldtui.lab.controllers.base import Pace, is_true, pod_ready
from coldtui.lab.play import play, serve_hosts
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.lab.conftest import until

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(300)]
PACE = dataclasses.replace(Pace(), pod_start=0.3, pod_stop=0.3, promotion=0.3, rejoin=0.3, unready=1.0, rebuild=2.0, boot=0.5)
"""Heartbeats as they are, since the real controllers judge them."""


async def _scene(kubeconfig: Path) -> None:
    async with play(kubeconfig, pace=PACE, still=True) as lab:
        client = lab.client

        async def running() -> bool:
            pods = (await client.list(PODS))[0]
            return len(pods) >= 60 and all(pod_ready(p) for p in pods)

        await until(running, 90)

        patch = {
            "spec": {"template": {"spec": {"containers": [{"name": "cold-backend", "image": "registry.cold.example/cold-backend:v9"}]}}}
        }
        await client.patch(DEPLOYMENTS, "cold-backend", patch, "production", how="strategic")

        async def rolled() -> bool:
            status = (await client.get(DEPLOYMENTS, "cold-backend", "production"))["status"]
            return bool(status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == 3)

        await until(rolled, 60)

        async def evict() -> int:
            meta = {"name": "postgres-1", "namespace": "database"}
            try:
                await client.call(
                    "POST",
                    PODS.path("database", "postgres-1", "eviction"),
                    body={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta},
                )
            except ApiError as error:
                return error.code
            return 201

        async def refused() -> bool:
            """429 with an allowed count of 0; before the controller has looked at the budget too."""
            return await evict() == 429

        await until(refused, 30)
        await client.patch(NODES, "k3s-worker-1", {"spec": {"unschedulable": True}})

        async def switched() -> bool:
            status = (await client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
            return bool(status["currentPrimary"] != "postgres-1" and status["phase"] == "Cluster in healthy state")

        await until(switched, 60)

        async def evicted() -> bool:
            return await evict() in (201, 404)

        await until(evicted, 30)

        async def elsewhere() -> bool:
            pod = await client.find(PODS, "postgres-1", "database")
            return pod is not None and pod_ready(pod) and pod["spec"]["nodeName"] != "k3s-worker-1"

        await until(elsewhere, 60)
        await client.patch(NODES, "k3s-worker-1", {"spec": {"unschedulable": None}})

        lab.machines.power_off("k3s-worker-4")

        async def lost() -> bool:
            return not is_true(await client.get(NODES, "k3s-worker-4"), "Ready")

        await until(lost, 90)

        async def degraded() -> bool:
            return any(v["status"]["robustness"] == "degraded" for v in (await client.list(LH_VOLUMES))[0])

        await until(degraded, 30)
        lab.machines.power_on("k3s-worker-4")

        async def healed() -> bool:
            states = [v["status"] for v in (await client.list(LH_VOLUMES))[0]]
            node = await client.get(NODES, "k3s-worker-4")
            return is_true(node, "Ready") and all(s["robustness"] == "healthy" for s in states if s["state"] == "attached")

        await until(healed, 90)
        assert {s["status"]["serviceName"] for s in (await client.list(L2_STATUSES))[0]} == {"cold-postgres-vip", "traefik"}


def test_the_site_lives_on_a_real_control_plane(tmp_path: Path) -> None:
    """Seeded by ordinary requests, every pod runs; a rollout, a drain of the primary's node and a lost node go as on the embedded server."""
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        asyncio.run(_scene(plane.kubeconfigs["admin"]))


async def _reboot(kubeconfig: Path, folder: Path) -> None:
    async with (
        play(kubeconfig, pace=dataclasses.replace(PACE, reboot=1.0, restart=1.0), still=True) as lab,
        serve_hosts(lab, folder) as fleet,
    ):
        settings = fleet.settings()
        host, _, port = settings["nodes"][HOST]["ssh"].partition(":")
        keys, known = settings["ssh"]["keys"], settings["ssh"]["known_hosts"][0]

        async def ask(line: str) -> str:
            try:
                connection = await asyncssh.connect(
                    host, int(port), username=settings["ssh"]["user"], client_keys=keys, known_hosts=known, config=None, agent_path=None
                )
            except OSError:
                return ""
            try:
                return str((await connection.run(line)).stdout).strip()
            finally:
                connection.abort()

        async def boot() -> str:
            return str((await lab.client.get(NODES, HOST))["status"]["nodeInfo"]["bootID"])

        async def same() -> bool:
            return await ask("cat /proc/sys/kernel/random/boot_id") == await boot() != ""

        await until(same, 30)
        old = await boot()
        assert await ask("sudo -n systemctl reboot; echo rebooting") == "rebooting"

        async def away() -> bool:
            return await ask("hostname") == ""

        await until(away, 10)

        async def another() -> bool:
            node = await lab.client.get(NODES, HOST)
            return node["status"]["nodeInfo"]["bootID"] != old and is_true(node, "Ready")

        await until(another, 60)
        await until(same, 30)


HOST = "k3s-worker-2"


def test_hosts_beside_a_real_control_plane(tmp_path: Path) -> None:
    """The hosts of the nodes of a real API server are reached by the settings that they tell; a reboot gives host and Node the same new boot ID."""
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        asyncio.run(_reboot(plane.kubeconfigs["admin"], tmp_path / "ssh"))


def test_the_program_with_hosts(tmp_path: Path) -> None:
    """``python -m coldtui.lab.play KUBECONFIG --hosts DIR`` says in its line where the hosts are, and ends with SIGTERM."""
    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        command = [
            sys.executable,
            "-m",
            "coldtui.lab.play",
            str(plane.kubeconfigs["admin"]),
            "--hosts",
            str(tmp_path / "ssh"),
            "--reboot",
            "3",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                told = json.loads(process.stdout.readline())
            finally:
                process.terminate()
            assert process.wait(20) == 0
    assert set(told["ssh"]) == {"k3s-master", *(f"k3s-worker-{n}" for n in range(1, 5))}
    assert told["settings"]["ssh"]["user"] == "lab"
    assert (tmp_path / "ssh" / "known_hosts").read_text().count("[127.0.0.1]:") == 5
