"""The site around the node: other nodes, addresses, workloads that stand still, the node itself."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, NotInstalled, Unreachable
from coldtui.domain.plans import Fate, Outlook, Plan, Weight
from tests.operations.drain.scene import Json, Scene, budget, codes, deployment, finding, item, pod

W1, W2, W3 = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3"


@pytest.fixture
def scene() -> Scene:
    return Scene(W1)


def plan_of(scene: Scene, **params: Any) -> Plan:
    return scene.plan(delete_emptydir=True, **params)


def unready(scene: Scene, name: str) -> None:
    for condition in scene.node(name)["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "Unknown"


# ------------------------------------------------------------ nodes


def test_the_other_nodes_are_well(scene: Scene) -> None:
    """It was looked at."""
    told = finding(plan_of(scene), "drain.nodes")
    assert (told.weight, told.sentence) == (Weight.GOOD, "the other 4 nodes are Ready and take pods")


def test_another_node_is_down_already(scene: Scene) -> None:
    """With this one out two nodes are missing."""
    unready(scene, W3)
    told = finding(plan_of(scene), "drain.second-node")
    assert (told.weight, told.object) == (Weight.WARNING, f"nodes/{W3}")
    assert told.sentence == f"{W3} is NotReady already: with {W1} out too, two nodes are missing"


def test_another_node_is_cordoned_already(scene: Scene) -> None:
    """Perhaps by a drain that ended half way."""
    scene.node(W3)["spec"]["unschedulable"] = True
    told = finding(plan_of(scene), "drain.second-cordon")
    assert (told.weight, told.remedy) == (Weight.WARNING, f"coldtui node uncordon {W3}, if that is not meant")


def test_draining_the_only_control_plane(scene: Scene) -> None:
    """The API server does not move; CoreDNS does, and names do not resolve meanwhile."""
    scene.worker = "k3s-master"
    plan = plan_of(scene)
    assert (
        finding(plan, "drain.control-plane").sentence
        == "k3s-master is the only control plane: the API server stays on it, a drain does not move it"
    )
    assert "names do not resolve until the new one is ready" in finding(plan, "drain.core").sentence


def test_one_control_plane_of_several(scene: Scene) -> None:
    """Said with their number."""
    scene.worker = "k3s-master"
    scene.node(W2)["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true"
    assert "one of 2" in finding(plan_of(scene), "drain.control-plane").sentence


def test_a_node_that_does_not_report(scene: Scene) -> None:
    """No kubelet confirms an end: every pod that runs would hang, unless it is not waited for. Finished ones go."""
    unready(scene, W1)
    scene.add(pod("done", W1, phase="Succeeded"))
    plan = plan_of(scene)
    told = finding(plan, "drain.node-not-ready")
    assert "its kubelet cannot confirm that a pod has ended" in told.sentence
    assert "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute" in told.remedy
    assert item(plan, "done").fate is Fate.GOES
    found = item(plan, "cold-backend")
    assert (found.fate, found.remedy) == (Fate.NEVER, "bring the node back, or --skip-wait-for-delete 60")
    waits = item(plan_of(scene, skip_wait_for_delete=60), "cold-backend")
    assert (waits.fate, waits.why) == (Fate.WAITS, f"{W1} is NotReady: its end cannot be confirmed, and is waited for 60 s only")


def test_a_node_that_is_cordoned_already(scene: Scene) -> None:
    """It stays so; the plan still has the step, which finds it done."""
    scene.node(W1)["spec"]["unschedulable"] = True
    plan = plan_of(scene)
    assert finding(plan, "drain.node-cordoned").weight is Weight.NOTE
    assert plan.steps[0].name == "node.cordon"


# ------------------------------------------------------------ addresses


def test_an_address_announced_elsewhere_is_well(scene: Scene) -> None:
    """And one announced here is noted: the drain does not move it, a reboot does, and to whom."""
    plan = plan_of(scene)
    good = finding(plan, "drain.vip", "192.168.15.200")
    assert (good.weight, good.sentence) == (Weight.GOOD, "VIP 192.168.15.200 (cold-postgres-vip) is announced by k3s-master, elsewhere")
    here = finding(plan, "drain.vip", "192.168.15.201")
    assert here.weight is Weight.NOTE
    assert (
        here.sentence
        == f"VIP 192.168.15.201 (traefik) is announced by {W1}; a drain does not move it (the speaker stays), a reboot does: to k3s-master"
    )


def test_an_address_that_follows_its_endpoints(scene: Scene) -> None:
    """With externalTrafficPolicy Local the address moves when its pods leave the node."""
    scene.get("Service", "traefik", "kube-system")["spec"]["externalTrafficPolicy"] = "Local"
    told = finding(plan_of(scene), "drain.vip", "192.168.15.201")
    assert (told.weight, "moves when its pods leave (externalTrafficPolicy Local)" in told.sentence) == (Weight.WARNING, True)


def test_an_address_that_nobody_announces(scene: Scene) -> None:
    """Worth a word, although the drain does not change it."""
    for status in scene.all("ServiceL2Status", "metallb.io"):
        scene.drop(status)
    assert finding(plan_of(scene), "drain.vip-unknown", "192.168.15.200").outlook is Outlook.GO


@pytest.mark.parametrize("question", ["services", "l2_statuses"])
def test_unreadable_addresses_are_not_evaluated(scene: Scene, question: str) -> None:
    """Nothing is said to be announced elsewhere."""
    scene.errors[question] = Forbidden("not permitted")
    plan = plan_of(scene)
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "drain.vip" not in codes(plan)
    assert "drain.vip-unknown" in codes(plan)


@pytest.mark.parametrize("question", ["l2_advertisements", "ip_pools", "nodes"])
def test_who_takes_over_may_be_unknown(scene: Scene, question: str) -> None:
    """The announcer is told, its heir is not guessed."""
    scene.errors[question] = Unreachable("no answer within 10 s")
    assert "who takes over: " in finding(plan_of(scene), "drain.vip", "192.168.15.201").sentence


def test_without_metallb_nothing_is_said(scene: Scene) -> None:
    """Who announces is then nobody's business here."""
    for name in ("l2_statuses", "l2_advertisements", "ip_pools"):
        scene.errors[name] = NotInstalled("not installed")
    assert not {c for c in codes(plan_of(scene)) if c.startswith("drain.vip")}


