"""PostgreSQL on the node: whether the operator will hand the primary over, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, NotInstalled, Unreachable
from coldtui.domain.plans import Fate, Outlook, Plan, Weight
from coldtui.domain.readings import Known
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.drain.plan import plan_drain
from coldtui.operations.drain.postgres import primary_first
from coldtui.operations.drain.primaries import judged
from tests.operations.drain.scene import NOW, Json, Scene, codes, finding, item
from tests.operations.postgres.scene import Change, both, facts_with, healthy, manager_with, unread

W1, W2, W3 = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3"
SECOND = "k3s-worker-2"


@pytest.fixture
def scene() -> Scene:
    """postgres-1 is the primary and on the node; 2 and 3 are on the next two."""
    return Scene(W1)


def cluster(scene: Scene) -> Json:
    return scene.get("Cluster", "cold-postgres", "database")


def instance(scene: Scene, number: int) -> Json:
    return scene.get("Pod", f"postgres-{number}", "database")


def unready(scene: Scene, number: int, *, state: str = "", since: str = "2026-11-24T11:59:00Z") -> None:
    status = instance(scene, number)["status"]
    for condition in status["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="False", lastTransitionTime=since)
    if state:
        status["containerStatuses"][0]["state"] = {"waiting": {"reason": state}}
    cluster(scene)["status"]["readyInstances"] = 2


def plan_of(scene: Scene, **params: Any) -> Any:
    return scene.plan(delete_emptydir=True, **params)


def test_a_healthy_primary_is_handed_over(scene: Scene) -> None:
    """It waits for the operator, who acts once the node is cordoned; that writes stop is a warning."""
    plan = plan_of(scene)
    found = item(plan, "postgres-1")
    assert found.fate is Fate.WAITS
    assert found.why.startswith(
        "PRIMARY of cold-postgres; budget cold-postgres-primary holds it until another instance leads: once k3s-worker-1 is cordoned"
    )
    told = finding(plan, "drain.pg-primary")
    assert told.weight is Weight.WARNING
    assert (
        told.sentence
        == "postgres-1 is the PRIMARY of database/cold-postgres: it is handed over to a replica, and writes stop for about 10 s"
    )
    assert "issue 10103" in told.remedy
    assert (plan.outlook, plan.blocked) == (Outlook.GO_AFTER, "")


def test_without_facts_of_a_switchover_none_comes_first(scene: Scene) -> None:
    """The plan begins with the cordon."""
    assert primary_first(scene.facts()) == ()
    assert [s.name for s in plan_of(scene).steps] == ["node.cordon", "drain.evict", "drain.gone"]


def switched(scene: Scene, change: Change = lambda facts: facts) -> Plan:
    """The plan of a drain that has read what a switchover rests on."""
    facts, pg = scene.facts(), change(healthy())
    found = {pg.cluster.key: judged(facts, Known(pg, "test", NOW))}
    return plan_drain(replace(facts, switchovers=found), DrainNode(node=scene.worker, delete_emptydir=True), NOW)


def test_a_switchover_comes_first(scene: Scene) -> None:
    """To the best instance on another node, done and settled before the cordon; the item waits for it, and the operator's own act is not counted on."""
    plan = switched(scene)
    assert [s.name for s in plan.steps] == ["postgres.switchover", "postgres.settle", "node.cordon", "drain.evict", "drain.gone"]
    assert plan.steps[0].title == "Switch cold-postgres over to postgres-2"
    found = item(plan, "postgres-1")
    assert found.fate is Fate.WAITS
    assert "until another instance leads: this run first switches over to postgres-2; writes stop for about 10 s" in found.why
    told = finding(plan, "drain.pg-primary")
    assert (told.weight, told.outlook) == (Weight.NOTE, Outlook.GO)
    assert "drain.pg-no-switchover" not in codes(plan)
    assert (plan.outlook, plan.blocked) == (Outlook.GO_AFTER, "")


