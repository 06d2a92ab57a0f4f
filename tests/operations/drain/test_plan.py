"""The whole plan: clean, combined, blind, blocked, and each premise unreadable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coldtui.domain.errors import ColdError, Forbidden, NotInstalled, Unreachable
from coldtui.domain.plans import Fate, Outlook, Rung, Weight, plan_json, plan_of_json, worse
from coldtui.operations.drain import DRAIN
from coldtui.operations.drain.facts import OWN, WORLD
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.params import make, params_of
from tests.operations.drain.scene import NOW, Scene, budget, codes, deployment, finding, item, pod

W1, W2, W3 = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3"
QUESTIONS = ["node", "pods", *OWN, *(kind.name for kind in WORLD)]


@pytest.fixture
def scene() -> Scene:
    return Scene(W1)


# ------------------------------------------------------------ as a whole


def test_a_clean_drain_says_go() -> None:
    """Two replicas on two nodes, nobody objects: no warning, no question, all that was looked at is well."""
    scene = Scene(W1).bare()
    deployment(scene, "web", [W1, W2])
    plan = scene.plan()
    assert (plan.outlook, plan.blocked, plan.rung, plan.done) == (Outlook.GO, "", Rung.DISRUPTIVE, "")
    assert {f.weight for f in plan.findings} <= {Weight.GOOD, Weight.NOTE}
    assert [i.fate for i in plan.items] == [Fate.GOES]


def test_what_is_confirmed_and_done(scene: Scene) -> None:
    """Word, verb, locks and steps; the steps carry every option, and names that do not change with the pods."""
    plan = scene.plan(delete_emptydir=True, grace=20, skip_wait_for_delete=9)
    assert (plan.operation, plan.object, plan.confirm, plan.verb, plan.locks) == ("node.drain", f"nodes/{W1}", W1, "drain", ("site",))
    assert [s.title for s in plan.steps] == [f"Cordon {W1}", f"Evict the pods of {W1}", f"See that the pods of {W1} are gone"]
    args = dict(plan.steps[1].args)
    assert args["never"] == []
    assert (args["node"], args["grace"], args["delete_emptydir"], args["skip_wait_for_delete"]) == (W1, 20, True, 9)
    assert plan.steps[1].note == "accepted evictions cannot be recalled"


def test_everything_at_once() -> None:
    """Each obstacle is told with its own name in one plan, and the gravest decides the outlook."""
    scene = Scene(W1).bare()
    deployment(scene, "fine", [W1, W2])
    deployment(scene, "waits", [W1, W1, W2])
    budget(scene, "waits", "waits", most=1, healthy=3, desired=2, expected=3)
    deployment(scene, "single", [W1])
    budget(scene, "single", "single", least=1, healthy=1, desired=1, expected=1)
    deployment(scene, "two", [W1, W2, W3])
    for name in ("first", "second"):
        budget(scene, name, "two", most=1, healthy=3, desired=2, expected=3)
    scene.add(pod("lonely", W1, spec={"volumes": [{"name": "cache", "emptyDir": {}}]}))
    deployment(scene, "large", [W1], memory="9Gi")
    scene.node(W3)["spec"]["unschedulable"] = True
    plan = scene.plan(delete_emptydir=True, force=True)
    assert {i.object.rpartition("/")[2]: i.fate.value for i in plan.items} == {
        "fine-5d-0": "goes", "waits-5d-0": "goes", "waits-5d-1": "waits", "single-5d-0": "never", "two-5d-0": "never", "lonely": "goes", "large-5d-0": "goes",
    }  # fmt: skip
    assert codes(plan) >= {
        "drain.budget-never", "drain.two-budgets", "drain.emptydir", "drain.unmanaged", "drain.no-room", "drain.second-cordon", "drain.single",
    }  # fmt: skip
    assert (plan.outlook, plan.rung) == (Outlook.WOULD_LOSE, Rung.DESTRUCTIVE)
    assert plan.blocked == "shop/single-5d-0, shop/two-5d-0 can never go: --anyway evicts the others all the same"


def test_nothing_to_do() -> None:
    """Cordoned and empty: no steps, and it says so. Empty but not cordoned: it is cordoned."""
    scene = Scene(W1).bare()
    plan = scene.plan()
    assert (plan.done, [s.name for s in plan.steps]) == ("", ["node.cordon", "drain.evict", "drain.gone"])
    assert finding(plan, "drain.empty").sentence == f"no pod has to leave {W1}"
    scene.node(W1)["spec"]["unschedulable"] = True
    plan = scene.plan()
    assert (plan.done, plan.steps, plan.blocked) == (f"{W1} is cordoned and has nothing to evict", (), "")


# ------------------------------------------------------------ words that must be given


def test_emptydir_data_must_be_permitted(scene: Scene) -> None:
    """The pods are named, with the flag; under it the loss is a warning and the pod has it among its facts."""
    plan = scene.plan()
    assert (plan.outlook, plan.blocked) == (
        Outlook.REFUSED,
        "emptyDir data would be deleted with database/postgres-1: --delete-emptydir allows it",
    )
    found = item(plan, "postgres-1")
    assert (found.fate, found.remedy) == (Fate.NEVER, "--delete-emptydir allows it")
    assert dict(found.facts)["emptyDir"] == "scratch-data, shm (memory)"
    assert finding(plan, "drain.emptydir").weight is Weight.STOP
    permitted = scene.plan(delete_emptydir=True)
    assert finding(permitted, "drain.emptydir").sentence == "emptyDir data of 1 pod is deleted: database/postgres-1"
    assert permitted.rung is Rung.DISRUPTIVE


def test_pods_without_a_controller_must_be_permitted() -> None:
    """Deleting them is for good: it would lose data, and asks for the gravest confirmation."""
    scene = Scene(W1).bare()
    scene.add(pod("lonely", W1))
    plan = scene.plan()
    assert (plan.outlook, plan.blocked) == (Outlook.REFUSED, "nothing would make again shop/lonely: --force allows it")
    forced = scene.plan(force=True)
    assert (forced.outlook, forced.rung, forced.blocked) == (Outlook.WOULD_LOSE, Rung.DESTRUCTIVE, "")
    assert finding(forced, "drain.unmanaged").sentence == "1 pod is deleted for good, nothing makes it again: shop/lonely"


def test_what_is_in_the_way_is_told_before_the_flag_is_given() -> None:
    """One look shows both the missing flag and the budget behind it."""
    scene = Scene(W1).bare()
    deployment(scene, "web", [W1], spec={"volumes": [{"name": "cache", "emptyDir": {}}]})
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1)
    plan = scene.plan()
    assert codes(plan) >= {"drain.emptydir", "drain.budget-never"}
    assert dict(item(plan, "web").facts)["budget"].startswith("web: 0 of 1 may go now")


def test_anyway_goes_on_without_what_never_goes() -> None:
    """It can be confirmed then; the finding says how the run will end, and the step knows whom not to wait for."""
    scene = Scene(W1).bare()
    deployment(scene, "web", [W1])
    budget(scene, "web", "web", least=1, healthy=1, desired=1, expected=1)
    assert scene.plan().blocked
    plan = scene.plan(anyway=True)
    assert (plan.blocked, plan.outlook) == ("", Outlook.WOULD_HANG)
    assert "the run will end with it still on the node" in finding(plan, "drain.anyway").sentence
    assert plan.steps[1].args["never"] == ["shop/web-5d-0"]


def test_anyway_over_what_was_not_evaluated_is_graver(scene: Scene) -> None:
    """Nobody could look at the budgets: it may be confirmed, by typing the name and with a reason."""
    scene.errors["budgets"] = Forbidden("needs list on poddisruptionbudgets.policy")
    assert scene.plan(delete_emptydir=True).blocked
    plan = scene.plan(delete_emptydir=True, anyway=True)
    assert (plan.blocked, plan.rung, plan.outlook) == ("", Rung.DESTRUCTIVE, Outlook.NOT_EVALUATED)


@pytest.mark.parametrize("flag", ["delete_emptydir", "force"])
def test_anyway_permits_no_loss(flag: str) -> None:
    """It does not stand in for the flag that allows data or pods to be deleted."""
    scene = Scene(W1).bare()
    if flag == "force":
        scene.add(pod("lonely", W1))
    else:
        deployment(scene, "web", [W1], spec={"volumes": [{"name": "cache", "emptyDir": {}}]})
    assert f"--{flag.replace('_', '-')} allows it" in scene.plan(anyway=True).blocked
    assert scene.plan(**{flag: True}).blocked == ""


def test_deleting_instead_of_evicting_is_grave(scene: Scene) -> None:
    """Rung 3, another verb in the step, and no budget holds anybody."""
    plan = scene.plan(delete_emptydir=True, disable_eviction=True)
    assert plan.rung is Rung.DESTRUCTIVE
    assert (plan.steps[1].title, plan.steps[1].note) == (f"Delete the pods of {W1}", "accepted deletions cannot be recalled")
    assert {i.fate for i in plan.items} == {Fate.GOES, Fate.STAYS}


def test_chosen_pods_only(scene: Scene) -> None:
    """What the selector leaves out stays, and is counted."""
    plan = scene.plan(pod_selector="app=cold-backend")
    assert "13 pods on the node are not selected" in finding(scene_of_selected(scene), "drain.selector").sentence
    assert len(plan.items) == 14  # the list comes from the server, which this scene does not play


def scene_of_selected(scene: Scene) -> Any:
    from dataclasses import replace

    from coldtui.domain.readings import Known
    from coldtui.operations.drain.plan import plan_drain

    facts = scene.facts()
    assert isinstance(facts.pods, Known)
    chosen = tuple(p for p in facts.pods.value if p.pod.labels.get("app") == "cold-backend")
    return plan_drain(replace(facts, pods=Known(chosen, "pods", NOW)), DrainNode(node=W1, pod_selector="app=cold-backend"), NOW)


def test_skipped_pods_are_named() -> None:
    """Those whose deletion is old are not waited for, and not evicted again."""
    scene = Scene(W1).bare()
    (old,) = deployment(scene, "web", [W1])
    old["metadata"] |= {"deletionTimestamp": "2026-11-24T11:00:00Z", "deletionGracePeriodSeconds": 30}
    plan = scene.plan(skip_wait_for_delete=60)
    assert item(plan, "web").fate is Fate.STAYS
    assert finding(plan, "drain.skipped").sentence == "not waited for, being deleted for long: shop/web-5d-0"
    assert item(scene.plan(), "web").fate is Fate.GOES


# ------------------------------------------------------------ what cannot be read

ERRORS = [Forbidden("needs list on it"), Unreachable("no answer within 10 s")]


@pytest.mark.parametrize("error", ERRORS, ids=["forbidden", "timeout"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_each_premise_unreadable_is_not_evaluated(scene: Scene, question: str, error: ColdError) -> None:
    """Whatever cannot be read makes the plan "not evaluated", with the source and the reason among findings and premises; nothing is said to
    be well that rests on it. (The node itself is also in the list of all nodes.)"""
    scene.errors[question] = error
    plan = scene.plan(delete_emptydir=True)
    if question == "node":
        assert plan.outlook is Outlook.GO_AFTER
        return
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert any(error.title in f.sentence and f.outlook is Outlook.NOT_EVALUATED for f in plan.findings)
    (unread,) = [p for p in plan.premises if p.as_of is None]
    assert unread.reason == error.title


@pytest.mark.parametrize("component", ["longhorn.io", "postgresql.cnpg.io", "metallb.io"])
def test_a_component_that_is_not_installed_is_known_to_have_nothing(component: str) -> None:
    """It leaves no gap: the plan is as certain as before."""
    scene = Scene(W1).bare()
    deployment(scene, "web", [W1, W2])
    for kind in WORLD:
        if kind.group == component:
            scene.errors[kind.name] = NotInstalled("not installed")
    plan = scene.plan()
    assert plan.outlook is Outlook.GO
    assert all(p.as_of is not None for p in plan.premises)
    assert any(p.name.endswith("not installed") for p in plan.premises)


def test_without_the_pods_nothing_can_be_done(scene: Scene) -> None:
    """Not even with --anyway: there is nothing to evict that is known."""
    scene.errors["pods"] = Forbidden("needs list on pods")
    plan = scene.plan(anyway=True, delete_emptydir=True)
    assert (plan.outlook, plan.steps, plan.items) == (Outlook.NOT_EVALUATED, (), ())
    assert plan.blocked == f"the pods of {W1} could not be read: needs list on pods"


def test_without_the_node_nothing_can_be_done(scene: Scene) -> None:
    """When neither it nor the list of all nodes can be read."""
    scene.errors |= {"node": Forbidden("needs get on nodes"), "nodes": Forbidden("needs list on nodes")}
    plan = scene.plan()
    assert (plan.outlook, plan.blocked) == (Outlook.NOT_EVALUATED, f"node {W1} could not be read: needs get on nodes")


def test_nothing_but_the_node_and_its_pods_can_be_read(scene: Scene) -> None:
    """Every other source is gone: no pod is said to go, and each source is told."""
    for question in QUESTIONS:
        if question not in ("node", "pods"):
            scene.errors[question] = Unreachable("no answer within 10 s")
    plan = scene.plan(delete_emptydir=True)
    assert {i.fate for i in plan.items} == {Fate.NOT_EVALUATED}
    assert not [f for f in plan.findings if f.weight is Weight.GOOD]
    assert plan.blocked


# ------------------------------------------------------------ made again


def test_a_plan_goes_through_the_journal_unchanged(scene: Scene) -> None:
    """What the runner reads back is what was confirmed: same digest, same steps and arguments."""
    plan = scene.plan(delete_emptydir=True)
    again = plan_of_json(json.loads(json.dumps(plan_json(plan))))
    assert (again.digest, again.steps) == (plan.digest, plan.steps)


def test_the_same_site_gives_the_same_plan(scene: Scene) -> None:
    """Nothing in it depends on the order in which objects come."""
    before = scene.plan(delete_emptydir=True)
    scene.objects.reverse()
    after = scene.plan(delete_emptydir=True)
    assert after.digest == before.digest
    assert worse(before, after) == ()


def test_one_more_ordinary_pod_is_not_worse(scene: Scene) -> None:
    """The life of the cluster between confirmation and start stops no run; a pod that can never go does."""
    before = scene.plan(delete_emptydir=True)
    deployment(scene, "late", [W1, W2])
    assert worse(before, scene.plan(delete_emptydir=True)) == ()
    budget(scene, "late", "late", least=2, healthy=2, desired=2, expected=2)
    assert any("late-5d-0" in sentence for sentence in worse(before, scene.plan(delete_emptydir=True)))


# ------------------------------------------------------------ declared


def test_the_options_are_those_of_kubectl() -> None:
    """Their flags and defaults; the grave ones are set apart."""
    found = {p.flag: p for p in params_of(DrainNode)}
    assert list(found) == [
        "--node", "--grace", "--timeout", "--delete-emptydir", "--force", "--disable-eviction", "--anyway", "--pod-selector", "--skip-wait-for-delete",
    ]  # fmt: skip
    assert {flag for flag, p in found.items() if p.grave} == {"--force", "--disable-eviction", "--anyway"}
    assert make(DrainNode, {"node": W1}) == DrainNode(node=W1, grace=-1, timeout=600)
    with pytest.raises(ColdError, match="grace is at least -1"):
        make(DrainNode, {"node": W1, "grace": "-2"})


def test_it_is_declared_once() -> None:
    """Name, object, rung; every step that a plan names is among its steps."""
    assert (DRAIN.name, DRAIN.rung, DRAIN.object(DrainNode(node="x"))) == ("node.drain", Rung.DISRUPTIVE, "nodes/x")
    assert {s.name for s in Scene(W1).plan().steps} <= {s.name for s in DRAIN.steps}
