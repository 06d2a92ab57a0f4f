"""``pods/eviction``: deletion that asks the disruption budgets first, with the answers of the real server."""

from __future__ import annotations

from typing import Any

from coldtui.lab.apiserver.errors import ApiError, Cause, bad_request
from coldtui.lab.apiserver.objects import Objects, Write
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.selectors import match_labels
from coldtui.lab.apiserver.store import Collection, Item

Json = dict[str, Any]
MAX_DISRUPTED = 2000
RETRY_S = 10
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


def evict(objects: Objects, pods: Resource, namespace: str, name: str, body: Json, write: Write) -> Json:
    """Evict a pod; returns the Status of success. 429 when a budget refuses, 500 when two budgets select it, 403 in a namespace that ends."""
    objects.check_namespace(pods, namespace, name)  # an eviction is something new, too
    item = objects.get(pods, namespace, name)
    if (body.get("metadata") or {}).get("name", name) != name:
        raise bad_request("name in URL does not match name in Eviction object")
    options: Json = body.get("deleteOptions") or {}
    if "All" in (options.get("dryRun") or ()):
        write.dry_run = True
    pod = item.decoded()
    if not _ignores_budgets(pod):
        budgets = budgets_of(objects, item)
        if len(budgets) > 1:
            raise ApiError(500, "", _TWO)
        if budgets and not _unhealthy_may_go(pod, budgets[0][1].decoded()):
            _spend(objects, *budgets[0], pod_name=name, write=write)
        if not write.dry_run:
            _mark_disrupted(objects, pods, pod)
    objects.delete(pods, namespace, name, options, write)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def budgets_of(objects: Objects, pod: Item) -> list[tuple[Collection, Item]]:
    """The budgets whose selector matches a pod."""
    collection = objects.store.collections.get(("policy", "poddisruptionbudgets"))
    if collection is None:
        return []
    found: list[tuple[Collection, Item]] = []
    for item in collection.select(pod.key[0]):
        test = match_labels((item.decoded().get("spec") or {}).get("selector"))
        if test is not None and test(pod.labels or {}):
            found.append((collection, item))
    return found


def _ignores_budgets(pod: Json) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _unhealthy_may_go(pod: Json, budget: Json) -> bool:
    """A pod that is not ready may go without spending the budget: always, or while the budget is met, as its policy says."""
    if _is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return int(status.get("currentHealthy") or 0) >= int(status.get("desiredHealthy") or 0) > 0


def _refused(message: str, retry_s: int) -> ApiError:
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    headers = {}
    if retry_s:
        details["retryAfterSeconds"] = retry_s
        headers = {"Retry-After": str(retry_s)}
    return ApiError(429, "TooManyRequests", _VIOLATES, details=details, headers=headers)


def _forbidden(name: str, message: str) -> ApiError:
    cause = Cause("DisruptionBudget", "", message)
    details = {"name": name, "group": "policy", "kind": "poddisruptionbudgets", "causes": [{"reason": cause.reason, "message": message}]}
    return ApiError(403, "Forbidden", f'poddisruptionbudgets.policy "{name}" is forbidden: {message}', details=details)


def _spend(objects: Objects, collection: Collection, item: Item, pod_name: str, write: Write) -> None:
    budget = item.decoded()
    status: Json = budget.setdefault("status", {})
    name = budget["metadata"]["name"]
    if int(status.get("observedGeneration") or 0) < int(budget["metadata"].get("generation") or 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", RETRY_S)
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > MAX_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _refused(f"The disruption budget {name} needs {needs} healthy pods and has {has} currently", 0)
    if write.dry_run:
        return
    status["disruptionsAllowed"] = allowed - 1
    status.setdefault("disruptedPods", {})[pod_name] = objects.clock.stamp()
    collection.put(budget)


def _mark_disrupted(objects: Objects, pods: Resource, pod: Json) -> None:
    """Say on the pod why it goes."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastProbeTime": None,
        "lastTransitionTime": objects.clock.stamp(),
    }
    status: Json = pod.setdefault("status", {})
    kept = [c for c in status.get("conditions") or () if c.get("type") != "DisruptionTarget"]
    status["conditions"] = [*kept, condition]
    objects.store.collection(pods).put(pod)
