"""Values of a drain: taints, terms, affinity and budgets, as the scheduler and the eviction API judge them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from coldtui.domain.drains import DrainBudget, NodeTerm, PodTerm, Requirement, Toleration
from coldtui.domain.nodes import Taint
from coldtui.domain.selectors import Selector
from tests.adapters.kube.shapes import decode
from tests.adapters.kube.test_drains import detail

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "taint", "expected"),
    [
        (Toleration(operator="Exists"), CORDON, True),
        (Toleration("node.kubernetes.io/unschedulable", "Exists"), CORDON, True),
        (Toleration("node.kubernetes.io/unschedulable", "Exists", effect="NoExecute"), CORDON, False),
        (Toleration("other", "Exists"), CORDON, False),
        (Toleration("disk", value="ssd"), Taint("disk", "ssd", "NoSchedule"), True),
        (Toleration("disk", value="hdd"), Taint("disk", "ssd", "NoSchedule"), False),
        (Toleration(), CORDON, False),
    ],
)
def test_tolerations(toleration: Toleration, taint: Taint, expected: bool) -> None:
    """Key, value and effect must fit; an empty key needs Exists and then fits every taint."""
    assert toleration.tolerates(taint) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Requirement("zone", "In", ("a", "b")), True),
        (Requirement("zone", "In", ("b",)), False),
        (Requirement("zone", "NotIn", ("b",)), True),
        (Requirement("none", "NotIn", ("b",)), True),
        (Requirement("zone", "Exists"), True),
        (Requirement("none", "Exists"), False),
        (Requirement("none", "DoesNotExist"), True),
        (Requirement("cores", "Gt", ("7",)), True),
        (Requirement("cores", "Gt", ("8",)), False),
        (Requirement("cores", "Lt", ("9",)), True),
        (Requirement("zone", "Gt", ("7",)), False),
        (Requirement("none", "Lt", ("7",)), False),
        (Requirement("zone", "Like", ("a",)), False),
    ],
)
def test_requirements(rule: Requirement, expected: bool) -> None:
    """Every operator of a node affinity, with absent labels and labels that are no numbers."""
    assert rule.matches({"zone": "a", "cores": "8"}) is expected


def test_a_term_without_rules_matches_no_node() -> None:
    """As in Kubernetes, where an empty term is no wild card; rules on the name of the node count."""
    node = decode("nodes", {"metadata": {"name": "n1", "labels": {"zone": "a"}}})
    assert not NodeTerm().matches(node)
    assert NodeTerm(fields=(Requirement("metadata.name", "In", ("n1",)),)).matches(node)
    assert not NodeTerm((Requirement("zone", "In", ("a",)),), (Requirement("metadata.name", "In", ("n2",)),)).matches(node)


def test_pod_terms_know_their_namespaces() -> None:
    """A term selects pods of its namespaces only, unless it looks everywhere; without a selector it selects nobody."""
    pod = detail(metadata={"labels": {"app": "web"}, "namespace": "shop"}).pod
    term = PodTerm("zone", Selector({"app": "web"}), ("shop",))
    assert term.selects(pod)
    assert not replace(term, namespaces=("other",)).selects(pod)
    assert replace(term, namespaces=(), everywhere=True).selects(pod)
    assert not replace(term, selector=None).selects(pod)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"selector": None}, False),
        ({"selector": Selector()}, True),
        ({"selector": Selector({"app": "web"})}, True),
        ({"selector": Selector({"app": "db"})}, False),
        ({"selector": Selector(), "namespace": "other"}, False),
    ],
)
def test_whom_a_budget_selects(changes: dict[str, Any], expected: bool) -> None:
    """An empty selector covers its whole namespace, a missing one nobody."""
    pod = detail(metadata={"labels": {"app": "web"}, "namespace": "shop"}).pod
    budget = replace(DrainBudget("shop", "b", NOW), **changes)
    assert budget.selects(pod) is expected


@pytest.mark.parametrize(
    ("policy", "healthy", "desired", "expected"),
    [("", 2, 2, True), ("IfHealthyBudget", 1, 2, False), ("", 0, 0, False), ("AlwaysAllow", 0, 2, True)],
)
def test_unready_pods_under_a_budget(policy: str, healthy: int, desired: int, expected: bool) -> None:
    """They go without spending while the budget is met, and always where the policy says so; a budget that wants none is not met."""
    budget = DrainBudget("shop", "b", NOW, policy=policy, healthy=healthy, desired=desired)
    assert budget.lets_unready_go() is expected


@pytest.mark.parametrize(
    ("phase", "deleted", "expected"), [("Running", False, False), ("Running", True, True), ("Pending", False, True), ("Succeeded", False, True), ("Failed", False, True)]
)  # fmt: skip
def test_pods_that_ask_no_budget(phase: str, deleted: bool, expected: bool) -> None:
    """Finished, pending and terminating pods are deleted without asking."""
    found = detail(phase=phase, metadata={"deletionTimestamp": "2026-03-01T12:00:30Z"} if deleted else {})
    assert found.ignores_budgets is expected


def test_a_daemon_set_is_known_by_kind_and_api() -> None:
    """Somebody else's kind of that name is an ordinary controller, as for kubectl."""
    own = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": True}
    assert detail(metadata={"ownerReferences": [own]}).of_daemon_set
    assert not detail(metadata={"ownerReferences": [{**own, "apiVersion": "apps.kruise.io/v1"}]}).of_daemon_set
    assert not detail(metadata={"ownerReferences": [{**own, "controller": False}]}).of_daemon_set
