"""Where pods can go: the scheduler's filters, one pod after another, and what becomes of those that fit nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.domain.errors import Unreachable
from coldtui.domain.plans import Fate, Outlook
from tests.operations.drain.scene import Json, Scene, codes, deployment, finding, item, pod

W1, W2, W3, W4, MASTER = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3", "k3s-worker-4", "k3s-master"
OTHERS = (MASTER, W2, W3, W4)
HOST = "kubernetes.io/hostname"


@pytest.fixture
def scene() -> Scene:
    return Scene().bare()


def can_go(scene: Scene, name: str = "web", **params: Any) -> str:
    return dict(item(scene.plan(**params), name).facts)["can go to"]


def web(scene: Scene, **spec: Any) -> list[Json]:
    return deployment(scene, "web", [W1], spec=spec)


def test_an_ordinary_pod_can_go_everywhere(scene: Scene) -> None:
    """Every other node is named."""
    web(scene)
    assert can_go(scene) == ", ".join(OTHERS)
    assert "drain.no-room" not in codes(scene.plan())


def test_cordoned_unready_and_tainted_nodes_are_left_out(scene: Scene) -> None:
    """Each for its reason; what fits nowhere says all of them."""
    web(scene)
    scene.node(MASTER)["spec"]["unschedulable"] = True
    scene.node(W2)["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    scene.node(W3)["spec"]["taints"] = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    assert can_go(scene) == W4
    scene.node(W4)["spec"]["taints"] = [{"key": "gpu", "value": "yes", "effect": "NoExecute"}]
    plan = scene.plan()
    reason = "1 node: cordoned; 1 node: not Ready; 1 node: taint gpu=yes:NoExecute; 1 node: taint gpu=yes:NoSchedule"
    assert dict(item(plan, "web").facts)["can go to"] == f"nowhere ({reason})"
    assert finding(plan, "drain.no-room").sentence == f"shop/web-5d-0 will be Pending: it fits on no other node ({reason})"
    assert item(plan, "web").fate is Fate.GOES


def test_preferences_do_not_keep_it_out(scene: Scene) -> None:
    """A taint that is only preferred is none here."""
    web(scene)
    for name in OTHERS:
        scene.node(name)["spec"]["taints"] = [{"key": "slow", "effect": "PreferNoSchedule"}]
    assert can_go(scene) == ", ".join(OTHERS)


def test_tolerations_open_a_tainted_node(scene: Scene) -> None:
    """And a toleration of the cordon opens a cordoned one."""
    web(scene, tolerations=[{"operator": "Exists"}])
    for name in OTHERS:
        scene.node(name)["spec"] = {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}
    assert can_go(scene) == ", ".join(OTHERS)


RULES = [
    pytest.param({"nodeSelector": {HOST: W3}}, W3, id="selector"),
    pytest.param(
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": HOST, "operator": "In", "values": [W1, W4]}]}]}}}},
        W4,
        id="affinity",
    ),
    pytest.param({"nodeSelector": {"none": "x"}}, "nowhere (4 nodes: does not match its node selector or affinity)", id="nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), RULES)
def test_rules_about_nodes(scene: Scene, spec: Json, expected: str) -> None:
    """Node selector and required affinity."""
    web(scene, **spec)
    assert can_go(scene) == expected


SIZES = [
    pytest.param({"cpu": "4100m"}, "not enough CPU (needs 4.1)", id="cpu"),
    pytest.param({"memory": "9Gi"}, "not enough memory (needs 9.00 GiB)", id="memory"),
]


@pytest.mark.parametrize(("wants", "why"), SIZES)
def test_a_pod_that_is_too_large(scene: Scene, wants: dict[str, Any], why: str) -> None:
    """It says what it needs."""
    deployment(scene, "web", [W1], **wants)
    assert can_go(scene) == f"nowhere (4 nodes: {why})"


def test_what_runs_already_takes_room_and_what_ended_does_not(scene: Scene) -> None:
    """Requests of running pods count; those of finished ones are free again."""
    deployment(scene, "web", [W1], memory="4Gi")
    for name in (MASTER, W2):
        scene.add(pod(f"full-{name}", name, memory="5Gi"))
    scene.add(pod("ended", W3, memory="5Gi", phase="Succeeded"))
    assert can_go(scene) == f"{W3}, {W4}"


def test_each_pod_takes_room_from_the_next(scene: Scene) -> None:
    """Two that fit alone do not fit together: the second will be Pending."""
    for name in (MASTER, W2, W3):
        scene.node(name)["spec"]["unschedulable"] = True
    deployment(scene, "a", [W1], memory="5Gi")
    deployment(scene, "b", [W1], memory="5Gi")
    assert can_go(scene, "a-5d") == W4
    assert can_go(scene, "b-5d").startswith("nowhere")


def test_important_pods_are_placed_first(scene: Scene) -> None:
    """As the scheduler does: priority before name."""
    for name in (MASTER, W2, W3):
        scene.node(name)["spec"]["unschedulable"] = True
    deployment(scene, "a", [W1], memory="5Gi")
    deployment(scene, "z", [W1], memory="5Gi", spec={"priority": 1000})
    assert can_go(scene, "z-5d") == W4


def test_full_of_pods(scene: Scene) -> None:
    """The number of pods is a limit of its own."""
    web(scene)
    for name in OTHERS:
        scene.node(name)["status"]["allocatable"]["pods"] = "1"
        scene.add(pod(f"one-{name}", name))
    assert can_go(scene) == "nowhere (4 nodes: no room for another pod)"


def test_host_ports_clash(scene: Scene) -> None:
    """Two pods cannot take one port of a node."""
    ports = {"containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
    web(scene, **ports)
    scene.add(pod("other", W2, spec=ports))
    assert can_go(scene) == f"{MASTER}, {W3}, {W4}"


def _apart(app: str, topology: str = HOST) -> Json:
    term = {"topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def test_pods_that_keep_apart(scene: Scene) -> None:
    """A node with a sibling is closed; where all have one, it waits for ever."""
    deployment(scene, "web", [W1, W2, W3], spec=_apart("web"))
    assert can_go(scene) == f"{MASTER}, {W4}"
    for name in (MASTER, W4):
        scene.add(pod(f"more-{name}", name, app="web"))
    assert can_go(scene) == "nowhere (4 nodes: must keep apart from a pod there)"


def test_others_that_keep_apart_from_it(scene: Scene) -> None:
    """The rule of a pod that is there counts too."""
    web(scene)
    scene.add(pod("shy", W2, spec=_apart("web")))
    assert can_go(scene) == f"{MASTER}, {W3}, {W4}"


def test_apart_by_zone(scene: Scene) -> None:
    """Nodes with the same label are one place."""
    for name, zone in ((MASTER, "a"), (W1, "a"), (W2, "b"), (W3, "b"), (W4, "c")):
        scene.node(name)["metadata"]["labels"]["zone"] = zone
    deployment(scene, "web", [W1, W2], spec=_apart("web", "zone"))
    assert can_go(scene) == f"{MASTER}, {W4}"


def test_pods_that_want_to_be_beside_others(scene: Scene) -> None:
    """Only where the other one is; the first of its kind may go anywhere."""
    term = {"topologyKey": HOST, "labelSelector": {"matchLabels": {"app": "db"}}}
    web(scene, affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    assert can_go(scene) == "nowhere (4 nodes: must be beside a pod that is not there)"
    scene.add(pod("db", W3, app="db"))
    assert can_go(scene) == W3
    alone = {**term, "labelSelector": {"matchLabels": {"app": "own"}}}
    deployment(scene, "own", [W1], spec={"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [alone]}}})
    assert can_go(scene, "own") == ", ".join(OTHERS)


def _spread(**more: Any) -> Json:
    rule = {"topologyKey": HOST, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}
    return {"topologySpreadConstraints": [{**rule, **more}]}


def test_the_cordoned_node_still_counts_when_pods_spread(scene: Scene) -> None:
    """It is empty afterwards, so that no other node may have two: the well-known trap of maxSkew 1, unless the rule heeds taints."""
    deployment(scene, "web", [W1, *OTHERS], spec=_spread())
    assert can_go(scene) == f"nowhere (4 nodes: would spread unevenly over {HOST} (maxSkew 1))"
    scene.bare()
    deployment(scene, "web", [W1, *OTHERS], spec=_spread(nodeTaintsPolicy="Honor"))
    scene.node(W1)["spec"]["unschedulable"] = True
    assert can_go(scene) == ", ".join(OTHERS)


def _local(scene: Scene, node: str, name: str = "data") -> None:
    terms = [{"matchExpressions": [{"key": HOST, "operator": "In", "values": [node]}]}]
    spec = {"claimRef": {"namespace": "shop", "name": name}, "local": {"path": "/x"}, "capacity": {"storage": "2Gi"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}  # fmt: skip
    scene.add({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{name}"}, "spec": spec})


def test_a_volume_on_the_disk_of_the_node(scene: Scene) -> None:
    """Its pod goes, and stays Pending until the node is back: said by name, with the claim."""
    web(scene, volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
    _local(scene, W1)
    plan = scene.plan()
    assert item(plan, "web").fate is Fate.GOES
    assert dict(item(plan, "web").facts)["claims"] == "data (2 GiB, local disk)"
    assert (
        finding(plan, "drain.local-volume").sentence
        == f"shop/web-5d-0 stays Pending until {W1} is back: its volume data is on the disk of {W1}"
    )


def test_a_volume_that_is_reachable_from_one_other_node(scene: Scene) -> None:
    """The pod can go there only."""
    web(scene, volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
    _local(scene, W3)
    assert can_go(scene) == W3


def test_nobody_makes_it_anew_so_it_goes_nowhere(scene: Scene) -> None:
    """A bare pod is not placed, and does not count as Pending afterwards."""
    scene.add(pod("lonely", W1))
    plan = scene.plan(force=True)
    assert "can go to" not in dict(item(plan, "lonely").facts)
    assert "drain.no-room" not in codes(plan)


@pytest.mark.parametrize("question", ["every", "nodes", "volumes"])
def test_unreadable_premises_leave_the_places_open(scene: Scene, question: str) -> None:
    """No node is promised."""
    web(scene)
    scene.errors[question] = Unreachable("no answer within 10 s")
    plan = scene.plan()
    assert "not evaluated" in dict(item(plan, "web").facts)["can go to"]
    assert finding(plan, "drain.places-unknown").outlook is Outlook.NOT_EVALUATED
