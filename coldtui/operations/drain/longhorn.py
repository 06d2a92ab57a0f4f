"""Longhorn under the drain: when the instance manager of the node may go, and which volumes have their last good copy there.

The instance manager has a budget of its own that never spares it. Longhorn deletes that budget once the node is cordoned, no volume is
attached to it any more, and the setting node-drain-policy is content (longhorn-manager, instance_manager_controller.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...domain.drains import MANAGER_LABEL, SHARE_LABEL, DrainBudget, DrainPod
from ...domain.plans import Fate, Finding, Outlook, Weight
from ...domain.readings import Freshness, Unknown
from ...domain.storage import LhReplica, LhVolume, good_replicas, rebuild_of, replicas_of, setting, title
from ...domain.text import counted
from ...domain.values import dataclass
from ...domain.verdicts import unsure
from ...domain.world import World
from .facts import DrainFacts
from .refill import Ruling, named

POLICY, DEFAULT_POLICY = "node-drain-policy", "block-if-contains-last-replica"
BLOCK, BLOCK_AND_MOVE, MOVE_ALL = DEFAULT_POLICY, "block-for-eviction-if-contains-last-replica", "block-for-eviction"
IF_STOPPED, ALWAYS = "allow-if-replica-is-stopped", "always-allow"
DETACH_MANUAL = "detach-manually-attached-volumes-when-cordoned"
BY_HAND, BY_CSI, BY_SHARE = "longhorn-api", "csi-attacher", "share-manager-controller"
NEEDED = ("lh_volumes", "lh_replicas", "lh_settings")


def installed(world: World) -> bool:
    return world.sources["lh_volumes"].freshness is not Freshness.NOT_INSTALLED


def is_manager(pod: DrainPod) -> bool:
    return pod.pod.labels.get(MANAGER_LABEL[0]) == MANAGER_LABEL[1]


@dataclass(frozen=True, slots=True)
class Copies:
    """One volume with a copy on the node."""

    volume: LhVolume
    here: tuple[LhReplica, ...]
    good_here: bool
    elsewhere: tuple[str, ...]
    """Nodes with a good copy that Longhorn counts: Ready, their instance manager there with its budget."""

    @property
    def last(self) -> bool:
        """The only good copy, or the only data at all, is on the node."""
        return not self.elsewhere and (self.good_here or any(r.failed_at is not None for r in self.here))

    @property
    def stopped(self) -> bool:
        """No copy of it runs on the node."""
        return all(r.state != "running" for r in self.here)


def copies_on(facts: DrainFacts) -> tuple[Copies, ...]:
    """Volumes with a copy on the node that has ever been used, by their titles."""
    world, found = facts.world, []
    sound = _sound_nodes(facts)
    for volume in world.lh_volumes.items.values():
        replicas = replicas_of(world, volume)
        here = tuple(r for r in replicas if r.node == facts.name and (r.healthy_at is not None or r.failed_at is not None))
        if here:
            good = good_replicas(world, volume)
            elsewhere = tuple(sorted({r.node for r in good if r.node != facts.name and r.node in sound}))
            found.append(Copies(volume, here, any(r.node == facts.name for r in good), elsewhere))
    return tuple(sorted(found, key=lambda c: title(c.volume)))


def _sound_nodes(facts: DrainFacts) -> set[str]:
    """Nodes whose copies count as protected. Where pods or budgets are unknown, readiness alone decides."""
    ready = {node.name for node in facts.world.nodes.items.values() if node.ready == "True"}
    if isinstance(facts.every, Unknown) or isinstance(facts.budgets, Unknown):
        return ready
    guarded = {budget.key for budget in facts.budgets.value}
    managed = {p.pod.node for p in facts.every.value if is_manager(p) and p.pod.is_ready and p.pod.deleted is None and p.key in guarded}
    return ready & managed


def policy(world: World) -> str:
    return setting(world, POLICY) or DEFAULT_POLICY


# ------------------------------------------------------------ the instance manager


def special(facts: DrainFacts, fates: Mapping[str, Ruling]) -> Callable[[DrainPod, DrainBudget], Ruling | None]:
    """Rules the instance manager, whose budget goes when its volumes have left. `fates`: of the other pods of the node, known by then."""

    def rule(pod: DrainPod, budget: DrainBudget) -> Ruling | None:
        if not is_manager(pod) or budget.allowed > 0:
            return None
        mine = (budget,)
        if doubt := unsure(facts.world, *NEEDED):
            return Ruling(Fate.NOT_EVALUATED, f"Longhorn's instance manager, and {doubt}", budgets=mine)
        held = _held_by_volumes(facts, fates) or _held_by_copies(facts)
        if held is not None:
            return Ruling(held.fate, held.why, held.remedy, held.code, mine)
        attached = [title(v) for v in _attached(facts)]
        until = f"{counted(len(attached), 'volume')} {'has' if len(attached) == 1 else 'have'} detached ({named(attached, 3)})"
        why = f"Longhorn frees it once {until if attached else f'{facts.name} is cordoned'}"
        return Ruling(Fate.WAITS, f"{why}{_moves(facts)}", budgets=mine)

    return rule


def _attached(facts: DrainFacts) -> tuple[LhVolume, ...]:
    return tuple(sorted((v for v in facts.world.lh_volumes.items.values() if v.node == facts.name), key=title))


def _users(facts: DrainFacts, volume: LhVolume) -> list[DrainPod]:
    """Pods of the node that hold a volume."""
    if isinstance(facts.every, Unknown):
        pods = facts.pods.value if not isinstance(facts.pods, Unknown) else ()
    else:
        pods = facts.every.value
    here = [p for p in pods if p.pod.node == facts.name and not p.pod.finished]
    claims = [p for p in here if volume.claim_key and volume.claim_key in {f"{p.pod.namespace}/{c}" for c in p.pod.claims}]
    return claims or [p for p in here if p.pod.labels.get(SHARE_LABEL) == volume.name]


def _held_by_volumes(facts: DrainFacts, fates: Mapping[str, Ruling]) -> Ruling | None:
    """A volume that will not detach from the node by the evictions of this plan."""
    for volume in _attached(facts):
        users = _users(facts, volume)
        for pod in users:
            ruling = fates.get(pod.key)
            if ruling is None or ruling.fate.rank > Fate.WAITS.rank:
                why = f"volume {title(volume)} stays attached: {pod.pod.name} does not go"
                fate = ruling.fate if ruling is not None and ruling.fate is Fate.NOT_EVALUATED else Fate.NEVER
                return Ruling(fate, why, f"let {pod.pod.name} go first", "drain.lh-attached")
        if not users and (found := _without_user(facts, volume)) is not None:
            return found
    return None


def _without_user(facts: DrainFacts, volume: LhVolume) -> Ruling | None:
    """No pod holds it: Longhorn itself (a backup, a rebuild) lets go of it, a person does not."""
    if isinstance(facts.attachments, Unknown):
        return Ruling(Fate.NOT_EVALUATED, f"who attached volume {title(volume)} here is not known: {facts.attachments.reason}")
    tickets = [t for a in facts.attachments.value if a.volume == volume.name for t in a.tickets if t.node == facts.name]
    if any(t.type not in (BY_HAND, BY_CSI) for t in tickets):
        return None
    if setting(facts.world, DETACH_MANUAL) == "true" and any(t.type == BY_HAND for t in tickets):
        return None
    by = "by hand" if any(t.type == BY_HAND for t in tickets) else "and no pod uses it"
    why = f"volume {title(volume)} is attached to {facts.name} {by}: nothing of this drain detaches it"
    return Ruling(Fate.NEVER, why, f"detach {volume.name} in Longhorn, or set {DETACH_MANUAL}", "drain.lh-attached")


def _held_by_copies(facts: DrainFacts) -> Ruling | None:
    """What the drain policy makes of the last copies on the node."""
    last = [c for c in copies_on(facts) if c.last]
    rule = policy(facts.world)
    if rule == IF_STOPPED:
        last = [c for c in last if not c.stopped]
    if rule in (BLOCK, IF_STOPPED) and last:
        names = named([title(c.volume) for c in last], 3)
        why = f"{facts.name} has the last good copy of {counted(len(last), 'volume')} ({names}), and {POLICY} is {rule}"
        return Ruling(Fate.NEVER, why, "let a copy be made on another node first", "drain.lh-last-copy")
    return None


def _moves(facts: DrainFacts) -> str:
    """What Longhorn itself does first under the two policies that move copies."""
    rule, copies = policy(facts.world), copies_on(facts)
    if rule == MOVE_ALL and copies:
        return f", and after it has moved all {counted(len(copies), 'copy', 'copies')} off the node ({POLICY}): minutes to hours"
    last = [c for c in copies if c.last]
    if rule == BLOCK_AND_MOVE and last:
        return f", and after it has moved the last copy of {counted(len(last), 'volume')} off the node ({POLICY})"
    return ""


# ------------------------------------------------------------ findings


def findings(facts: DrainFacts) -> list[Finding]:
    """What the drain does to volumes: last copies, degraded ones, attachments."""
    world = facts.world
    if not installed(world):
        return []
    if doubt := unsure(world, "lh_volumes", "lh_replicas"):
        sentence = f"whether {facts.name} has the last good copy of a volume: not evaluated, {doubt}"
        return [Finding("drain.lh-unknown", Weight.WARNING, sentence, f"nodes/{facts.name}", outlook=Outlook.NOT_EVALUATED)]
    return [*_last(facts), *_degraded(facts), *_kept(facts), *_engines(facts)]


def _last(facts: DrainFacts) -> Iterator[Finding]:
    rule = policy(facts.world)
    doubt = unsure(facts.world, "lh_settings")
    for copies in copies_on(facts):
        if not copies.last:
            continue
        volume = copies.volume
        sentence = f"volume {title(volume)} has its last good copy on {facts.name} (0 of {volume.replicas} elsewhere)"
        remedy = "let a copy be made on another node first (rebuild, or more replicas)"
        if rule == ALWAYS or (rule == IF_STOPPED and copies.stopped):
            sentence += f"; {POLICY} {rule} lets it go: its data cannot be read until {facts.name} is back, and is lost with its disk"
            outlook = Outlook.WOULD_LOSE
        elif rule in (BLOCK_AND_MOVE, MOVE_ALL):
            sentence, outlook = f"{sentence}; Longhorn copies it to another node first ({rule})", Outlook.GO_AFTER
        else:
            sentence, outlook = f"{sentence}; {POLICY} {rule} holds the instance manager", Outlook.WOULD_HANG
        if doubt:
            sentence, outlook = f"{sentence.partition(';')[0]}; what Longhorn does with it is not evaluated, {doubt}", Outlook.NOT_EVALUATED
        yield Finding("drain.lh-last-copy", Weight.STOP, sentence, str(volume.ref), remedy, outlook)


def _degraded(facts: DrainFacts) -> Iterator[Finding]:
    """Volumes that lack a copy already, and lose one more with the node."""
    for copies in copies_on(facts):
        volume = copies.volume
        if copies.last or volume.robustness not in ("degraded", "faulted"):
            continue
        left = len(copies.elsewhere)
        rebuild = rebuild_of(facts.world, volume)
        under_way = f", a rebuild is at {rebuild.percent} %" if rebuild is not None and rebuild.replicas else ""
        sentence = (
            f"volume {title(volume)} is {volume.robustness} already: {left} of {volume.replicas} copies are left elsewhere{under_way}"
        )
        yield Finding("drain.lh-degraded", Weight.WARNING, sentence, str(volume.ref), "wait until it is healthy")


def _kept(facts: DrainFacts) -> Iterator[Finding]:
    kept = [c for c in copies_on(facts) if not c.last]
    if kept:
        least = min(len(c.elsewhere) for c in kept)
        sentence = f"{counted(len(kept), 'volume')} with a copy on {facts.name} {'keeps' if len(kept) == 1 else 'keep'} at least {least} good elsewhere"
        yield Finding("drain.lh-copies", Weight.GOOD, sentence, f"nodes/{facts.name}")


def _engines(facts: DrainFacts) -> Iterator[Finding]:
    attached = _attached(facts)
    if attached:
        names = named([title(v) for v in attached])
        sentence = f"{counted(len(attached), 'volume')} attached to {facts.name} must detach and attach elsewhere: {names}"
        yield Finding("drain.lh-attached-here", Weight.NOTE, sentence, f"nodes/{facts.name}")
