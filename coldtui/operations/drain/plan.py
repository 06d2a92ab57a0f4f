"""The plan of a drain: what becomes of each pod, what was found, and the steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...domain.drains import DrainPod
from ...domain.nodes import Node
from ...domain.plans import Fate, Finding, Outlook, Plan, PlannedStep, Rung, Weight, outlook_of
from ...domain.pods import FINISHED
from ...domain.readings import Known, Reading, Unknown
from ...domain.verdicts import unsure
from ..nodes import address
from . import findings as found
from . import longhorn, postgres
from .budgets import Court
from .facts import DrainFacts
from .items import item_of
from .params import DrainNode
from .places import Place, Places
from .pods import Filtered, Flag, Permits, filtered
from .refill import Ruling, Scene, named
from .workloads import makes_anew

NAME = "node.drain"
JOB_FINALIZER = "batch.kubernetes.io/job-tracking"
"""Taken off by the Job controller as soon as it has counted the pod."""


@dataclass(frozen=True)
class Judged:
    """Everything worked out, before it is put into words."""

    facts: DrainFacts
    node: Node
    params: DrainNode
    filtered: tuple[Filtered, ...]
    moving: tuple[DrainPod, ...]
    """Pods that leave, or would if their flags were given."""
    places: Reading[Mapping[str, Place]]
    rulings: Mapping[str, Ruling]
    """By budgets, neighbours and the node, as if every flag were given."""
    fates: Mapping[str, Ruling]
    """What becomes of each moving pod under the flags that were given."""

    def with_fate(self, *fates: Fate) -> list[DrainPod]:
        return [pod for pod in self.moving if self.fates[pod.key].fate in fates]

    @property
    def leaving(self) -> list[DrainPod]:
        """Those that are expected to go in the end."""
        return self.with_fate(Fate.GOES, Fate.WAITS, Fate.NOT_EVALUATED)

    def needing(self, flag: Flag) -> list[DrainPod]:
        return [f.pod for f in self.filtered if flag in f.needs]


def plan_drain(facts: DrainFacts, params: DrainNode, now: datetime) -> Plan:
    if isinstance(facts.node, Unknown):
        return _blind(facts, f"node {facts.name}", facts.node.reason)
    if isinstance(facts.pods, Unknown):
        return _blind(facts, f"the pods of {facts.name}", facts.pods.reason)
    judged = judge(facts, facts.node.value, facts.pods.value, params, now)
    findings = found.all_of(judged)
    items = tuple(item_of(f, judged) for f in judged.filtered)
    outlook = outlook_of(findings, items)
    # Going on over what nobody could look at may lose what it would have shown.
    unseen = params.anyway and any(i.fate is Fate.NOT_EVALUATED for i in items)
    grave = params.disable_eviction or unseen or any(f.outlook is Outlook.WOULD_LOSE for f in findings)
    nothing = not judged.moving and judged.node.unschedulable and not any(f.unknown for f in judged.filtered)
    done = f"{facts.name} is cordoned and has nothing to evict" if nothing else ""
    return Plan(
        operation=NAME,
        title=f"Drain {facts.name}",
        object=address(facts.name),
        findings=findings,
        steps=() if done else steps_of(judged),
        locks=("site",),
        rung=Rung.DESTRUCTIVE if grave else Rung.DISRUPTIVE,
        verb="drain",
        confirm=facts.name,
        items=items,
        premises=facts.premises,
        outlook=outlook,
        blocked="" if done else blocked(judged),
        done=done,
    )


def _blind(facts: DrainFacts, what: str, reason: str) -> Plan:
    """Nothing can be said, so nothing may be done."""
    sentence = f"{what} could not be read: {reason}"
    finding = Finding("drain.unread", Weight.STOP, sentence, address(facts.name), outlook=Outlook.NOT_EVALUATED)
    return Plan(
        operation=NAME, title=f"Drain {facts.name}", object=address(facts.name), findings=(finding,), steps=(), locks=("site",),
        rung=Rung.DISRUPTIVE, verb="drain", confirm=facts.name, premises=facts.premises, outlook=Outlook.NOT_EVALUATED, blocked=sentence,
    )  # fmt: skip


def judge(facts: DrainFacts, node: Node, pods: Sequence[DrainPod], params: DrainNode, now: datetime) -> Judged:
    permits = Permits(params.delete_emptydir, params.force, params.skip_wait_for_delete)
    verdicts = filtered(pods, permits, daemon_sets(facts), now)
    moving = tuple(f.pod for f in verdicts if f.delete or f.needs)
    places = places_of(facts, node, moving)
    needs = {f.key: f for f in verdicts if f.needs}
    scene = Scene(facts.every, facts.world, places, now)
    court = Court(facts.budgets, scene, (postgres.special(facts, places, now),), params.disable_eviction)
    others = [p for p in moving if not longhorn.is_manager(p)]
    rulings = {key: _by_node(pod_, ruling, node, params) for pod_, key, ruling in _with_pods(others, court.rule(others))}
    managers = [p for p in moving if longhorn.is_manager(p)]
    court = Court(facts.budgets, scene, (longhorn.special(facts, dict(rulings)),), params.disable_eviction)
    rulings |= {key: _by_node(pod_, ruling, node, params) for pod_, key, ruling in _with_pods(managers, court.rule(managers))}
    fates = {key: _by_flags(ruling, needs.get(key)) for key, ruling in rulings.items()}
    return Judged(facts, node, params, verdicts, moving, places, rulings, fates)


def _with_pods(pods: Sequence[DrainPod], rulings: Mapping[str, Ruling]) -> list[tuple[DrainPod, str, Ruling]]:
    return [(pod, pod.key, rulings[pod.key]) for pod in pods]


def daemon_sets(facts: DrainFacts) -> Reading[frozenset[str]]:
    if doubt := unsure(facts.world, "daemonsets"):
        return Unknown("daemonsets", doubt)
    return Known(frozenset(facts.world.daemonsets.items), "daemonsets", facts.at)


def places_of(facts: DrainFacts, node: Node, moving: Sequence[DrainPod]) -> Reading[Mapping[str, Place]]:
    """Where each pod can go that somebody will make anew, the important ones first as the scheduler does."""
    if isinstance(facts.every, Unknown):
        return facts.every
    if isinstance(facts.volumes, Unknown):
        return facts.volumes
    if doubt := unsure(facts.world, "nodes"):
        return Unknown("nodes", doubt)
    others = [n for n in facts.world.nodes.items.values() if n.name != node.name]
    room = Places(node, others, facts.every.value, facts.volumes.value, (p.key for p in moving))
    ordered = sorted((p for p in moving if makes_anew(p)), key=lambda p: (-p.pod.priority, p.key))
    return Known({pod.key: room.place(pod) for pod in ordered}, "places", facts.at)


def _by_node(pod: DrainPod, ruling: Ruling, node: Node, params: DrainNode) -> Ruling:
    """What the node and the pod itself add to the word of the budgets: a dead kubelet confirms no end, a finalizer holds a pod."""
    if ruling.fate not in (Fate.GOES, Fate.WAITS) or pod.pod.phase in FINISHED:
        return ruling
    if node.ready != "True":
        state = node.status.partition(",")[0]
        if params.skip_wait_for_delete:
            why = f"{node.name} is {state}: its end cannot be confirmed, and is waited for {params.skip_wait_for_delete} s only"
            return Ruling(Fate.WAITS, why, budgets=ruling.budgets)
        why = f"{node.name} is {state}: its kubelet cannot confirm that the pod has ended"
        remedy = "bring the node back, or --skip-wait-for-delete 60"
        return Ruling(Fate.NEVER, why, remedy, "drain.no-kubelet", ruling.budgets)
    finalizers = [f for f in pod.finalizers if f != JOB_FINALIZER]
    if finalizers and ruling.fate is Fate.GOES:
        return Ruling(Fate.WAITS, f"finalizer {named(finalizers, 2)} must be taken off by its controller", budgets=ruling.budgets)
    return ruling


def _by_flags(ruling: Ruling, verdict: Filtered | None) -> Ruling:
    """A pod that may not be deleted without a flag never goes, whatever else would let it."""
    if verdict is None:
        return ruling
    reasons, flags = [], " ".join(flag.value for flag in verdict.needs)
    if Flag.EMPTY_DIR in verdict.needs:
        reasons.append(f"its emptyDir data would be deleted ({', '.join(str(e) for e in verdict.pod.empty_dirs)})")
    if Flag.FORCE in verdict.needs:
        reasons.append(verdict.warnings[0] if verdict.warnings else "no controller would make it again")
    return Ruling(Fate.NEVER, " and ".join(reasons), f"{flags} allows it", "drain.flag", ruling.budgets)


# ------------------------------------------------------------ what is done


def steps_of(judged: Judged) -> tuple[PlannedStep, ...]:
    name, params = judged.facts.name, judged.params
    options = {
        "node": name,
        "grace": params.grace,
        "delete_emptydir": params.delete_emptydir,
        "force": params.force,
        "disable_eviction": params.disable_eviction,
        "pod_selector": params.pod_selector,
        "skip_wait_for_delete": params.skip_wait_for_delete,
        "never": [pod.key for pod in judged.with_fate(Fate.NEVER)],
    }
    seen = {key: options[key] for key in ("node", "pod_selector", "skip_wait_for_delete")}
    verb, note = ("Delete", "deletions") if params.disable_eviction else ("Evict", "evictions")
    return (
        *postgres.primary_first(judged.facts),
        PlannedStep("node.cordon", f"Cordon {name}", {"node": name}, f"undone by coldtui node uncordon {name}"),
        PlannedStep("drain.evict", f"{verb} the pods of {name}", options, f"accepted {note} cannot be recalled"),
        PlannedStep("drain.gone", f"See that the pods of {name} are gone", seen),
    )


def blocked(judged: Judged) -> str:
    """Why it cannot be confirmed, with the flag that changes that; empty: it can."""
    reasons = []
    for flag, what in ((Flag.EMPTY_DIR, "emptyDir data would be deleted with"), (Flag.FORCE, "nothing would make again")):
        if pods := judged.needing(flag):
            reasons.append(f"{what} {_names(pods)}: {flag.value} allows it")
    if not judged.params.anyway:
        never = [p for p in judged.with_fate(Fate.NEVER) if judged.fates[p.key].code != "drain.flag"]
        if never:
            reasons.append(f"{_names(never)} can never go: --anyway evicts the others all the same")
        unclear = [*(p.key for p in judged.with_fate(Fate.NOT_EVALUATED)), *(f.key for f in judged.filtered if f.unknown)]
        if unclear:
            reasons.append(f"{named(unclear)} could not be evaluated: --anyway tries all the same")
    return "; ".join(reasons)


def _names(pods: Sequence[DrainPod]) -> str:
    return named([pod.key for pod in pods])