def test_a_cordoned_node_takes_no_primary(scene: Scene) -> None:
    """The next best leads then."""
    scene.node(W2)["spec"]["unschedulable"] = True
    assert switched(scene).steps[0].title == "Switch cold-postgres over to postgres-3"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            both(manager_with("postgres-2", replay_paused=True), manager_with("postgres-3", replay_paused=True)),
            "replay is paused on postgres-2",
        ),
        (facts_with(operator=unread()), "whether the operator runs: not evaluated"),
    ],
)
def test_where_no_switchover_may_come_first_it_is_said_why(scene: Scene, change: Change, why: str) -> None:
    """The drain is then judged by what the operator does by itself, as before."""
    plan = switched(scene, change)
    assert [s.name for s in plan.steps] == ["node.cordon", "drain.evict", "drain.gone"]
    assert finding(plan, "drain.pg-no-switchover").sentence.startswith(f"no switchover of cold-postgres comes first: {why}")
    assert finding(plan, "drain.pg-primary").weight is Weight.WARNING


def test_no_other_node_no_switchover(scene: Scene) -> None:
    """Every other instance is on a node that takes no pods."""
    for name in (W2, W3):
        scene.node(name)["spec"]["unschedulable"] = True
    assert finding(switched(scene), "drain.pg-no-switchover").sentence.endswith("no other instance is on another node that takes pods")


def _operator(scene: Scene) -> Json:
    return scene.get("Deployment", "cnpg-controller-manager", "cnpg-system")


def _alone(scene: Scene) -> None:
    cluster(scene)["spec"]["instances"] = 1


def _ignored(scene: Scene) -> None:
    cluster(scene)["metadata"].setdefault("annotations", {})["cnpg.io/reconciliationLoop"] = "disabled"


def _fenced(scene: Scene) -> None:
    cluster(scene)["metadata"].setdefault("annotations", {})["cnpg.io/fencedInstances"] = '["postgres-1"]'


def _no_operator(scene: Scene) -> None:
    _operator(scene)["status"]["readyReplicas"] = 0


def _fenced_standby(scene: Scene) -> None:
    """Its pod runs, and is not Ready."""
    unready(scene, 3)
    cluster(scene)["metadata"].setdefault("annotations", {})["cnpg.io/fencedInstances"] = '["postgres-3"]'


def _not_the_lowest(scene: Scene) -> None:
    """postgres-2 leads, and is on the node."""
    cluster(scene)["status"]["currentPrimary"] = cluster(scene)["status"]["targetPrimary"] = "postgres-2"
    for number, role in ((1, "replica"), (2, "primary")):
        instance(scene, number)["metadata"]["labels"] |= {"cnpg.io/instanceRole": role, "role": role}
    scene.worker = SECOND


def _broken_replica(scene: Scene) -> None:
    unready(scene, 3, state="CrashLoopBackOff")


def _no_place(scene: Scene) -> None:
    for name in (W2, W3):
        scene.node(name)["spec"]["unschedulable"] = True


def _beside_and_stuck(scene: Scene) -> None:
    """A replica is on the same node and fits nowhere else."""
    instance(scene, 2)["spec"] |= {"nodeName": W1, "nodeSelector": {"none": "x"}}


NEVER = [
    pytest.param(_alone, "it is the only instance", "scale cold-postgres to 2 instances first", id="single-instance"),
    pytest.param(_ignored, "the operator ignores this cluster", "reconciliationLoop", id="reconciliation-off"),
    pytest.param(_fenced, "it is fenced", "lift the fence first: coldtui postgres unfence postgres-1", id="fenced"),
    pytest.param(_no_operator, "the CloudNativePG operator does not run", "bring it back first", id="operator-down"),
    pytest.param(_fenced_standby, "2 of 3 instances are ready, and the operator waits for all; postgres-3 is fenced", "coldtui postgres unfence postgres-3", id="replica-fenced"),
    pytest.param(_broken_replica, "2 of 3 instances are ready, and the operator waits for all; postgres-3 is CrashLoopBackOff", "mend postgres-3 first", id="replica-broken"),
    pytest.param(_no_place, "no ready replica is on another node that takes pods", "uncordon or mend", id="replicas-cordoned"),
    pytest.param(_beside_and_stuck, "replica postgres-2 is on this node too and fits nowhere else", "kubectl cnpg promote", id="replica-beside"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "why", "remedy"), NEVER)
