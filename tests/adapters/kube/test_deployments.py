from __future__ import annotations

from coldtui.domain.objects import Owner
from tests.adapters.kube.shapes import Json, decode, meta, true

TEMPLATE: Json = {"spec": {"containers": [{"name": "app", "image": "r/app:1.2", "env": [{"name": "x"}]}]}}
NOTES: Json = {"deployment.kubernetes.io/revision": "7", "kubernetes.io/change-cause": "release\t1.2", "x": "y"}


def test_a_deployment() -> None:
    """Numbers, strategy, revision, cause and images arrive; the rollout is judged from them."""
    item = {
        "metadata": meta("web", generation=3, annotations=NOTES, labels={"app": "web"}),
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": TEMPLATE,
        },
        "status": {
            "observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [true("Available")],
        },
    }  # fmt: skip
    found = decode("deployments", item)
    assert (found.revision, found.change_cause, found.max_surge, found.max_unavailable) == (7, "release 1.2", "25%", "0")
    assert (found.images, found.version, found.selector, found.rollout) == ((("app", "r/app:1.2"),), "1.2", {"app": "web"}, "complete")


def test_defaults_of_the_api() -> None:
    """One replica where none is named; a scaled-down workload has no counters at all."""
    item = {"metadata": meta("web", annotations={"deployment.kubernetes.io/revision": "x"}), "spec": {"template": TEMPLATE}, "status": {}}
    found = decode("deployments", item)
    assert (found.desired, found.ready, found.revision, found.selector) == (1, 0, 0, {})


def test_a_replicaset() -> None:
    """It has its owner and its revision."""
    owned = meta("web-5d", annotations=NOTES, ownerReferences=[{"kind": "Deployment", "name": "web", "uid": "u", "controller": True}])
    found = decode("replicasets", {"metadata": owned, "spec": {"replicas": 0, "template": TEMPLATE}, "status": {"replicas": 0}})
    assert (found.owner, found.revision, found.desired) == (Owner("Deployment", "web", "u"), 7, 0)


def test_stateful_and_daemon_sets() -> None:
    """Their differently named counters land in the same places."""
    stateful = decode(
        "statefulsets", {"metadata": meta("pg"), "spec": {"replicas": 3}, "status": {"readyReplicas": 2, "updatedReplicas": 1}}
    )
    assert (stateful.desired, stateful.ready, stateful.updated) == (3, 2, 1)
    status = {"desiredNumberScheduled": 5, "currentNumberScheduled": 5, "numberReady": 4, "updatedNumberScheduled": 3, "numberAvailable": 2}
    daemon = decode("daemonsets", {"metadata": meta("ds"), "spec": {"template": TEMPLATE}, "status": status})
    assert (daemon.desired, daemon.current, daemon.ready, daemon.updated, daemon.available) == (5, 5, 4, 3, 2)


def test_disruption_budgets() -> None:
    """A selector that is absent selects nothing; expressions are noted."""
    status = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}
    spec = {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}}
    found = decode("budgets", {"metadata": meta("b"), "spec": spec, "status": status})
    assert (found.min_available, found.max_unavailable, found.selector, found.has_expressions) == ("50%", "", {"a": "b"}, True)
    assert (found.allowed, found.healthy, found.desired_healthy, found.expected) == (1, 3, 2, 3)
    assert decode("budgets", {"metadata": meta("b"), "spec": {"maxUnavailable": 1}}).selector is None
