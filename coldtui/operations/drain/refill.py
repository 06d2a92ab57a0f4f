"""One budget while its pods leave a node one after another: who goes at once, who waits for what, who never can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ...domain import values
from ...domain.drains import DrainBudget, DrainPod
from ...domain.plans import Fate
from ...domain.pods import FINISHED, Pod
from ...domain.readings import Known, Reading, Unknown
from ...domain.text import counted
from ...domain.world import World
from .places import Place
from .workloads import SAME_NAME, Workload, not_coming, scale_of, workload_of


@values.dataclass(frozen=True, slots=True)
class Ruling:
    """What will become of one pod's eviction."""

    fate: Fate
    why: str = ""
    remedy: str = ""
    code: str = ""
    """Of the finding, where it deserves one."""
    budgets: tuple[DrainBudget, ...] = ()


@values.dataclass(frozen=True, slots=True)
class Scene:
    """What the refilling of budgets rests on."""

    every: Reading[tuple[DrainPod, ...]]
    """All pods of the cluster."""
    world: World
    places: Reading[Mapping[str, Place]]
    """Of the moving pods, by key."""
    now: datetime

    def under(self, budget: DrainBudget) -> tuple[Pod, ...]:
        """All pods that the budget selects and that have not ended."""
        if isinstance(self.every, Unknown):
            return ()
        return tuple(p.pod for p in self.every.value if budget.selects(p.pod) and p.pod.phase not in FINISHED)


class Refill:
    """Takes the pods of the node in turn. Healthy pods leave; what is starting elsewhere, and what is made anew there, comes back."""

    def __init__(self, scene: Scene, budget: DrainBudget) -> None:
        self.scene, self.budget = scene, budget
        self.desired = budget.desired
        self.healthy = min(budget.healthy, budget.desired + budget.allowed)
        self.pods = scene.under(budget)
        self.broken = self._broken()
        self.total = self._total()
        self.coming = self._coming()
        """Healthy pods that will still come by themselves; None: not known."""
        self.moved: list[tuple[str, Place | None]] = []
        """Pods that went before, and where their replacements go."""

    def _broken(self) -> dict[str, str]:
        """Pods under the budget that will not become Ready by themselves, and why. One that is being deleted counts where its successor
        bears the same name and so must wait for its end."""
        nodes = self.scene.world.nodes.items
        waiting = [p for p in self.pods if not p.is_ready and (p.deleted is None or (p.owner is not None and p.owner.kind in SAME_NAME))]
        return {p.name: why for p in waiting if (why := not_coming(p, nodes, self.scene.now))}

    def _total(self) -> Reading[int]:
        """How many pods there shall be under this budget. Of owners whose scale nobody here knows, just the pods that there are."""
        if isinstance(self.scene.every, Unknown):
            return self.scene.every
        owners: dict[str, tuple[Workload, str]] = {}
        total = 0
        for pod in self.pods:
            owner = workload_of(self.scene.world, pod)
            if owner is None or not owner.scaled:
                total += pod.deleted is None
            else:
                owners.setdefault(owner.uid or owner.key, (owner, pod.labels.get("cnpg.io/instanceRole", "")))
        for owner, role in owners.values():
            scale = scale_of(self.scene.world, owner, role)
            if isinstance(scale, Unknown):
                return scale
            total += scale.value
        return Known(total, "scales", self.scene.now)

    def _coming(self) -> int | None:
        if isinstance(self.total, Unknown):
            return sum(1 for p in self.pods if not p.is_ready and p.deleted is None and p.name not in self.broken) or None
        return max(0, self.total.value - self.healthy - len(self.broken))

    def run(self, queue: Sequence[DrainPod]) -> dict[str, Ruling]:
        """A ruling for each, by key."""
        found: dict[str, Ruling] = {}
        back = 0
        for pod in queue:
            waits, lacks = "", self.desired + 1 - self.healthy
            if lacks > 0:
                ruling = self._short(pod, lacks, back)
                if ruling.fate is not Fate.WAITS:
                    found[pod.key] = ruling
                    continue
                waits, self.healthy, back = ruling.why, self.healthy + lacks, back - lacks
            place = self.scene.places.value.get(pod.key) if isinstance(self.scene.places, Known) else None
            self.moved.append((pod.pod.name, place))
            self.healthy -= pod.pod.is_ready
            back += place is not None and bool(place.chosen)
            found[pod.key] = Ruling(Fate.WAITS if waits else Fate.GOES, waits, budgets=(self.budget,))
        return found

    def _short(self, pod: DrainPod, lacks: int, back: int) -> Ruling:
        """Nothing to spare for this pod now: what will fill the budget again, if anything."""
        if self.coming is not None and self.coming + back >= lacks:
            return Ruling(Fate.WAITS, self._waits_for(), budgets=(self.budget,))
        doubts = [r.reason for r in (self.total, self.scene.places if self.moved else None) if isinstance(r, Unknown)]
        if doubts:
            why = f"budget {self.budget.name} has nothing to spare now, and whether it fills again could not be read: {doubts[0]}"
            return Ruling(Fate.NOT_EVALUATED, why, budgets=(self.budget,))
        return self._never(pod)

    def _waits_for(self) -> str:
        name = self.budget.name
        if self.moved:
            return f"budget {name} spares {max(1, self.budget.allowed)} at a time: after the replacement of {self.moved[-1][0]} is Ready"
        late = [p.name for p in self.pods if not p.is_ready and p.name not in self.broken]
        if late:
            return f"budget {name} has nothing to spare until {named(late, 3)} {'is' if len(late) == 1 else 'are'} Ready"
        return f"budget {name} has nothing to spare until its missing pods are Ready"

    def _never(self, pod: DrainPod) -> Ruling:
        budget, mine = self.budget, (self.budget,)
        total = self.total.value if isinstance(self.total, Known) else len(self.pods)
        needs = f"budget {budget.name} needs {self.desired} healthy and has {budget.healthy}"
        if self.desired >= total:
            why = f"budget {budget.name} needs {self.desired} of {counted(total, 'pod')} healthy: it can never spare one"
            return Ruling(Fate.NEVER, why, self._more(pod), "drain.budget-never", mine)
        if self.broken:
            first, reason = next(iter(self.broken.items()))
            return Ruling(Fate.NEVER, f"{needs}: {first} {reason}", f"mend {first} first", "drain.budget-broken", mine)
        stuck = next(((name, place) for name, place in self.moved if place is not None and not place.chosen), None)
        if stuck is not None:
            name, place = stuck
            why = f"budget {budget.name} spares {budget.allowed} at a time, and the replacement of {name} fits nowhere ({place.why_not})"
            return Ruling(Fate.NEVER, why, "make room on another node first", "drain.budget-no-room", mine)
        return Ruling(Fate.NEVER, f"{needs}, and nothing is under way that adds one", self._more(pod), "drain.budget-never", mine)

    def _more(self, pod: DrainPod) -> str:
        """How the budget could spare one."""
        where = f"-n {self.budget.namespace}"
        change = f"let budget {self.budget.name} spare one (maxUnavailable: 1) {where}"
        if not pod.pod.is_ready:
            return f"let budget {self.budget.name} spare what is not Ready (unhealthyPodEvictionPolicy: AlwaysAllow) {where}"
        owner = next((o for p in self.pods if (o := workload_of(self.scene.world, p)) is not None), None)
        if owner is not None and owner.scaled and owner.kind != "Cluster":
            return f"scale {owner} to {self.desired + 1} or more {where}, or {change}"
        return change


def named(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c and 5 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
