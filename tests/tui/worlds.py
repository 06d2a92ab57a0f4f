"""Hand-made Worlds at a frozen moment: a healthy site of five nodes, and ways to make it worse.

`healthy()` is calm: no problem at all. The transformations return a new World: `stale`, `saved`, `loading`, `partial`, `forbidden`,
`not_installed`, `failed`, `lost`, and `with_pods`, `with_nodes`, `with_shelf` to put objects of your own in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from immutables import Map

from coldtui.domain.deployments import Deployment
from coldtui.domain.events import Event
from coldtui.domain.kinds import KINDS
from coldtui.domain.nodes import Lease, Node, NodeLoad, NodeStats, NodeUsage, Size, Taint
from coldtui.domain.objects import Condition, Owner
from coldtui.domain.pods import Container, Namespace, Pod, PodCounts, PodUsage
from coldtui.domain.postgres import PgCluster
from coldtui.domain.readings import Known, Reading, SourceState, Trouble
from coldtui.domain.sources import KUBE
from coldtui.domain.world import Shelf, SiteFacts, World

NOW = datetime(2026, 10, 25, 14, 2, 10, tzinfo=UTC)
GI = 2**30
NODE_NAMES = ("k3s-master", "k3s-worker-1", "k3s-worker-2", "k3s-worker-3", "k3s-worker-4")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def node(name: str, *, ready: str = "True", cordoned: bool = False, pressure: str = "", ip: str = "192.168.15.110") -> Node:
    conditions = [
        Condition("Ready", ready, "KubeletReady" if ready == "True" else "NodeStatusUnknown", "kubelet is posting status", ago(days=41))
    ]
    conditions += [
        Condition(kind, "True" if kind == pressure else "False", "KubeletHas" + kind, "", ago(days=41))
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    size = Size(8000, 32 * GI, 200 * GI, 110)
    master = "master" in name
    return Node(
        name=name, uid=f"uid-{name}", created=ago(days=41), roles=("control-plane", "master") if master else (),
        labels={"kubernetes.io/hostname": name, "tier": "control" if master else "work"}, unschedulable=cordoned,
        taints=(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),) if cordoned else (), conditions=tuple(conditions),
        internal_ip=ip, hostname=name, kubelet_version="v1.34.4+k3s1", runtime_version="containerd://2.1.5-k3s1", os_image="Debian GNU/Linux 12",
        kernel_version="6.1.0-28-amd64", architecture="amd64", boot_id="0b6a7d1e", pod_cidr="10.42.0.0/24", capacity=size,
        allocatable=replace(size, memory_b=31 * GI),
    )  # fmt: skip


def pod(
    name: str,
    *,
    namespace: str = "cold-prod",
    on: str = "k3s-worker-1",
    state: str = "Running",
    ready: bool = True,
    restarts: int = 0,
    created: datetime | None = None,
    labels: dict[str, str] | None = None,
    owner: Owner | None = None,
    message: str = "",
) -> Pod:
    running = state == "Running"
    container = Container(
        "app", f"registry.local/{name}:1.0", ready and running, restarts, "running" if running else "waiting", "" if running else state
    )
    made = created or ago(days=4)
    return Pod(
        namespace=namespace, name=name, uid=f"uid-{namespace}-{name}", created=made, node=on,
        phase="Running" if running else "Succeeded" if state == "Completed" else "Pending", state=state, ready=int(ready and running), total=1,
        restarts=restarts, last_restart=ago(minutes=5) if restarts else None, is_ready=ready and running, ready_since=made, deleted=None, grace_s=30,
        owner=owner or Owner("ReplicaSet", name.rpartition("-")[0] or name, "uid-rs"), ip="10.42.1.7", labels=labels or {"app": name.split("-")[0]},
        containers=(container,), cpu_request_m=100, memory_request_b=256 * 2**20, cpu_limit_m=500, memory_limit_b=512 * 2**20, claims=(), message=message,
    )  # fmt: skip


def deployment(
    name: str, *, namespace: str = "cold-prod", image: str = "registry.local/app:1.0", desired: int = 3, available: int = 3
) -> Deployment:
    conditions = (Condition("Available", "True" if available == desired else "False", "MinimumReplicasAvailable", "", ago(days=4)),)
    return Deployment(
        namespace=namespace, name=name, uid=f"uid-{name}", created=ago(days=41), generation=7, observed_generation=7, desired=desired, replicas=desired,
        updated=desired, ready=available, available=available, unavailable=desired - available, paused=False, strategy="RollingUpdate", max_surge="25%",
        max_unavailable="25%", revision=7, change_cause="", images=(("app", image),), selector={"app": name}, labels={"app": name}, conditions=conditions,
    )  # fmt: skip


def shelf(items: Iterable[Any], roster: int = 1) -> Shelf[Any]:
    return Shelf(Map({item.key: item for item in items}), roster)


def stats(name: str, fraction: float) -> NodeStats:
    capacity = 200 * GI
    return NodeStats(
        name=name, at=ago(seconds=12), disk_capacity_b=capacity, disk_used_b=int(capacity * fraction), disk_available_b=int(capacity * (1 - fraction)),
        inodes=1000, inodes_free=900, image_capacity_b=capacity, image_used_b=10 * GI, rx_b=1, tx_b=1, cpu_m=900, memory_working_b=8 * GI,
        memory_available_b=20 * GI,
    )  # fmt: skip


def _pods() -> list[Pod]:
    made = [pod(f"cold-backend-7d9f6c-{i}x2", on=NODE_NAMES[1 + i]) for i in range(3)]
    made += [pod(f"customer-portal-5c4b-{i}k8", on=NODE_NAMES[2 + i]) for i in range(3)]
    made += [
        pod(f"cold-postgres-{i + 1}", namespace="postgres", on=NODE_NAMES[1 + i], owner=Owner("Cluster", "cold-postgres", "uid-pg"))
        for i in range(3)
    ]
    made += [
        pod(f"svclb-traefik-{i}", namespace="kube-system", on=name, owner=Owner("DaemonSet", "svclb-traefik", "uid-ds"))
        for i, name in enumerate(NODE_NAMES)
    ]
    made.append(pod("coredns-6799fbcd5-abcde", namespace="kube-system", on="k3s-master"))
    return made


def healthy() -> World:
    """Five ready nodes, fifteen calm pods, two deployments, one database; nothing is wrong."""
    nodes = [node(name, ip=f"192.168.15.{110 + i}") for i, name in enumerate(NODE_NAMES)]
    cpu = (0.71, 0.32, 0.45, 0.28, 0.12)
    disk = (0.38, 0.41, 0.62, 0.35, 0.22)
    sources = Map({name: SourceState(name, as_of=ago(seconds=2)) for name in (KUBE, *KINDS)})
    readings: dict[str, Reading[NodeStats]] = {
        n: Known(stats(n, f), "node_stats", ago(seconds=12)) for n, f in zip(NODE_NAMES, disk, strict=True)
    }
    trends = {f"{what}/{name}": tuple((i * 7 % 11) / 14 for i in range(24)) for what in ("cpu", "memory", "disk") for name in NODE_NAMES}
    trends |= {what: tuple((i * 5 % 9) / 12 for i in range(24)) for what in ("cpu", "memory", "disk")}
    world = World(
        revision=1,
        at=NOW,
        site=SiteFacts(
            name="cold-site", server="https://127.0.0.1:6443", context="cold", cluster_uid="c0ffee", version="v1.34.4+k3s1", pg_cluster="postgres/cold-postgres"
        ),
        sources=sources,
        nodes=shelf(nodes),
        leases=shelf(Lease(name, ago(seconds=4), ago(seconds=4)) for name in NODE_NAMES),
        namespaces=shelf(Namespace(name, "Active", ago(days=41)) for name in ("cold-prod", "kube-system", "postgres")),
        deployments=shelf((deployment("cold-backend", image="registry.local/cold-backend:v1.5.173"), deployment("customer-portal", image="registry.local/portal:v2.1.0"))),
        pg_clusters=shelf(
            (
                PgCluster(
                    namespace="postgres", name="cold-postgres", uid="uid-pg", created=ago(days=41), phase="Cluster in healthy state",
                    current_primary="cold-postgres-1", target_primary="cold-postgres-1", instances=3, made_instances=3, ready_instances=3,
                    instance_names=("cold-postgres-1", "cold-postgres-2", "cold-postgres-3"), timeline=7,
                    last_good_backup=ago(hours=12), first_recoverability=ago(days=30), in_tree_archive=True, archive_path="s3://cold-storage-backups/",
                ),
            )
        ),
        events=shelf(
            (
                Event("cold-prod", "e1", "Normal", "Pulled", "image already present", "Pod", "cold-backend-7d9f6c-0x2", "cold-prod", 1, ago(minutes=4), ago(minutes=4), "kubelet"),
                Event("default", "e2", "Warning", "FreeDiskSpaceFailed", "wanted to free 8 GiB", "Node", "k3s-worker-2", "", 3, ago(hours=2), ago(minutes=9), "kubelet"),
            )
        ),
        node_usage=shelf(NodeUsage(n, int(8000 * f), int(31 * GI * (0.3 + f / 2)), ago(seconds=9)) for n, f in zip(NODE_NAMES, cpu, strict=True)),
        node_stats=Map(readings),
        trends=Map(trends),
    )  # fmt: skip
    return with_pods(world, _pods())


def with_pods(world: World, pods: Iterable[Pod]) -> World:
    """The World with exactly these pods, and the indices that `live` keeps over them."""
    made = list(pods)
    by_node: dict[str, dict[str, Pod]] = {}
    for p in made:
        by_node.setdefault(p.node, {})[p.key] = p
    loads = {
        name: NodeLoad(
            pods=sum(not p.finished for p in on.values()), all_pods=len(on), cpu_request_m=sum(p.cpu_request_m for p in on.values()),
            memory_request_b=sum(p.memory_request_b for p in on.values()), cpu_limit_m=sum(p.cpu_limit_m for p in on.values()),
            memory_limit_b=sum(p.memory_limit_b for p in on.values()),
        )
        for name, on in by_node.items()
    }  # fmt: skip
    restless = {p.key: p for p in made if not p.calm}
    counts = PodCounts(
        total=len(made), running=sum(p.phase == "Running" for p in made), pending=sum(p.phase == "Pending" for p in made),
        finished=sum(p.finished for p in made), restless=len(restless),
    )  # fmt: skip
    usage = shelf(PodUsage(p.namespace, p.name, 40, 128 * 2**20, ago(seconds=9)) for p in made)
    return replace(
        world, revision=world.revision + 1, pods=shelf(made, world.pods.roster + 1), pod_usage=usage, node_loads=Map(loads),
        pods_of_node=Map({name: Map(on) for name, on in by_node.items()}), restless_pods=Map(restless), pod_counts=counts,
    )  # fmt: skip


def with_nodes(world: World, nodes: Iterable[Node]) -> World:
    return replace(world, revision=world.revision + 1, nodes=shelf(nodes, world.nodes.roster + 1))


def with_shelf(world: World, kind: str, items: Iterable[Any]) -> World:
    """The World with exactly these objects of a kind (not for pods: `with_pods`)."""
    changes: dict[str, Any] = {kind: shelf(items, world.shelf(kind).roster + 1)}
    return replace(world, revision=world.revision + 1, **changes)


def without(world: World, *kinds: str) -> World:
    """The World with empty shelves for these kinds."""
    for kind in kinds:
        if kind == "pods":
            world = with_pods(world, ())
        elif kind == "node_stats":
            world = replace(world, node_stats=Map())
        else:
            world = with_shelf(world, kind, ())
    return world


def sourced(world: World, *states: SourceState) -> World:
    """The World with these states of sources."""
    return replace(world, revision=world.revision + 1, sources=world.sources.update({state.name: state for state in states}))


def stale(world: World, *kinds: str, seconds: float = 42) -> World:
    """These kinds (all, when none is named) were last read a while ago and cannot be read now; rows stay."""
    trouble = Trouble("refused", "connection refused by 127.0.0.1:6443", "is the K3s service running?")
    names = kinds or tuple(world.sources)
    return sourced(world, *(SourceState(name, as_of=ago(seconds=seconds), trouble=trouble, since=ago(seconds=seconds)) for name in names))


def lost(world: World) -> World:
    """The whole API is gone: every source is stale."""
    return stale(world)


def saved(world: World, *kinds: str, minutes: float = 12) -> World:
    """Rows come from the saved World of an earlier session."""
    return sourced(world, *(SourceState(name, as_of=ago(minutes=minutes), saved=True) for name in kinds or tuple(world.sources)))


def partial(world: World, *kinds: str) -> World:
    """The first list of these kinds is still arriving."""
    return sourced(world, *(SourceState(name, as_of=ago(seconds=1), partial=True) for name in kinds))


def loading(world: World | None = None) -> World:
    """Nothing was read yet."""
    site = (world or healthy()).site
    return World(revision=1, at=NOW, site=replace(site, version=""))


def forbidden(world: World, *kinds: str, verb: str = "list") -> World:
    """403 on these kinds, which were never read."""
    return _troubled(world, kinds, "forbidden", lambda title: f"needs {verb} on {title}", "ask for a role that may read it")


def not_installed(world: World, *kinds: str) -> World:
    """404 on these kinds: the component is not there."""
    return _troubled(world, kinds, "not-installed", lambda title: f"{title}: the API does not know them", "")


def failed(world: World, *kinds: str) -> World:
    """Never read, and the last try failed."""
    return _troubled(world, kinds, "timeout", lambda title: "no answer from 127.0.0.1:6443 within 10 s", "check the network")


def _troubled(world: World, kinds: tuple[str, ...], kind: str, say: Any, hint: str) -> World:
    world = without(world, *kinds)
    states = (SourceState(name, trouble=Trouble(kind, say(KINDS[name].plural), hint), since=ago(seconds=30)) for name in kinds)
    return sourced(world, *states)


HOSTILE = (
    "n" * 253,
    "名前が長いポッド漢字漢字",
    "[/b][@click=app.quit]x[/]",
    "👩\u200d🚀🚀❤\ufe0f-pod",
    "e\u0301\u0301\u0301combining",
    "..hidden..",
)
"""Names that must not break a screen. (They passed `domain.text.plain` or could have.)"""
