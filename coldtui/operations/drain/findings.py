"""Everything that was found, in the order in which it matters to who decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...domain.drains import DrainPod
from ...domain.plans import Fate, Finding, Outlook, Weight
from ...domain.readings import Unknown
from ...domain.text import counted
from . import longhorn, neighbours, postgres, rights
from .pods import Flag
from .refill import named

if TYPE_CHECKING:
    from .plan import Judged

TOLD_ELSEWHERE = frozenset({"drain.pg-primary", "drain.lh-last-copy"})
"""Rulings whose neighbour has a finding of its own, with more in it."""


def all_of(judged: Judged) -> tuple[Finding, ...]:
    facts, leaving = judged.facts, judged.leaving
    found = [
        *rights.findings(facts.rights, facts.name, judged.node.unschedulable, judged.params, judged.moving),
        *_never(judged),
        *_flags(judged),
        *_choices(judged),
        *postgres.findings(facts, judged.moving, judged.rulings),
        *longhorn.findings(facts),
        *neighbours.of_backups(facts, leaving),
        *neighbours.of_node(judged.node),
        *neighbours.of_nodes(facts, judged.node),
        *neighbours.of_places(leaving, judged.places, facts.name),
        *neighbours.of_workloads(facts, leaving, judged.fates),
        *neighbours.of_vips(facts, leaving),
        *_staying(judged),
    ]
    return (*found, *_unread(judged, found))


def _never(judged: Judged) -> Iterator[Finding]:
    """Pods that nothing under way will ever let go. Told even where a flag is missing too, so that one look shows all that is in the way."""
    for pod in judged.moving:
        ruling = judged.rulings[pod.key]
        if ruling.fate is Fate.NEVER and ruling.code not in TOLD_ELSEWHERE:
            yield Finding(
                ruling.code or "drain.never", Weight.STOP, f"{pod.key}: {ruling.why}", pod.address, ruling.remedy, Outlook.WOULD_HANG
            )


def _flags(judged: Judged) -> Iterator[Finding]:
    where = f"nodes/{judged.facts.name}"
    if pods := judged.needing(Flag.EMPTY_DIR):
        verb = "has" if len(pods) == 1 else "have"
        sentence = f"{counted(len(pods), 'pod')} {verb} emptyDir data that is deleted with the pod: {_names(pods)}"
        yield Finding("drain.emptydir", Weight.STOP, sentence, where, f"allow it with {Flag.EMPTY_DIR.value}", Outlook.REFUSED)
    elif losing := [f.pod for f in judged.filtered if f.delete and f.pod.empty_dirs and not f.pod.pod.finished]:
        sentence = f"emptyDir data of {counted(len(losing), 'pod')} is deleted: {_names(losing)}"
        yield Finding("drain.emptydir", Weight.WARNING, sentence, where)
    if pods := judged.needing(Flag.FORCE):
        sentence = f"nothing would make {_names(pods)} again: {'it has' if len(pods) == 1 else 'they have'} no controller"
        yield Finding("drain.unmanaged", Weight.STOP, sentence, where, f"delete for good with {Flag.FORCE.value}", Outlook.REFUSED)
    elif forced := [f.pod for f in judged.filtered if f.delete and f.warnings and _unmanaged(judged, f.pod)]:
        verb = "is" if len(forced) == 1 else "are"
        sentence = f"{counted(len(forced), 'pod')} {verb} deleted for good, nothing makes {'it' if len(forced) == 1 else 'them'} again: {_names(forced)}"
        yield Finding("drain.unmanaged", Weight.STOP, sentence, where, outlook=Outlook.WOULD_LOSE)


def _unmanaged(judged: Judged, pod: DrainPod) -> bool:
    """Neither a controller nor a DaemonSet that still exists."""
    return not pod.pod.finished and (pod.pod.owner is None or pod.of_daemon_set)


def _choices(judged: Judged) -> Iterator[Finding]:
    where, params = f"nodes/{judged.facts.name}", judged.params
    if params.disable_eviction:
        held = [p for p in judged.moving if judged.rulings[p.key].budgets and not p.ignores_budgets]
        whom = f": {_names(held)} {'is' if len(held) == 1 else 'are'} deleted without asking" if held else ""
        yield Finding(
            "drain.disable-eviction", Weight.STOP, f"disruption budgets are bypassed{whom}", where, "leave out --disable-eviction"
        )
    if params.anyway and (left := judged.with_fate(Fate.NEVER)):
        sentence = (
            f"goes on although {_names(left)} can never go: the run will end with {'it' if len(left) == 1 else 'them'} still on the node"
        )
        yield Finding("drain.anyway", Weight.WARNING, sentence, where)
    if params.skip_wait_for_delete:
        skipped = [f.key for f in judged.filtered if f.stays.startswith("its deletion")]
        if skipped:
            yield Finding("drain.skipped", Weight.NOTE, f"not waited for, being deleted for long: {named(skipped)}", where)


def _staying(judged: Judged) -> Iterator[Finding]:
    where = f"nodes/{judged.facts.name}"
    sets = [f for f in judged.filtered if f.pod.of_daemon_set and f.stays]
    if sets:
        yield Finding(
            "drain.daemonsets", Weight.NOTE, f"{counted(len(sets), 'DaemonSet pod')} {'stays' if len(sets) == 1 else 'stay'}", where
        )
    if judged.params.pod_selector and not isinstance(judged.facts.every, Unknown):
        chosen = {f.key for f in judged.filtered}
        rest = [p for p in judged.facts.every.value if p.pod.node == judged.facts.name and p.key not in chosen]
        if rest:
            sentence = f"{counted(len(rest), 'pod')} on the node {'is' if len(rest) == 1 else 'are'} not selected by {judged.params.pod_selector} and stay{'s' if len(rest) == 1 else ''}"
            yield Finding("drain.selector", Weight.NOTE, sentence, where)
    if not judged.moving:
        yield Finding("drain.empty", Weight.GOOD, f"no pod has to leave {judged.facts.name}", where)


def _unread(judged: Judged, told: Sequence[Finding]) -> Iterator[Finding]:
    """Each source that could not be read, unless a finding says it already: what it would have told is not evaluated."""
    for premise in judged.facts.premises:
        if premise.as_of is None:
            sentence = f"{premise.name}: not evaluated, {premise.reason}"
            if not any(f.sentence == sentence for f in told):
                yield Finding("drain.unread", Weight.WARNING, sentence, f"nodes/{judged.facts.name}", outlook=Outlook.NOT_EVALUATED)


def _names(pods: Sequence[DrainPod]) -> str:
    return named([pod.key for pod in pods])
