"""Evictions and disruption budgets."""

from __future__ import annotations

from typing import Any

import pytest

from coldtui.lab.apiserver.errors import ApiError
from coldtui.lab.apiserver.eviction import evict
from coldtui.lab.apiserver.objects import Objects, Write
from coldtui.lab.apiserver.resources import Resource
from tests.lab.apiserver.site import budget, pod, running

Json = dict[str, Any]


@pytest.fixture
def pods(objects: Objects) -> Resource:
    return objects.registry.by_path["", "v1", "pods"]


def _put(objects: Objects, body: Json) -> Json:
    resource = objects.registry.kind(body["apiVersion"], body["kind"])
    assert resource is not None
    meta = {"uid": body["metadata"]["name"], "generation": 1, **body["metadata"]}
    return objects.store.collection(resource).put({**body, "metadata": meta}).decoded()


def _evict(objects: Objects, pods: Resource, name: str, write: Write | None = None, **options: Any) -> Json:
    return evict(objects, pods, "default", name, {"deleteOptions": options}, write or Write())


def test_an_allowed_eviction_marks_the_pod_and_spends_the_budget(objects: Objects, pods: Resource) -> None:
    """The pod gets DisruptionTarget and a deletion time with its grace; the budget notes it and allows one less."""
    _put(objects, running(pod("a", on="w1")))
    _put(objects, budget("b", app="web", allowed=1))
    assert _evict(objects, pods, "a")["code"] == 201
    gone = objects.get(pods, "default", "a").decoded()
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 5
    assert gone["metadata"]["deletionTimestamp"]
    condition = next(c for c in gone["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (condition["status"], condition["reason"]) == ("True", "EvictionByEvictionAPI")
    item = objects.store.find("policy", "poddisruptionbudgets", "default", "b")
    assert item is not None
    status = item.decoded()["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["a"]


def test_a_spent_budget_refuses_with_429_and_no_retry_after(objects: Objects, pods: Resource) -> None:
    """Nothing allowed: TooManyRequests with cause DisruptionBudget in the real words, and the pod is untouched."""
    _put(objects, running(pod("a", on="w1")))
    _put(objects, budget("b", app="web", allowed=0, needs=2, has=2))
    with pytest.raises(ApiError) as refused:
        _evict(objects, pods, "a")
    assert (refused.value.code, refused.value.reason) == (429, "TooManyRequests")
    assert "Retry-After" not in refused.value.headers
    cause = refused.value.details["causes"][0]
    assert cause == {"reason": "DisruptionBudget", "message": "The disruption budget b needs 2 healthy pods and has 2 currently"}
    assert "deletionTimestamp" not in objects.get(pods, "default", "a").decoded()["metadata"]


def test_an_unobserved_budget_asks_to_retry(objects: Objects, pods: Resource) -> None:
    """A budget that its controller has not seen yet answers 429 with Retry-After 10."""
    _put(objects, running(pod("a", on="w1")))
    body = budget("b", app="web", allowed=5)
    body["status"]["observedGeneration"] = 0
    _put(objects, body)
    with pytest.raises(ApiError) as refused:
        _evict(objects, pods, "a")
    assert refused.value.code == 429
    assert refused.value.headers["Retry-After"] == "10"


def test_two_budgets_are_an_error_of_the_server(objects: Objects, pods: Resource) -> None:
    """More than one budget for a pod is 500 for ever."""
    _put(objects, running(pod("a", on="w1")))
    for name in ("b", "c"):
        _put(objects, budget(name, app="web", allowed=1))
    with pytest.raises(ApiError, match="more than one PodDisruptionBudget") as refused:
        _evict(objects, pods, "a")
    assert refused.value.code == 500


def test_negative_allowance_is_forbidden(objects: Objects, pods: Resource) -> None:
    """A negative disruptionsAllowed is 403 with cause DisruptionBudget."""
    _put(objects, running(pod("a", on="w1")))
    _put(objects, budget("b", app="web", allowed=-1))
    with pytest.raises(ApiError) as refused:
        _evict(objects, pods, "a")
    assert (refused.value.code, refused.value.details["causes"][0]["reason"]) == (403, "DisruptionBudget")


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_pods_that_do_not_run_ignore_budgets(objects: Objects, pods: Resource, phase: str) -> None:
    """Pending and finished pods are evicted whatever the budget says."""
    body = running(pod("a", on="w1"))
    body["status"]["phase"] = phase
    _put(objects, body)
    _put(objects, budget("b", app="web", allowed=0))
    assert _evict(objects, pods, "a")["status"] == "Success"


@pytest.mark.parametrize(
    ("spec", "needs", "has", "goes"),
    [
        ({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, 1, 0, True),
        ({}, 1, 1, True),
        ({}, 2, 1, False),
        ({}, 0, 0, False),
    ],
)
def test_a_pod_that_is_not_ready(objects: Objects, pods: Resource, spec: Json, needs: int, has: int, goes: bool) -> None:
    """An unhealthy pod goes under AlwaysAllow, or when the budget is met; and it does not spend the budget."""
    _put(objects, running(pod("a", on="w1"), ready=False))
    _put(objects, budget("b", app="web", allowed=0, needs=needs, has=has, **spec))
    if goes:
        _evict(objects, pods, "a")
        assert "deletionTimestamp" in objects.get(pods, "default", "a").decoded()["metadata"]
    else:
        with pytest.raises(ApiError):
            _evict(objects, pods, "a")


def test_a_dry_run_changes_nothing(objects: Objects, pods: Resource) -> None:
    """dryRun in the delete options answers as the real one would and leaves pod and budget alone, so two fit under one allowance."""
    for name in ("a", "b"):
        _put(objects, running(pod(name, on="w1")))
    _put(objects, budget("pdb", app="web", allowed=1))
    before = objects.store.version
    for name in ("a", "b"):
        assert _evict(objects, pods, name, dryRun=["All"])["status"] == "Success"
    assert objects.store.version == before


def test_grace_zero_removes_the_pod_at_once(objects: Objects, pods: Resource) -> None:
    """gracePeriodSeconds 0 in the delete options does not wait for a kubelet."""
    _put(objects, running(pod("a", on="w1")))
    _evict(objects, pods, "a", gracePeriodSeconds=0)
    with pytest.raises(ApiError) as gone:
        _evict(objects, pods, "a")
    assert gone.value.code == 404
