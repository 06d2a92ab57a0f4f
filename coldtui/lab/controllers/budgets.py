"""Disruption budgets: how many pods may be taken away now."""

from __future__ import annotations

from datetime import timedelta

from coldtui.lab.client import BUDGETS, DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, deleting, finished, is_true, matches, moment, owner, set_condition
from coldtui.lab.controllers.workloads import share

CONFIRM_S = 120.0
"""An eviction that was allowed but never became a deletion is forgotten after this."""


class Budgets(Controller):
    """Keeps the status that evictions are judged by."""

    name = "disruption-controller"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.budgets = self.follow(BUDGETS)
        self.pods = self.follow(PODS, self._of_pod)
        self.owners = {kind.kind: lab.informers.of(kind) for kind in (REPLICA_SETS, STATEFUL_SETS, DEPLOYMENTS)}
        for kind in (REPLICA_SETS, STATEFUL_SETS):
            self.follow(kind, self._of_owner)

    def _of_pod(self, pod: Json) -> list[Key]:
        labels, namespace = pod["metadata"].get("labels"), pod["metadata"]["namespace"]
        return [
            key for key, budget in self.budgets.items.items() if key[0] == namespace and matches(budget["spec"].get("selector"), labels)
        ]

    def _of_owner(self, obj: Json) -> list[Key]:
        return [key for key in self.budgets.items if key[0] == obj["metadata"]["namespace"]]

    async def reconcile(self, key: Key) -> None:
        budget = self.budgets.items.get(key)
        if budget is None or deleting(budget):
            return
        pods = [
            pod for k, pod in self.pods.items.items()
            if k[0] == key[0] and matches(budget["spec"].get("selector"), pod["metadata"].get("labels")) and not finished(pod)
        ]  # fmt: skip
        old = budget.get("status") or {}
        disrupted = self._unconfirmed(key, old.get("disruptedPods") or {})
        healthy = sum(is_true(p, "Ready") and not deleting(p) and p["metadata"]["name"] not in disrupted for p in pods)
        expected, desired = self._wanted(budget, pods)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        now = self.lab.stamp()
        said = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        new = {
            "type": "DisruptionAllowed",
            "status": said[0],
            "reason": said[1],
            "message": "",
            "observedGeneration": budget["metadata"].get("generation", 1),
        }
        status: Json = {
            "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed,
            "observedGeneration": budget["metadata"].get("generation", 1), "conditions": set_condition(old.get("conditions") or (), new, now),
            "disruptedPods": disrupted,
        }  # fmt: skip
        if any(old.get(k, {} if k == "disruptedPods" else None) != v for k, v in status.items()):
            # The version guards against an eviction that spends from the budget in this moment.
            body = {
                "metadata": {"name": key[1], "namespace": key[0], "resourceVersion": budget["metadata"]["resourceVersion"]},
                "status": status,
            }
            whole = {**budget, "metadata": {**budget["metadata"], **body["metadata"]}, "status": status}
            self.budgets.offer(await self.client.replace(BUDGETS, whole, "status"))
        if disrupted:
            self.enqueue(key, CONFIRM_S)

    def _unconfirmed(self, key: Key, disrupted: dict[str, str]) -> dict[str, str]:
        """Evictions whose pod is not being deleted yet, as far as the cache knows."""
        kept = {}
        for name, text in disrupted.items():
            pod, since = self.pods.items.get((key[0], name)), moment(text)
            if pod is not None and not deleting(pod) and since is not None and self.lab.now() < since + timedelta(seconds=CONFIRM_S):
                kept[name] = text
        return kept

    def _wanted(self, budget: Json, pods: list[Json]) -> tuple[int, int]:
        """Expected and desired number of pods."""
        spec = budget["spec"]
        if (least := spec.get("minAvailable")) is not None and not isinstance(least, str):
            return len(pods), int(least)
        expected = self._expected(pods)
        if least is not None:
            return expected, share(least, expected, up=True)
        return expected, max(0, expected - share(spec.get("maxUnavailable", 0), expected, up=True))

    def _expected(self, pods: list[Json]) -> int:
        """The sum of what the owners want, as percentages and maxUnavailable refer to it."""
        wanted: dict[str, int] = {}
        for pod in pods:
            found = owner(pod)
            if found is None or found["uid"] in wanted:
                continue
            informer = self.owners.get(found["kind"])
            obj = informer.get(found["name"], pod["metadata"]["namespace"]) if informer else None
            if obj is None:
                wanted[found["uid"]] = sum((o := owner(p)) is not None and o["uid"] == found["uid"] for p in pods)
            elif (above := owner(obj)) is not None and above["kind"] == "Deployment":
                deployment = self.owners["Deployment"].get(above["name"], pod["metadata"]["namespace"])
                wanted[above["uid"]] = int((deployment or obj)["spec"].get("replicas", 1))
                wanted[found["uid"]] = 0
            else:
                wanted[found["uid"]] = int(obj["spec"].get("replicas", 1))
        return sum(wanted.values())
