"""What is worth knowing before the data of an instance is thrown away and copied anew from the primary. Pure; each finding with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...domain.plans import Finding, Outlook, Weight
from ...domain.postgres import changing
from ...domain.readings import Reading, Unknown
from ...domain.replication import lsn_text
from ...domain.storage import Claim
from ...domain.text import counted
from ...domain.values import dataclass
from ...present.words import size
from .checks import RUNNING_BACKUP, Judge, behind, of_remaking, standby_row, timeline_of, timeline_of_standby
from .facts import PgFacts
from .rights import Right


@dataclass(frozen=True, slots=True)
class RecloneFacts:
    pg: PgFacts
    claims: Reading[tuple[Claim, ...]]
    """Of the instance."""
    size_b: Reading[int]
    """What is to be copied."""
    lacking: tuple[Right, ...] = ()


def findings_of(j: Judge, facts: RecloneFacts) -> Iterator[Finding]:
    yield from against(j)
    yield from _of_claims(j, facts)
    yield from _of_data(j)
    yield from _of_rest(j)
    yield from _of_place(j, facts)


def against(j: Judge) -> Iterator[Finding]:
    """What forbids it. The run asks the same again before it acts."""
    c, name = j.cluster, j.target
    if name in (c.current_primary, c.target_primary):
        what = "the PRIMARY" if name == c.current_primary else "to be the primary"
        yield j.stop(
            "reclone.primary", f"{name} is {what}: its data is what the others are copied from", "switch over to another one first", name
        )
    if role := changing(c):
        yield j.stop("reclone.changing", f"a {role} of {c.name} to {c.target_primary} is under way", "wait for its end")
    if c.hibernated:
        yield j.stop("reclone.hibernated", f"{c.name} is hibernated: there is nobody to copy from", f"coldtui postgres wake {c.name}")
    if c.reconciliation_disabled:
        yield j.stop(
            "reclone.ignored",
            f"the operator ignores {c.name}: nobody would make it anew",
            "remove annotation cnpg.io/reconciliationLoop first",
        )
    if c.fenced_unreadable or c.is_fenced(name):
        yield j.stop("reclone.fenced", f"{name} is fenced: it would be fenced when it comes back", "lift the fence first", name)
    yield from _of_operator(j)
    yield from of_remaking(j, "reclone")
    yield from _of_source(j)
    yield from _of_backup(j)
    yield from _ahead(j)


def _of_operator(j: Judge) -> Iterator[Finding]:
    operator = j.facts.operator
    if isinstance(operator, Unknown):
        yield j.blind("reclone.operator-unread", "whether the operator makes it anew", operator.reason)
    elif operator.value is None or operator.value.available < 1:
        have = "there is no operator" if operator.value is None else f"the operator is down (0 of {operator.value.desired} available)"
        yield j.stop("reclone.operator", f"{have}: nobody would make {j.target} anew", "bring it back first")


def _of_source(j: Judge) -> Iterator[Finding]:
    """The primary must be well: of an unwell one the instance may be the last copy."""
    facts, c = j.facts, j.cluster
    name = c.current_primary
    if name == j.target:
        return
    last = f": {j.target} may be the last good copy"
    if not name:
        yield j.stop("reclone.no-source", f"{c.name} has no primary to copy from{last}", "see why nobody leads")
        return
    if c.is_fenced(name):
        yield j.stop("reclone.source-fenced", f"{name}, the primary, is fenced{last}", "lift the fence first", name)
    pod, found = facts.pod(name), facts.managers.get(name)
    if isinstance(facts.pods, Unknown):
        yield j.blind("reclone.pods-unread", f"whether {name}, the primary, is well", facts.pods.reason, name)
    elif pod is None or pod.deleted is not None or not pod.is_ready:
        state = "has no pod" if pod is None else "is being deleted" if pod.deleted is not None else f"is not ready ({pod.state})"
        yield j.stop("reclone.source", f"{name}, the primary, {state}{last}", "mend the primary first", name)
    if found is None or isinstance(found, Unknown):
        reason = found.reason if isinstance(found, Unknown) else "not asked"
        yield j.blind("reclone.source-unread", f"whether {name} can be copied from", f"/pg/status: {reason}", name)
    elif not found.value.is_primary:
        yield j.stop("reclone.source", f"{name} is named primary and says that it is none{last}", "coldtui postgres status", name)


def _of_backup(j: Judge) -> Iterator[Finding]:
    backups = j.facts.backups
    if isinstance(backups, Unknown):
        yield j.blind("reclone.backups-unread", f"whether a backup runs on {j.target}", backups.reason, j.target)
        return
    for backup in backups.value:
        if backup.cluster == j.cluster.name and backup.instance == j.target and backup.phase in RUNNING_BACKUP:
            yield j.stop(
                "reclone.backup", f"backup {backup.name} is {backup.phase or 'pending'} on {j.target}", "wait for its end", j.target
            )


def position_of(facts: PgFacts, name: str) -> int | None:
    """The furthest WAL that an instance is known to have. None: it does not tell."""
    manager, sql = facts.manager(name), facts.status(name)
    told = [(m.current, m.received, m.replayed) for m in (manager, sql) if m is not None]
    return max((value for each in told for value in each if value is not None), default=None)


def _ahead(j: Judge) -> Iterator[Finding]:
    """More WAL than anybody else has is the only copy of something. One that streams cannot have more: it was only read a moment later."""
    facts, name = j.facts, j.target
    row, _ = standby_row(facts, name)
    if row is not None and row.state == "streaming":
        return
    own = position_of(facts, name)
    others = {n: at for n in j.cluster.instance_names if n != name and (at := position_of(facts, n)) is not None}
    if own is None or not others:
        return
    best = max(others, key=lambda n: (others[n], n == facts.primary, n))
    if own > others[best]:
        sentence = f"{name} has received {own - others[best]:,} bytes more than anybody ({lsn_text(own)}; {best} {lsn_text(others[best])})"
        yield j.stop("reclone.ahead", f"{sentence}: they would be lost", "find out why first: coldtui postgres status", name)


# ------------------------------------------------------------ what it costs


def _of_claims(j: Judge, facts: RecloneFacts) -> Iterator[Finding]:
    name, pods = j.target, j.facts.pods
    if isinstance(facts.claims, Unknown):
        yield j.blind("reclone.claims-unread", f"the volumes of {name}", facts.claims.reason, name)
    elif not facts.claims.value:
        yield j.stop("reclone.no-claims", f"no volume claim of {name} was found", "see kubectl get pvc", name)
    else:
        told = ", ".join(claim.name for claim in facts.claims.value)
        yield j.warn(
            "reclone.claims", f"{counted(len(facts.claims.value), 'volume claim')} will be deleted with all data: {told}", "", name
        )
    if not isinstance(pods, Unknown) and name not in pods.value:
        yield j.stop("reclone.no-pod", f"{name} has no pod: the operator may be making it just now", "wait, or see why it does not", name)


def _of_data(j: Judge) -> Iterator[Finding]:
    """What is on it, and whether it needs the cure at all."""
    facts, name = j.facts, j.target
    own, ours = position_of(facts, name), timeline_of(facts, facts.primary)
    theirs, sure = timeline_of_standby(facts, name)
    row, _ = standby_row(facts, name)
    if own is None:
        known = f"; the operator last saw it on timeline {theirs}, the primary on {ours}" if theirs and ours else ""
        yield j.blind(
            "reclone.data-unread", f"what is on {name} that nobody else has", f"it answers neither at /pg/status nor over SQL{known}", name
        )
    elif ours and theirs and theirs < ours and row is None:
        may = "" if sure else " (by its control file, which may be old)"
        sentence = (
            f"{name} is on timeline {theirs} at {lsn_text(own)}, the primary on {ours}{may}: what it has beyond the fork, nobody else has"
        )
        found = j.warn("reclone.diverged", sentence, "take a copy first if that matters", name)
        yield replace(found, outlook=Outlook.WOULD_LOSE)
    if row is not None and row.state == "streaming":
        left = behind(facts, name)
        sentence = (
            f"{name} streams from {facts.primary}" + ("" if left is None else f", {left:,} bytes behind") + ": there is nothing to cure"
        )
        yield j.warn("reclone.streams", sentence, "leave it as it is", name)


def _of_rest(j: Judge) -> Iterator[Finding]:
    """Who is left meanwhile."""
    facts, c, name = j.facts, j.cluster, j.target
    row, _ = standby_row(facts, name)
    if row is not None and row.sync_state in ("sync", "quorum"):
        yield j.warn(
            "reclone.sync", f"{name} is a synchronous standby: commits may wait until it is back", "see spec.postgresql.synchronous", name
        )
    if isinstance(facts.pods, Unknown):
        return
    for other in (n for n, p in facts.pods.value.items() if n not in (name, c.current_primary) and p.phase == "Running" and not p.is_ready):
        sentence = f"{other} is not ready: the operator makes no new instance until it is, or is re-cloned too"
        yield j.warn("reclone.other-unready", sentence, f"mend {other} first", other)
    left = [n for n, p in facts.pods.value.items() if p.is_ready and n not in (name, c.current_primary) and not c.is_fenced(n)]
    if left:
        yield j.note("reclone.left", f"{', '.join(sorted(left))} can take over from {c.current_primary} meanwhile", Weight.GOOD)
    else:
        yield j.warn(
            "reclone.last", f"no other standby is ready: until it is copied nothing can take over from {c.current_primary}", "", name
        )
    status = facts.status(name)
    if status is not None and status.connections:
        yield j.warn("reclone.clients", f"{counted(status.connections, 'connection')} to {name} will break", "", name)


def _of_place(j: Judge, facts: RecloneFacts) -> Iterator[Finding]:
    """How much is copied, and whether there is a place for it, as far as can be told."""
    name, nodes = j.target, j.facts.nodes
    wanted = max((claim.requested_b for claim in facts.claims.value), default=0) if not isinstance(facts.claims, Unknown) else 0
    if isinstance(facts.size_b, Unknown):
        yield j.note("reclone.size-unread", f"how much is to be copied: not known, {facts.size_b.reason}")
    elif wanted and facts.size_b.value > wanted:
        sentence = f"{size(facts.size_b.value)} are to be copied and the claim asks for {size(wanted)} only"
        yield j.stop("reclone.size", sentence, "enlarge spec.storage.size first", name)
    else:
        yield j.note("reclone.size", f"{size(facts.size_b.value)} are copied from {j.cluster.current_primary} ({facts.size_b.source})")
    if isinstance(nodes, Unknown):
        yield j.blind("reclone.nodes-unread", "whether a node can take it", nodes.reason)
        return
    fit = {n.name for n in nodes.value.values() if n.ready == "True" and not n.unschedulable}
    taken = {j.facts.node_of(n) for n in j.cluster.instance_names if n != name}
    if not fit:
        yield j.stop("reclone.nodes", f"none of {len(nodes.value)} nodes is ready and takes pods", "uncordon one first")
    elif not fit - taken:
        yield j.warn(
            "reclone.together", f"each of {counted(len(fit), 'node')} that take pods has an instance already: it may wait or share one", ""
        )
