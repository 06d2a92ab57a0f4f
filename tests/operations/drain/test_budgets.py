"""What budgets say to each pod: goes, waits and for what, never and why, not evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, Unreachable
from coldtui.domain.plans import Fate, Outlook
from tests.operations.drain.scene import Scene, budget, codes, deployment, finding, item, pod

W1, W2, W3 = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3"
YOUNG, OLD = "2026-11-24T11:58:00Z", "2026-11-24T08:00:00Z"


@pytest.fixture
def scene() -> Scene:
    return Scene().bare()


def fates(scene: Scene, **params: Any) -> dict[str, str]:
    return {i.object.rpartition("/")[2]: i.fate.value for i in scene.plan(**params).items}


def test_without_a_budget_it_goes(scene: Scene) -> None:
    """Nobody objects, so that the plan is simply go."""
    deployment(scene, "web", [W1, W2])
    plan = scene.plan()
    assert (plan.outlook, item(plan, "web").fate, plan.blocked) == (Outlook.GO, Fate.GOES, "")


def test_a_budget_with_one_to_spare_lets_one_go(scene: Scene) -> None:
    """The numbers stand beside the pod."""
    deployment(scene, "web", [W1, W2, W3])
    budget(scene, "web", "web", most=1, healthy=3, desired=2, expected=3)
    found = item(scene.plan(), "web")
    assert (found.fate, dict(found.facts)["budget"]) == (Fate.GOES, "web: 1 of 3 may go now; 3 healthy, 2 needed")


def test_several_pods_of_one_budget_go_one_after_another(scene: Scene) -> None:
    """The first finds one to spare; each next waits for the replacement of the one before."""
    deployment(scene, "web", [W1, W1, W1, W2])
    budget(scene, "web", "web", most=1, healthy=4, desired=3, expected=4)
    plan = scene.plan()
    assert [i.fate for i in plan.items] == [Fate.GOES, Fate.WAITS, Fate.WAITS]
    assert item(plan, "web-5d-1").why == "budget web spares 1 at a time: after the replacement of web-5d-0 is Ready"
    assert item(plan, "web-5d-2").why == "budget web spares 1 at a time: after the replacement of web-5d-1 is Ready"
    assert (plan.outlook, plan.words, plan.blocked) == (Outlook.GO_AFTER, "go after 2 waits", "")


def test_the_second_never_goes_when_the_first_fits_nowhere(scene: Scene) -> None:
    """Its place in the budget is never filled again: no node has room for the replacement."""
    deployment(scene, "web", [W1, W1, W2], memory="7Gi")
    scene.drop(scene.pods("web-5d-2", W2)[0])
    scene.add(pod("big", W2, memory="7Gi"))
    for name in ("k3s-master", W3, "k3s-worker-4"):
        scene.node(name)["spec"]["unschedulable"] = True
    budget(scene, "web", "web", least=1, healthy=2, desired=1, expected=2)
    scene.get("Deployment", "web", "shop")["spec"]["replicas"] = 2
    plan = scene.plan()
    assert item(plan, "web-5d-0").fate is Fate.GOES
    found = item(plan, "web-5d-1")
    assert found.fate is Fate.NEVER
    assert "the replacement of web-5d-0 fits nowhere" in found.why
    assert "not enough memory (needs 7.00 GiB)" in found.why
    assert finding(plan, "drain.budget-no-room").outlook is Outlook.WOULD_HANG


NEVER = [
    pytest.param({"least": 1, "healthy": 1, "desired": 1, "expected": 1}, [W1], "needs 1 of 1 pod healthy: it can never spare one", id="single-replica"),
    pytest.param({"least": 2, "healthy": 2, "desired": 2, "expected": 2}, [W1, W2], "needs 2 of 2 pods healthy", id="least-is-all"),
    pytest.param({"least": 5, "healthy": 2, "desired": 5, "expected": 2}, [W1, W2], "needs 5 of 2 pods healthy", id="least-is-more-than-all"),
    pytest.param({"most": 0, "healthy": 2, "desired": 2, "expected": 2}, [W1, W2], "needs 2 of 2 pods healthy", id="most-is-none"),
    pytest.param({"least": "100%", "healthy": 3, "desired": 3, "expected": 3}, [W1, W2, W3], "needs 3 of 3 pods healthy", id="all-percent"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "nodes", "why"), NEVER)
def test_a_budget_that_can_never_spare_one(scene: Scene, rule: dict[str, Any], nodes: list[str], why: str) -> None:
    """It is said before anything is evicted, with the scale or the budget to change."""
    deployment(scene, "web", nodes)
    budget(scene, "web", "web", **rule)
    plan = scene.plan()
    found = item(plan, "web")
    assert (found.fate, plan.outlook) == (Fate.NEVER, Outlook.WOULD_HANG)
    assert why in found.why
    assert f"scale deployment web to {rule['desired'] + 1} or more -n shop" in found.remedy
    assert "shop/web-5d-0 can never go: --anyway" in plan.blocked
    assert finding(plan, "drain.budget-never").object == "pods/shop/web-5d-0"


def test_a_stateful_set_with_all_its_pods_needed(scene: Scene) -> None:
    """The scale of the StatefulSet decides, and is named in the remedy."""
    scene.add(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "redis", "namespace": "shop", "uid": "u"},
            "spec": {"replicas": 1},
        }
    )
    scene.add(pod("redis-0", W1, app="redis", owner={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "uid": "u"}))
    budget(scene, "redis", "redis", least=1, healthy=1, desired=1, expected=1)
    found = item(scene.plan(), "redis-0")
    assert found.fate is Fate.NEVER
    assert "scale statefulset redis to 2 or more" in found.remedy


def test_two_budgets_are_refused_for_ever(scene: Scene) -> None:
    """Even when both could spare one: the server answers 500. Both are named."""
    deployment(scene, "web", [W1, W2, W3])
    budget(scene, "first", "web", most=1, healthy=3, desired=2, expected=3)
    budget(scene, "second", "web", most=1, healthy=3, desired=2, expected=3)
    found = item(scene.plan(), "web")
    assert found.fate is Fate.NEVER
    assert found.why.startswith("budgets first and second select it")
    assert "second" in found.remedy
    assert "drain.two-budgets" in codes(scene.plan())


def test_it_waits_for_pods_that_are_starting(scene: Scene) -> None:
    """A budget that is used up now fills again when they are Ready."""
    deployment(scene, "web", [W1, W2, W3])
    scene.pods("web", W2)[0].update(
        pod("web-5d-1", W2, app="web", owner=_owner(scene), ready=False, waiting="ContainerCreating", since=YOUNG)
    )
    budget(scene, "web", "web", most=1, healthy=2, desired=2, expected=3)
    found = item(scene.plan(), "web")
    assert (found.fate, found.why) == (Fate.WAITS, "budget web has nothing to spare until web-5d-1 is Ready")


def test_it_waits_for_pods_that_are_not_there_yet(scene: Scene) -> None:
    """The Deployment wants three, two exist: the third is being made."""
    deployment(scene, "web", [W1, W2], desired=3)
    budget(scene, "web", "web", most=1, healthy=2, desired=2, expected=3)
    assert item(scene.plan(), "web").why == "budget web has nothing to spare until its missing pods are Ready"


BROKEN = [
    pytest.param({"waiting": "CrashLoopBackOff", "since": YOUNG}, "is CrashLoopBackOff", id="crashes"),
    pytest.param({"waiting": "ImagePullBackOff", "since": YOUNG}, "is ImagePullBackOff", id="no-image"),
    pytest.param({"since": OLD}, "is Running and not Ready since 08:00Z", id="unready-for-long"),
]


@pytest.mark.parametrize(("state", "why"), BROKEN)
def test_it_never_goes_while_another_pod_is_broken(scene: Scene, state: dict[str, Any], why: str) -> None:
    """What keeps the budget used up does not mend itself: it is named."""
    deployment(scene, "web", [W1, W2, W3])
    scene.pods("web", W2)[0].update(pod("web-5d-1", W2, app="web", owner=_owner(scene), ready=False, **state))
    budget(scene, "web", "web", most=1, healthy=2, desired=2, expected=3)
    found = item(scene.plan(), "web")
    assert (found.fate, found.why) == (Fate.NEVER, f"budget web needs 2 healthy and has 2: web-5d-1 {why}")
    assert found.remedy == "mend web-5d-1 first"
    assert "drain.budget-broken" in codes(scene.plan())


def test_a_peer_on_a_dead_node_does_not_come_back(scene: Scene) -> None:
    """Its kubelet is silent."""
    deployment(scene, "web", [W1, W2, W3])
    scene.pods("web", W2)[0].update(pod("web-5d-1", W2, app="web", owner=_owner(scene), ready=False, since=YOUNG))
    _unready(scene, W2)
    budget(scene, "web", "web", most=1, healthy=2, desired=2, expected=3)
    assert "its node k3s-worker-2 is NotReady" in item(scene.plan(), "web").why


def test_a_deployments_pod_that_ends_elsewhere_is_replaced(scene: Scene) -> None:
    """It hangs on a dead node, but its successor has another name and need not wait for it."""
    deployment(scene, "web", [W1, W2, W3])
    dying = pod(
        "web-5d-1", W2, app="web", owner=_owner(scene), ready=False, deletionTimestamp="2026-11-24T11:00:00Z", deletionGracePeriodSeconds=30
    )
    scene.pods("web", W2)[0].update(dying)
    _unready(scene, W2)
    budget(scene, "web", "web", most=1, healthy=2, desired=2, expected=3)
    assert item(scene.plan(), "web").fate is Fate.WAITS


UNREADY = [
    pytest.param({"healthy": 2, "desired": 2}, "", Fate.GOES, id="budget-is-met"),
    pytest.param({"healthy": 1, "desired": 2}, "", Fate.NEVER, id="budget-is-not-met"),
    pytest.param({"healthy": 1, "desired": 2}, "AlwaysAllow", Fate.GOES, id="always-allow"),
    pytest.param({"healthy": 0, "desired": 0}, "", Fate.NEVER, id="nothing-to-spare"),
]


@pytest.mark.parametrize(("numbers", "policy", "fate"), UNREADY)
def test_a_pod_that_is_not_ready(scene: Scene, numbers: dict[str, Any], policy: str, fate: Fate) -> None:
    """It goes without spending while the budget is met, or always by the policy; else the budget must have one to spare."""
    deployment(scene, "web", [W1, W2, W3])
    scene.pod("web").update(pod("web-5d-0", W1, app="web", owner=_owner(scene), ready=False, waiting="CrashLoopBackOff"))
    for peer in (*scene.pods("web", W2), *scene.pods("web", W3)):
        peer["status"]["conditions"][0]["status"] = "False"
    budget(scene, "web", "web", most=1, policy=policy, expected=3, allowed=0, **numbers)
    assert item(scene.plan(), "web").fate is fate


def test_the_classic_trap_of_one_broken_pod(scene: Scene) -> None:
    """One replica that crashes under minAvailable 1 can never be evicted; the remedy names the policy."""
    deployment(scene, "web", [W1])
    scene.pod("web").update(pod("web-5d-0", W1, app="web", owner=_owner(scene), ready=False, waiting="CrashLoopBackOff"))
    budget(scene, "web", "web", least=1, healthy=0, desired=1, expected=1)
    found = item(scene.plan(), "web")
    assert found.fate is Fate.NEVER
    assert "unhealthyPodEvictionPolicy: AlwaysAllow" in found.remedy


@pytest.mark.parametrize(("phase", "deleted"), [("Succeeded", False), ("Failed", False), ("Pending", False), ("Running", True)])
def test_pods_that_ask_no_budget_go(scene: Scene, phase: str, deleted: bool) -> None:
    """Although theirs could never spare one."""
    metadata: dict[str, Any] = {"deletionTimestamp": "2026-11-24T11:59:50Z", "deletionGracePeriodSeconds": 30} if deleted else {}
    scene.add(pod("web-0", W1, app="web", owner={"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "x"}, phase=phase, **metadata))
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1)
    found = item(scene.plan(), "web-0")
    assert found.fate is Fate.GOES
    assert found.why.endswith("budgets are not asked")


def test_a_budget_that_was_just_changed_is_waited_for(scene: Scene) -> None:
    """Its numbers are of the rule before; the server asks for ten seconds."""
    deployment(scene, "web", [W1, W2])
    budget(scene, "web", "web", most=1, healthy=2, desired=1, expected=2, generation=2, observed=1)
    assert item(scene.plan(), "web").why == "budget web was just changed and is being counted anew"


@pytest.mark.parametrize("how", ["sync", "negative"])
def test_a_budget_whose_controller_cannot_count(scene: Scene, how: str) -> None:
    """It lets nobody go until somebody mends it."""
    deployment(scene, "web", [W1, W2])
    failed = [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "found no controllers for pod x"}]
    allowed = -1 if how == "negative" else 0
    budget(scene, "web", "web", most=1, healthy=2, desired=1, expected=2, allowed=allowed, conditions=failed if how == "sync" else [])
    found = item(scene.plan(), "web")
    assert found.fate is Fate.NEVER
    assert ("found no controllers" if how == "sync" else "negative") in found.why


def test_a_share_of_pods_without_a_controller_spares_nobody(scene: Scene) -> None:
    """The server expects no pod under such a budget and refuses for ever; waiting for missing pods would be waiting for nothing."""
    scene.add(pod("bare", W1, app="bare"))
    budget(scene, "bare", "bare", most="50%", healthy=1, desired=0, expected=0, allowed=0)
    found = item(scene.plan(force=True), "bare")
    assert (found.fate, found.remedy) == (Fate.NEVER, "use a whole number as minAvailable, or delete budget bare -n shop")
    assert found.why.startswith("budget bare counts only pods that a controller made, and so lets nobody go")


def test_match_expressions_select_too(scene: Scene) -> None:
    """A budget is not overlooked because its selector is not of plain labels."""
    deployment(scene, "web", [W1])
    rule = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1, selector=rule)
    assert item(scene.plan(), "web").fate is Fate.NEVER


def test_an_empty_selector_covers_the_whole_namespace(scene: Scene) -> None:
    """And no other one."""
    deployment(scene, "web", [W1])
    deployment(scene, "api", [W1], namespace="other")
    budget(scene, "all", "", least=1, healthy=1, desired=1, expected=1, selector={})
    assert fates(scene) == {"web-5d-0": "never", "api-5d-0": "goes"}


def test_unreadable_budgets_make_every_verdict_open(scene: Scene) -> None:
    """No pod is said to go; what asks no budget still does."""
    deployment(scene, "web", [W1, W2])
    scene.add(pod("done", W1, phase="Succeeded"))
    scene.errors["budgets"] = Forbidden("needs list on poddisruptionbudgets.policy")
    plan = scene.plan()
    assert fates(scene) == {"web-5d-0": "not evaluated", "done": "goes"}
    assert (plan.outlook, item(plan, "web").why) == (Outlook.NOT_EVALUATED, "disruption budgets: needs list on poddisruptionbudgets.policy")
    assert "shop/web-5d-0 could not be evaluated: --anyway" in plan.blocked


def test_an_unreadable_scale_leaves_the_refill_open(scene: Scene) -> None:
    """The budget has nothing to spare, and nobody can say whether more pods will come."""
    deployment(scene, "web", [W1, W2])
    budget(scene, "web", "web", least=2, healthy=2, desired=2, expected=2)
    scene.errors["deployments"] = Unreachable("no answer within 10 s")
    found = item(scene.plan(), "web")
    assert found.fate is Fate.NOT_EVALUATED
    assert "deployments" in found.why
    assert "no answer within 10 s" in found.why


def test_unreadable_pods_elsewhere_leave_the_refill_open(scene: Scene) -> None:
    """One pod still goes where the budget has one to spare now; the next is not evaluated."""
    deployment(scene, "web", [W1, W1, W2])
    budget(scene, "web", "web", most=1, healthy=3, desired=2, expected=3)
    scene.errors["every"] = Unreachable("no answer within 10 s")
    assert fates(scene) == {"web-5d-0": "goes", "web-5d-1": "not evaluated"}


def test_bypassed_budgets_are_named(scene: Scene) -> None:
    """With --disable-eviction all go, and whose protection is ignored stands in a finding."""
    deployment(scene, "web", [W1])
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1)
    plan = scene.plan(disable_eviction=True)
    assert (item(plan, "web").fate, item(plan, "web").why) == (Fate.GOES, "deleted without asking budget web")
    assert finding(plan, "drain.disable-eviction").sentence == "disruption budgets are bypassed: shop/web-5d-0 is deleted without asking"
    assert (int(plan.rung), plan.blocked) == (3, "")


def _owner(scene: Scene) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "uid": "uid-shop-web-5d"}


def _unready(scene: Scene, node: str) -> None:
    for condition in scene.node(node)["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "Unknown"
