"""Longhorn under the drain: when the instance manager goes, last copies, degraded volumes, attachments."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, NotInstalled, Unreachable
from coldtui.domain.plans import Fate, Outlook, Plan, Rung, Weight
from tests.operations.drain.scene import Json, Scene, codes, finding, item

W1, NAMESPACE = "k3s-worker-1", "longhorn-system"
MANAGER = "instance-manager"


@pytest.fixture
def scene() -> Scene:
    return Scene(W1)


def volume(scene: Scene, claim: str) -> Json:
    (found,) = scene.all("Volume", "longhorn.io", lambda v: v["status"]["kubernetesStatus"].get("pvcName") == claim)
    return found


def replicas(scene: Scene, claim: str) -> list[Json]:
    name = volume(scene, claim)["metadata"]["name"]
    return scene.all("Replica", "longhorn.io", lambda r: r["spec"]["volumeName"] == name)


def policy(scene: Scene, value: str, setting: str = "node-drain-policy") -> None:
    found = scene.all("Setting", "longhorn.io", lambda s: s["metadata"]["name"] == setting)
    if found:
        found[0]["value"] = value
    else:
        scene.add(
            {"apiVersion": "longhorn.io/v1beta2", "kind": "Setting", "metadata": {"name": setting, "namespace": NAMESPACE}, "value": value}
        )


def last_copy(scene: Scene, claim: str = "customer-uploads", *, running: bool = True) -> None:
    """The copies elsewhere have failed."""
    for replica in replicas(scene, claim):
        if replica["spec"]["nodeID"] != W1:
            replica["spec"] |= {"failedAt": "2026-11-24T10:00:00Z", "healthyAt": ""}
        elif not running:
            replica["status"]["currentState"] = "stopped"
    volume(scene, claim)["status"]["robustness"] = "degraded"


def plan_of(scene: Scene, **params: Any) -> Plan:
    return scene.plan(delete_emptydir=True, **params)


def test_the_instance_manager_waits_for_its_volumes(scene: Scene) -> None:
    """Its budget never spares it, and yet this is progress: the volumes of the evicted pods detach, then Longhorn frees it."""
    plan = plan_of(scene)
    found = item(plan, MANAGER)
    assert (found.fate, found.why) == (
        Fate.WAITS, "Longhorn frees it once 3 volumes have detached (database/postgres-1, monitoring/grafana, production/customer-uploads)",
    )  # fmt: skip
    assert finding(plan, "drain.lh-attached-here").sentence.startswith(
        "3 volumes attached to k3s-worker-1 must detach and attach elsewhere"
    )
    assert finding(plan, "drain.lh-copies").sentence == "7 volumes with a copy on k3s-worker-1 keep at least 2 good elsewhere"


def test_without_volumes_it_waits_for_the_cordon(scene: Scene) -> None:
    """Nothing is attached to the master."""
    scene.worker = "k3s-master"
    assert item(plan_of(scene), MANAGER).why == "Longhorn frees it once k3s-master is cordoned"


BLOCKED = ["block-if-contains-last-replica", "allow-if-replica-is-stopped"]


@pytest.mark.parametrize("value", BLOCKED)
def test_a_last_copy_holds_the_instance_manager(scene: Scene, value: str) -> None:
    """The volume is named, with the policy that holds it."""
    policy(scene, value)
    last_copy(scene)
    plan = plan_of(scene)
    found = item(plan, MANAGER)
    assert found.fate is Fate.NEVER
    assert found.why == f"k3s-worker-1 has the last good copy of 1 volume (production/customer-uploads), and node-drain-policy is {value}"
    told = finding(plan, "drain.lh-last-copy")
    assert (told.weight, told.outlook) == (Weight.STOP, Outlook.WOULD_HANG)
    assert told.sentence == f"volume production/customer-uploads has its last good copy on k3s-worker-1 (0 of 3 elsewhere); node-drain-policy {value} holds the instance manager"  # fmt: skip
    assert plan.outlook is Outlook.WOULD_HANG


@pytest.mark.parametrize(("value", "running"), [("always-allow", True), ("allow-if-replica-is-stopped", False)])
def test_a_last_copy_that_the_policy_lets_go(scene: Scene, value: str, running: bool) -> None:
    """The drain would take the data away: it would lose data, and needs the gravest confirmation."""
    policy(scene, value)
    last_copy(scene, running=running)
    plan = plan_of(scene)
    assert item(plan, MANAGER).fate is Fate.WAITS
    told = finding(plan, "drain.lh-last-copy")
    assert told.outlook is Outlook.WOULD_LOSE
    assert "is lost with its disk" in told.sentence
    assert (plan.outlook, plan.rung) == (Outlook.WOULD_LOSE, Rung.DESTRUCTIVE)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("block-for-eviction-if-contains-last-replica", ", and after it has moved the last copy of 1 volume off the node (block"),
        ("block-for-eviction", ", and after it has moved all 7 copies off the node (node-drain-policy): minutes to hours"),
    ],
)
def test_policies_by_which_longhorn_moves_copies(scene: Scene, value: str, said: str) -> None:
    """It waits for the copying, and says that this takes long."""
    policy(scene, value)
    last_copy(scene)
    plan = plan_of(scene)
    assert item(plan, MANAGER).fate is Fate.WAITS
    assert said.partition(" (")[0] in item(plan, MANAGER).why
    assert finding(plan, "drain.lh-last-copy").outlook is Outlook.GO_AFTER


def test_copies_on_a_dead_node_do_not_count(scene: Scene) -> None:
    """The other copies are on nodes that are not Ready: the one here is the last."""
    for replica in replicas(scene, "customer-uploads"):
        node = replica["spec"]["nodeID"]
        if node != W1:
            for condition in scene.node(node)["status"]["conditions"]:
                if condition["type"] == "Ready":
                    condition["status"] = "Unknown"
    assert "production/customer-uploads" in {f.sentence.split()[1] for f in plan_of(scene).findings if f.code == "drain.lh-last-copy"}


def test_copies_without_a_guarded_instance_manager_do_not_count(scene: Scene) -> None:
    """Longhorn counts only those whose instance manager has its budget."""
    for replica in replicas(scene, "customer-uploads"):
        node = replica["spec"]["nodeID"]
        if node != W1:
            (manager,) = scene.pods(MANAGER, node)
            scene.drop(scene.get("PodDisruptionBudget", manager["metadata"]["name"], NAMESPACE))
    assert "drain.lh-last-copy" in codes(plan_of(scene))


def test_copies_that_were_never_used_do_not_count(scene: Scene) -> None:
    """A fresh replica without data holds nothing back."""
    for replica in replicas(scene, "customer-uploads"):
        if replica["spec"]["nodeID"] == W1:
            replica["spec"] |= {"healthyAt": "", "failedAt": ""}
        else:
            replica["spec"] |= {"failedAt": "2026-11-24T10:00:00Z", "healthyAt": ""}
    assert "drain.lh-last-copy" not in codes(plan_of(scene))


def test_degraded_volumes_are_a_warning(scene: Scene) -> None:
    """One copy less already, and one more with the node: what is left is counted."""
    first = next(r for r in replicas(scene, "customer-uploads") if r["spec"]["nodeID"] != W1)
    first["spec"] |= {"failedAt": "2026-11-24T10:00:00Z", "healthyAt": ""}
    volume(scene, "customer-uploads")["status"]["robustness"] = "degraded"
    told = finding(plan_of(scene), "drain.lh-degraded")
    assert told.sentence == "volume production/customer-uploads is degraded already: 1 of 3 copies are left elsewhere"
    assert told.weight is Weight.WARNING


def _attach(scene: Scene, claim: str = "mail-spool") -> str:
    found = volume(scene, claim)
    found["status"] |= {"state": "attached", "currentNodeID": W1}
    return str(found["metadata"]["name"])


def _ticket(scene: Scene, name: str, kind: str) -> None:
    spec = {"volume": name, "attachmentTickets": {"t": {"id": "t", "type": kind, "nodeID": W1}}}
    scene.add(
        {"apiVersion": "longhorn.io/v1beta2", "kind": "VolumeAttachment", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    )


def test_a_volume_attached_by_hand_blocks_for_ever(scene: Scene) -> None:
    """No eviction detaches it; the setting that would is named."""
    _ticket(scene, _attach(scene), "longhorn-api")
    found = item(plan_of(scene), MANAGER)
    assert found.fate is Fate.NEVER
    assert found.why == "volume production/mail-spool is attached to k3s-worker-1 by hand: nothing of this drain detaches it"
    assert "detach-manually-attached-volumes-when-cordoned" in found.remedy


def test_unless_longhorn_is_told_to_detach_it(scene: Scene) -> None:
    """With that setting the cordon detaches it."""
    _ticket(scene, _attach(scene), "longhorn-api")
    policy(scene, "true", "detach-manually-attached-volumes-when-cordoned")
    assert item(plan_of(scene), MANAGER).fate is Fate.WAITS


def test_a_volume_that_longhorn_itself_attached_comes_free(scene: Scene) -> None:
    """A backup ends by itself."""
    _ticket(scene, _attach(scene), "backup-controller")
    assert item(plan_of(scene), MANAGER).fate is Fate.WAITS


def test_a_volume_that_nobody_uses_blocks(scene: Scene) -> None:
    """Attached, no pod and no ticket that says why: nothing under way detaches it."""
    _attach(scene)
    found = item(plan_of(scene), MANAGER)
    assert (found.fate, "and no pod uses it" in found.why) == (Fate.NEVER, True)


def test_a_shared_volume_goes_with_its_share_manager(scene: Scene) -> None:
    """The pod that serves it to many holds it, and is evicted."""
    name = _attach(scene)
    serves = scene.pod("grafana")
    serves["metadata"]["labels"]["longhorn.io/share-manager"] = name
    assert item(plan_of(scene), MANAGER).fate is Fate.WAITS


def test_a_user_that_stays_keeps_the_volume_attached(scene: Scene) -> None:
    """The pod that cannot go is named, and the instance manager with it."""
    labels = scene.pod("grafana")["metadata"]["labels"]
    scene.add(
        {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "grafana", "namespace": "monitoring", "generation": 1},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
            "status": {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "disruptionsAllowed": 0, "observedGeneration": 1},
        }
    )  # fmt: skip
    found = item(plan_of(scene), MANAGER)
    assert found.fate is Fate.NEVER
    assert found.why.startswith("volume monitoring/grafana stays attached: grafana-")


OPEN = [
    pytest.param("lh_volumes", "Longhorn volumes may not be read", id="volumes"),
    pytest.param("lh_replicas", "Longhorn replicas may not be read", id="replicas"),
    pytest.param("lh_settings", "Longhorn settings may not be read", id="settings"),
]


@pytest.mark.parametrize(("question", "why"), OPEN)
def test_unreadable_premises_leave_it_open(scene: Scene, question: str, why: str) -> None:
    """A last copy that cannot be excluded is not evaluated, never well."""
    scene.errors[question] = Forbidden("not permitted")
    last_copy(scene)
    plan = plan_of(scene)
    found = item(plan, MANAGER)
    assert (found.fate, why in found.why) == (Fate.NOT_EVALUATED, True), found.why
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "drain.lh-copies" not in codes(plan) or question == "lh_settings"


def test_unreadable_attachments_matter_only_for_volumes_without_a_pod(scene: Scene) -> None:
    """Where pods hold all volumes, tickets decide nothing; the source is still said to be unread."""
    scene.errors["attachments"] = Unreachable("no answer within 10 s")
    plan = plan_of(scene)
    assert item(plan, MANAGER).fate is Fate.WAITS
    assert finding(plan, "drain.unread").sentence == "Longhorn attachments: not evaluated, no answer within 10 s"
    _attach(scene)
    assert item(plan_of(scene), MANAGER).fate is Fate.NOT_EVALUATED


def without(scene: Scene, *names: str) -> None:
    for name in names:
        scene.errors[name] = NotInstalled(f"{name} are not installed")


def test_without_longhorn_nothing_is_said(scene: Scene) -> None:
    """A component that is not there has nothing to lose, and is no unknown."""
    without(scene, "lh_volumes", "lh_replicas", "lh_engines", "lh_settings", "attachments")
    for manager in scene.all("Pod", "", lambda p: p["metadata"]["name"].startswith(MANAGER)):
        scene.drop(manager)
    plan = plan_of(scene)
    assert not {c for c in codes(plan) if c.startswith("drain.lh") or c == "drain.unread"}
    assert plan.outlook is Outlook.GO_AFTER
