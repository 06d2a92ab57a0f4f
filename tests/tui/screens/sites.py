"""Worlds for the screens of pods, alerts and storage, on top of the healthy site."""

from __future__ import annotations

from dataclasses import replace

from coldtui.domain.events import Event
from coldtui.domain.objects import Condition, Owner
from coldtui.domain.pods import Container, Pod
from coldtui.domain.storage import Claim, LhDisk, LhEngine, LhNode, LhReplica, LhVolume, Progress, Workload
from coldtui.domain.world import World
from tests.tui import worlds
from tests.tui.worlds import GI, ago

LONGHORN = "longhorn-system"


def crashing() -> Pod:
    """Two containers, of which the second was killed for its memory and waits in a back-off; one init container that is done."""
    calm = worlds.pod("customer-portal-5c4b-2k8", on="k3s-worker-4", owner=Owner("ReplicaSet", "customer-portal-5c4b", "uid-rs"))
    portal = Container(
        "portal", "registry.local/customer-portal@sha256:0c9ec62b5f2b1c1d6a3f", False, 12, "waiting", "CrashLoopBackOff",
        "back-off 5m0s restarting failed container=portal", None, None, "OOMKilled", 137, ago(minutes=3),
    )  # fmt: skip
    sidecar = Container("metrics", "registry.local/exporter:0.9", True, 0, "running", started=ago(days=4))
    init = Container("migrate", "registry.local/customer-portal:v2.1.0", True, 0, "terminated", "Completed", exit_code=0, init=True)
    return replace(
        calm, state="CrashLoopBackOff", ready=1, total=2, restarts=12, last_restart=ago(minutes=3), is_ready=False, ready_since=ago(minutes=40),
        containers=(init, portal, sidecar), message="back-off 5m0s restarting failed container=portal", qos="Burstable", claims=("portal-data",),
    )  # fmt: skip


def troubled() -> World:
    """The healthy site with one crashing pod that the cluster talks about."""
    world = worlds.healthy()
    pod = crashing()
    world = worlds.with_pods(world, [*(p for p in world.pods.items.values() if p.key != pod.key), pod])
    said = (
        ("Warning", "BackOff", "Back-off restarting failed container portal in pod customer-portal-5c4b-2k8_cold-prod(uid)", 31, 3),
        ("Normal", "Pulled", 'Container image "registry.local/customer-portal" already present on machine', 12, 8),
    )
    events = [
        Event("cold-prod", f"p{i}", type_, reason, text, "Pod", pod.name, "cold-prod", count, ago(minutes=90), ago(minutes=last), "kubelet")
        for i, (type_, reason, text, count, last) in enumerate(said)
    ]
    return worlds.with_shelf(world, "events", [*world.events.items.values(), *events])


def _fine(type_: str) -> Condition:
    return Condition(type_, "True", "", "", ago(days=9))


def stored(world: World | None = None) -> World:
    """With Longhorn: four nodes, three volumes of three copies (one of them rebuilding, one detached), four claims."""
    names = worlds.NODE_NAMES[1:]
    room = (62, 118, 90, 20)
    nodes = [
        LhNode(
            LONGHORN, name, conditions=(_fine("Ready"), _fine("Schedulable")),
            disks=(
                LhDisk(
                    "default", f"disk-{name}", "/var/lib/longhorn/", reserved_b=20 * GI, maximum_b=200 * GI, available_b=free * GI, scheduled_b=70 * GI,
                    replicas=3, conditions=(_fine("Ready"), _fine("Schedulable")),
                ),
            ),
        )
        for name, free in zip(names, room, strict=True)
    ]  # fmt: skip
    volumes, replicas, engines, claims = [], [], [], []
    for i, (claim, namespace, state, robustness, on) in enumerate(
        (
            ("cold-postgres-1", "postgres", "attached", "healthy", names[0]),
            ("cold-postgres-2", "postgres", "attached", "degraded", names[1]),
            ("portal-data", "cold-prod", "detached", "unknown", ""),
        )
    ):
        volume = f"pvc-7f31{i}c22-5f0e-4a9c-9f51-1d2f6f0e8a1{i}"
        volumes.append(
            LhVolume(
                LONGHORN, volume, created=ago(days=41), size_b=20 * GI, actual_b=(6 + i) * GI, state=state, robustness=robustness, replicas=3, node=on,
                claim_namespace=namespace, claim=claim, volume=volume, workloads=(Workload(claim, "Running", "cold-postgres", "Cluster"),) if on else (),
                conditions=(_fine("Scheduled"),), last_backup_at=ago(hours=3) if i != 2 else None, last_degraded_at=ago(minutes=7) if i == 1 else None,
                access="rwo", locality="best-effort",
            )
        )  # fmt: skip
        modes = {}
        for j in range(3):
            name = f"{volume}-r-{j}"
            modes[name] = "WO" if (i, j) == (1, 2) else "RW"
            replicas.append(
                LhReplica(
                    LONGHORN, name, volume, names[(i + j) % 4], f"disk-{names[(i + j) % 4]}", "/var/lib/longhorn/", healthy_at=ago(days=9),
                    state="running" if on else "stopped", size_b=20 * GI,
                )
            )  # fmt: skip
        rebuilds = (Progress("tcp://10.42.3.9:10000", True, 40),) if i == 1 else ()
        engines.append(
            LhEngine(LONGHORN, f"{volume}-e-0", volume, on, "running" if on else "stopped", modes if on else {}, rebuilds, snapshots=4)
        )
        claims.append(
            Claim(
                namespace,
                claim,
                created=ago(days=41),
                phase="Bound",
                storage_class="longhorn",
                volume=volume,
                requested_b=20 * GI,
                capacity_b=20 * GI,
                access=("ReadWriteOnce",),
            )
        )
    claims.append(
        Claim(
            "cold-prod",
            "scratch",
            created=ago(minutes=9),
            phase="Pending",
            storage_class="local-path",
            requested_b=GI,
            access=("ReadWriteOnce",),
        )
    )
    for kind, items in (
        ("lh_nodes", nodes),
        ("lh_volumes", volumes),
        ("lh_replicas", replicas),
        ("lh_engines", engines),
        ("claims", claims),
    ):
        world = worlds.with_shelf(world or worlds.healthy(), kind, items)
    assert world is not None
    return world
