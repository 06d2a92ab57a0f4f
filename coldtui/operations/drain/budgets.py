"""What disruption budgets will say to each pod of a node: goes, waits (and for what), never (and why), or not evaluated.

The server asks the budgets in this order (pkg/registry/core/pod/storage/eviction.go): finished, pending and terminating pods ask nobody;
two budgets are an error for ever; a pod that is not Ready may go without spending; else the budget must have one to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...domain.drains import DrainBudget, DrainPod
from ...domain.plans import Fate
from ...domain.readings import Reading, Unknown
from ...domain.values import dataclass
from .refill import Refill, Ruling, Scene

Special = Callable[[DrainPod, DrainBudget], "Ruling | None"]
"""A neighbour that knows better what frees a pod; None: the budget alone decides."""


@dataclass(frozen=True, slots=True)
class Court:
    """What rulings rest on."""

    budgets: Reading[tuple[DrainBudget, ...]]
    scene: Scene
    specials: tuple[Special, ...] = ()
    bypassed: bool = False
    """Deletes without asking."""

    def rule(self, pods: Sequence[DrainPod]) -> dict[str, Ruling]:
        """For the pods of the node that shall go, by key."""
        found: dict[str, Ruling] = {}
        queues: dict[str, tuple[DrainBudget, list[DrainPod]]] = {}
        for pod in sorted(pods, key=lambda p: p.key):
            ruling = self._alone(pod)
            if isinstance(ruling, Ruling):
                found[pod.key] = ruling
            else:
                queues.setdefault(ruling.key, (ruling, []))[1].append(pod)
        for budget, queue in queues.values():
            found |= self._queue(budget, queue)
        return found

    def of(self, pod: DrainPod) -> tuple[DrainBudget, ...]:
        """The budgets that select a pod, as far as they are known."""
        return () if isinstance(self.budgets, Unknown) else tuple(b for b in self.budgets.value if b.selects(pod.pod))

    def _alone(self, pod: DrainPod) -> Ruling | DrainBudget:
        """The ruling that needs no look at others under the same budget, or else the budget that they share."""
        mine = self.of(pod)
        if pod.ignores_budgets:
            state = "is being deleted already" if pod.pod.deleted is not None else f"is {pod.pod.phase}"
            return Ruling(Fate.GOES, f"{state}: budgets are not asked", budgets=mine)
        if self.bypassed:
            names = f"budget {mine[0].name}" if len(mine) == 1 else "budgets"
            return Ruling(Fate.GOES, f"deleted without asking {names}" if mine or isinstance(self.budgets, Unknown) else "", budgets=mine)
        if isinstance(self.budgets, Unknown):
            return Ruling(Fate.NOT_EVALUATED, f"disruption budgets: {self.budgets.reason}")
        if not mine:
            return Ruling(Fate.GOES)
        if len(mine) > 1:
            return _two(mine)
        for special in self.specials:
            if (ruling := special(pod, mine[0])) is not None:
                return ruling
        if not pod.pod.is_ready and mine[0].lets_unready_go():
            return Ruling(Fate.GOES, f"is not Ready: budget {mine[0].name} lets it go", budgets=mine)
        return mine[0]

    def _queue(self, budget: DrainBudget, queue: list[DrainPod]) -> dict[str, Ruling]:
        """Pods of this node under one budget, evicted at once."""
        mine = (budget,)
        if budget.sync_error or budget.allowed < 0:
            why = f"budget {budget.name} lets nobody go: {budget.sync_error or 'its count is negative'}"
            remedy = "mend its selector, or use a whole number in minAvailable"
            return {p.key: Ruling(Fate.NEVER, why, remedy, "drain.budget-never", mine) for p in queue}
        if budget.counted and budget.counts_nobody and all(p.pod.owner is None for p in queue):
            why = f"budget {budget.name} counts only pods that a controller made, and so lets nobody go"
            remedy = f"use a whole number as minAvailable, or delete budget {budget.name} -n {budget.namespace}"
            return {p.key: Ruling(Fate.NEVER, why, remedy, "drain.budget-never", mine) for p in queue}
        if not budget.counted:
            why = f"budget {budget.name} was just changed and is being counted anew"
            return {p.key: Ruling(Fate.WAITS, why, budgets=mine) for p in queue}
        return Refill(self.scene, budget).run(queue)


def _two(mine: tuple[DrainBudget, ...]) -> Ruling:
    names = f"{', '.join(b.name for b in mine[:-1])} and {mine[-1].name}"
    why = f"budgets {names} select it: with more than one the server refuses its eviction for ever"
    remedy = f"let only one select it: narrow or delete {mine[-1].name} -n {mine[-1].namespace}"
    return Ruling(Fate.NEVER, why, remedy, "drain.two-budgets", mine)
