"""One pod of the plan as it is shown: its fate, why, and what an operator asks next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...domain.drains import DrainPod, EmptyDir
from ...domain.plans import Fate, PlanItem
from ...domain.readings import Unknown
from ...present.words import size
from .pods import Filtered
from .refill import named
from .workloads import makes_anew, workload_of

if TYPE_CHECKING:
    from .plan import Judged


def item_of(verdict: Filtered, judged: Judged) -> PlanItem:
    pod = verdict.pod
    if verdict.unknown:
        return PlanItem(pod.address, Fate.NOT_EVALUATED, verdict.unknown, facts=_facts(pod, judged))
    ruling = judged.fates.get(verdict.key)
    if ruling is None:
        return PlanItem(pod.address, Fate.STAYS, verdict.stays)
    why = "; ".join(part for part in (ruling.why, *(verdict.warnings if verdict.delete else ())) if part)
    return PlanItem(pod.address, ruling.fate, why, ruling.remedy, _facts(pod, judged))


def _facts(pod: DrainPod, judged: Judged) -> tuple[tuple[str, str], ...]:
    ruling = judged.rulings.get(pod.key)
    owner = workload_of(judged.facts.world, pod.pod)
    rows = [
        ("owner", str(owner) if owner is not None else "none"),
        ("budget", "; ".join(f"{b.name}: {b.numbers}" for b in (ruling.budgets if ruling is not None else ()))),
        ("emptyDir", ", ".join(_empty_dir(e) for e in pod.empty_dirs)),
        ("claims", ", ".join(_claim(pod, claim, judged) for claim in pod.pod.claims)),
        ("grace", _grace(pod, judged.params.grace)),
        ("can go to", _can_go(pod, judged)),
    ]
    return tuple((name, text) for name, text in rows if text)


def _empty_dir(empty: EmptyDir) -> str:
    return f"{empty}, at most {size(empty.limit_b)}" if empty.limit_b is not None else str(empty)


def _claim(pod: DrainPod, claim: str, judged: Judged) -> str:
    volumes = judged.facts.volumes
    found = None if isinstance(volumes, Unknown) else next((v for v in volumes.value if v.claim == f"{pod.pod.namespace}/{claim}"), None)
    if found is None:
        return claim
    sizes = [size(found.capacity_b)] if found.capacity_b is not None else []
    return f"{claim} ({', '.join([*sizes, *(['local disk'] if found.local else [])])})" if sizes or found.local else claim


def _grace(pod: DrainPod, asked: int) -> str:
    if asked < 0 or asked == pod.grace_s:
        return f"{pod.grace_s} s"
    return f"{asked} s instead of its {pod.grace_s} s"


def _can_go(pod: DrainPod, judged: Judged) -> str:
    if not makes_anew(pod):
        return ""
    if isinstance(judged.places, Unknown):
        return f"not evaluated: {judged.places.reason}"
    place = judged.places.value.get(pod.key)
    if place is None:
        return ""
    return named(place.nodes) if place.nodes else f"nowhere ({place.why_not})"