def test_what_keeps_the_operator_from_handing_over(scene: Scene, broken: Callable[[Scene], None], why: str, remedy: str) -> None:
    """The eviction of the primary would be refused for ever: the cause is named, with what to do."""
    broken(scene)
    plan = plan_of(scene)
    name = "postgres-2" if scene.worker == SECOND else "postgres-1"
    found = item(plan, name)
    assert found.fate is Fate.NEVER
    assert why in found.why
    assert remedy in found.remedy
    told = finding(plan, "drain.pg-primary")
    assert (told.weight, told.outlook) == (Weight.STOP, Outlook.WOULD_HANG)
    assert told.sentence.startswith(f"{name} is the PRIMARY of database/cold-postgres and will not be handed over: ")
    assert why in told.sentence
    assert f"database/{name}" in plan.blocked


def test_a_reported_bug_is_said_and_stops_nothing(scene: Scene) -> None:
    """The source of 1.30 does not show it: the primary waits for the operator, and what to do should it stay is told."""
    _not_the_lowest(scene)
    plan = plan_of(scene)
    assert (item(plan, "postgres-2").fate, plan.blocked) == (Fate.WAITS, "")
    told = finding(plan, "drain.pg-reported")
    assert (told.weight, told.outlook) == (Weight.NOTE, Outlook.GO)
    assert "CloudNativePG issue 11202" in told.sentence
    assert told.remedy == "if postgres-2 leads after 60 s still: kubectl cnpg promote cold-postgres postgres-1 -n database"