# ------------------------------------------------------------ backups


def test_backups_under_way_break_off(scene: Scene) -> None:
    """One that an instance on the node takes, and one of a volume that is attached to it: the drain does not wait, so that it is said."""
    assert "drain.backup" not in codes(plan_of(scene))
    database = scene.all("Backup", "postgresql.cnpg.io")[0]
    database["status"] = {"phase": "running", "instanceID": {"podName": "postgres-1"}}
    (volume,) = scene.all("Volume", "longhorn.io", lambda v: v["status"]["kubernetesStatus"].get("pvcName") == "customer-uploads")
    storage = scene.all("Backup", "longhorn.io")[0]
    storage["status"] |= {"state": "InProgress", "progress": 40, "volumeName": volume["metadata"]["name"]}
    storage["metadata"]["labels"] = {"backup-volume": volume["metadata"]["name"]}
    plan = plan_of(scene)
    assert "is being taken by postgres-1, and breaks off when it goes" in finding(plan, "drain.backup", "cold-postgres").sentence
    assert "is at 40 %, and breaks off when the volume detaches" in finding(plan, "drain.backup", "customer-uploads").sentence
    database["status"]["instanceID"]["podName"] = "postgres-2"
    storage["status"]["state"] = "Completed"
    assert "drain.backup" not in codes(plan_of(scene))


# ------------------------------------------------------------ workloads


def test_workloads_with_one_replica_stand_still(scene: Scene) -> None:
    """They are named; traefik has a word of its own."""
    plan = plan_of(scene)
    told = finding(plan, "drain.single")
    assert (
        told.sentence
        == "2 workloads have no ready pod elsewhere and stand still while moving: monitoring/grafana, production/file-exchange"
    )
    assert "nothing comes in through the ingress" in finding(plan, "drain.core").sentence


def test_all_replicas_on_one_node_stand_still_too(scene: Scene) -> None:
    """Two replicas are no help when both are here; a budget that keeps one up is."""
    scene.bare()
    deployment(scene, "web", [W1, W1])
    assert "shop/web" in finding(plan_of(scene), "drain.single").sentence
    budget(scene, "web", "web", least=1, healthy=2, desired=1, expected=2)
    assert "drain.single" not in codes(plan_of(scene))


def test_a_replica_elsewhere_that_is_not_ready_is_no_help(scene: Scene) -> None:
    """It must be Ready to serve."""
    scene.bare()
    pods = deployment(scene, "web", [W1, W2])
    assert "drain.single" not in codes(plan_of(scene))
    pods[1]["status"]["conditions"][0]["status"] = "False"
    assert "shop/web" in finding(plan_of(scene), "drain.single").sentence


def test_what_never_goes_does_not_stand_still(scene: Scene) -> None:
    """One replica under minAvailable 1 stays where it is."""
    scene.bare()
    deployment(scene, "web", [W1])
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1)
    assert "drain.single" not in codes(plan_of(scene))


def test_unreadable_pods_leave_it_open(scene: Scene) -> None:
    """Whether others serve meanwhile is not known."""
    scene.errors["every"] = Unreachable("no answer within 10 s")
    assert finding(plan_of(scene), "drain.single-unknown").outlook is Outlook.NOT_EVALUATED


def test_a_finalizer_is_waited_for(scene: Scene) -> None:
    """Its controller must take it off; that of Jobs is, as soon as the pod was counted."""
    scene.bare()
    owner: Json = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j"}
    scene.add(pod("held", W1, owner=owner, finalizers=["corp.example/backup"]))
    scene.add(pod("job", W1, owner=owner, finalizers=["batch.kubernetes.io/job-tracking"]))
    plan = plan_of(scene)
    assert (item(plan, "held").fate, item(plan, "held").why) == (
        Fate.WAITS,
        "finalizer corp.example/backup must be taken off by its controller",
    )
    assert item(plan, "job").fate is Fate.GOES