def test_the_reported_bug_is_of_one_version_only(scene: Scene) -> None:
    """With another operator nothing is said of it."""
    _not_the_lowest(scene)
    container = _operator(scene)["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].replace("1.30.0", "1.29.1")
    plan = plan_of(scene)
    assert item(plan, "postgres-2").fate is Fate.WAITS
    assert "drain.pg-reported" not in codes(plan)


@pytest.mark.parametrize("node", [W1, W2])
def test_beside_a_fenced_instance_no_pod_comes_back(scene: Scene, node: str) -> None:
    """Primary or replica: what is drained stays away until the fence is lifted, and the plan warns."""
    _fenced_standby(scene)
    scene.worker = node
    told = finding(plan_of(scene), "drain.pg-fenced")
    name = "postgres-1" if node == W1 else "postgres-2"
    assert told.weight is Weight.WARNING
    assert told.sentence == f"postgres-3 fenced: the operator makes no pod again until that is lifted, and {name} stays away"
    assert (told.object, told.remedy) == (f"pods/database/{name}", "coldtui postgres unfence postgres-3")


def test_no_warning_where_the_operator_makes_the_pod_again(scene: Scene) -> None:
    """The drained instance is the fenced one itself, or a maintenance window is open."""
    _fenced_standby(scene)
    scene.worker = W3
    assert "drain.pg-fenced" not in codes(plan_of(scene))
    scene.worker = W2
    cluster(scene)["spec"]["nodeMaintenanceWindow"] = {"inProgress": True}
    assert "drain.pg-fenced" not in codes(plan_of(scene))


def _changing(scene: Scene) -> None:
    cluster(scene)["status"]["targetPrimary"] = "postgres-2"


def _starting(scene: Scene) -> None:
    unready(scene, 3)


def _failed(scene: Scene) -> None:
    """A failed instance: the operator no longer waits for all."""
    unready(scene, 3, state="CrashLoopBackOff")
    cluster(scene)["status"]["instancesStatus"] = {"healthy": ["postgres-1", "postgres-2"], "failed": ["postgres-3"]}


def _beside(scene: Scene) -> None:
    instance(scene, 2)["spec"]["nodeName"] = W1


WAITS = [
    pytest.param(_changing, "a switchover to postgres-2 is under way", id="switchover-runs"),
    pytest.param(_starting, "2 of 3 instances are ready, and the operator waits for all; then it hands over", id="replica-starts"),
    pytest.param(_failed, "the operator hands over to a ready replica", id="failed-instance"),
    pytest.param(_beside, "after replica postgres-2 has moved the operator hands over", id="replica-beside"),
]


@pytest.mark.parametrize(("changed", "why"), WAITS)
def test_what_the_primary_waits_for(scene: Scene, changed: Callable[[Scene], None], why: str) -> None:
    """It will go by itself, and the plan says after what."""
    changed(scene)
    found = item(plan_of(scene), "postgres-1")
    assert (found.fate, why in found.why) == (Fate.WAITS, True), found.why


OPEN = [
    pytest.param("pg_clusters", Forbidden("needs list on clusters.postgresql.cnpg.io"), "a PostgreSQL primary, and PostgreSQL clusters may not be read", id="clusters"),
    pytest.param("deployments", Unreachable("no answer within 10 s"), "whether the operator runs is not known", id="operator"),
    pytest.param("every", Unreachable("no answer within 10 s"), "whether a replica can take over is not known", id="pods"),
    pytest.param("nodes", Unreachable("no answer within 10 s"), "whether a replica can take over is not known", id="nodes"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "error", "why"), OPEN)
def test_unreadable_premises_leave_the_primary_open(scene: Scene, question: str, error: Any, why: str) -> None:
    """It is neither said to go nor to hang."""
    scene.errors[question] = error
    plan = plan_of(scene)
    found = item(plan, "postgres-1")
    assert (found.fate, why in found.why) == (Fate.NOT_EVALUATED, True), found.why
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "database/postgres-1" in plan.blocked


def test_a_primary_without_a_budget_is_a_warning(scene: Scene) -> None:
    """Nothing holds it until a replica leads: it is stopped in the middle of its work."""
    scene.drop(scene.get("PodDisruptionBudget", "cold-postgres-primary", "database"))
    plan = plan_of(scene)
    assert item(plan, "postgres-1").fate is Fate.GOES
    assert "no budget holds it" in finding(plan, "drain.pg-unguarded").sentence


def test_a_replica_is_noted_with_the_numbers(scene: Scene) -> None:
    """3 of 3 ready, 2 while it moves; its own budget spares one."""
    scene.worker = W2
    plan = plan_of(scene)
    assert item(plan, "postgres-2").fate is Fate.GOES
    told = finding(plan, "drain.pg-replica")
    assert (told.weight, told.sentence) == (
        Weight.NOTE,
        "postgres-2 is a replica of database/cold-postgres: 3 of 3 are ready, 2 while it moves",
    )


def test_a_replica_of_a_cluster_that_lacks_one_is_a_warning(scene: Scene) -> None:
    """One left while it moves; its budget has nothing to spare until the other is ready."""
    scene.worker = W2
    unready(scene, 3)
    scene.get("PodDisruptionBudget", "cold-postgres", "database")["status"] |= {"currentHealthy": 1, "disruptionsAllowed": 0}
    plan = plan_of(scene)
    assert finding(plan, "drain.pg-replica").weight is Weight.WARNING
    found = item(plan, "postgres-2")
    assert (found.fate, found.why.partition(";")[0]) == (Fate.WAITS, "budget cold-postgres has nothing to spare until postgres-3 is Ready")


def test_without_the_operator_installed_nothing_is_said(scene: Scene) -> None:
    """Pods that merely bear its labels are ordinary pods then."""
    scene.errors["pg_clusters"] = NotInstalled("clusters.postgresql.cnpg.io are not installed")
    assert not {c for c in codes(plan_of(scene)) if c.startswith("drain.pg")}
