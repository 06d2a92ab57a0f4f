"""What is worth knowing before a cluster sleeps or wakes. Pure; each finding with its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...domain.backups import PgSchedule
from ...domain.plans import Finding, Weight
from ...domain.postgres import HEALTHY, changing
from ...domain.readings import Reading, Unknown
from ...domain.storage import Claim
from ...domain.text import counted
from ...domain.values import dataclass
from .checks import LONG_TRANSACTION, RUNNING_BACKUP, Judge
from .facts import PgFacts
from .rights import Right

SHOWN = 4


@dataclass(frozen=True, slots=True)
class SleepFacts:
    pg: PgFacts
    claims: Reading[tuple[Claim, ...]]
    schedules: Reading[tuple[PgSchedule, ...]]
    """Of the namespace."""
    lacking: tuple[Right, ...] = ()


def against_sleep(j: Judge) -> Iterator[Finding]:
    """What forbids it. The run asks the same again before it acts."""
    c = j.cluster
    if role := changing(c):
        yield j.stop("hibernate.changing", f"a {role} of {c.name} to {c.target_primary} is under way", "wait for its end")
    elif c.phase != HEALTHY:
        yield j.stop(
            "hibernate.phase", f"{c.name} is not healthy ({c.phase or 'no phase'}): the operator would wait until it is", "mend it first"
        )
    if c.fenced_unreadable:
        yield j.stop("hibernate.fenced", f"what is fenced in {c.name} cannot be told", "mend annotation cnpg.io/fencedInstances first")
    elif c.fenced:
        names = "all instances" if c.all_fenced else ", ".join(c.fenced)
        yield j.stop("hibernate.fenced", f"{names} fenced: it would be fenced when {c.name} wakes", "lift the fence first")
    yield from _of_operator(j, "hibernate", "nobody would stop the instances")


def against_waking(j: Judge) -> Iterator[Finding]:
    c = j.cluster
    if c.fenced:
        names = "all instances" if c.all_fenced else ", ".join(c.fenced)
        yield j.warn("wake.fenced", f"{names} fenced: not started by waking", "coldtui postgres unfence NAME afterwards")
    yield from _of_operator(j, "wake", "nobody would make the pods")


def _of_operator(j: Judge, act: str, consequence: str) -> Iterator[Finding]:
    c, operator = j.cluster, j.facts.operator
    if c.reconciliation_disabled:
        yield j.stop(
            f"{act}.ignored", f"the operator ignores {c.name}: {consequence}", "remove annotation cnpg.io/reconciliationLoop first"
        )
    if isinstance(operator, Unknown):
        yield j.blind(f"{act}.operator-unread", "whether the operator runs", operator.reason)
    elif operator.value is None or operator.value.available < 1:
        have = "there is no operator" if operator.value is None else f"the operator is down (0 of {operator.value.desired} available)"
        yield j.stop(f"{act}.operator", f"{have}: {consequence}", "bring it back first")


def of_claims(j: Judge, facts: SleepFacts, act: str) -> Iterator[Finding]:
    c = j.cluster
    if isinstance(facts.claims, Unknown):
        yield j.blind(f"{act}.claims-unread", f"the volumes of {c.name}", facts.claims.reason)
        return
    going = [claim.name for claim in facts.claims.value if claim.deleted is not None]
    held = {claim.labels.get("cnpg.io/instanceName", claim.name) for claim in facts.claims.value if claim.deleted is None}
    if going:
        yield j.stop(f"{act}.claims-going", f"{counted(len(going), 'claim')} being deleted: {', '.join(going)}", "its data goes with it")
    bare = [name for name in c.instance_names if name not in held]
    if c.current_primary in bare:
        yield j.stop(f"{act}.no-data", f"{c.current_primary}, the primary, has no claim: its data is gone", "restore from a backup")
    elif bare:
        yield j.warn(f"{act}.bare", f"{', '.join(bare)} without a claim: cloned anew when {c.name} wakes")
    yield j.note(f"{act}.claims", f"{counted(len(facts.claims.value) - len(going), 'claim')} of {c.name} stay as they are", Weight.GOOD)


def of_use(j: Judge) -> Iterator[Finding]:
    """Whose connections break."""
    facts, c = j.facts, j.cluster
    if isinstance(facts.sessions, Unknown):
        yield j.blind("hibernate.sessions-unread", "which applications are connected", facts.sessions.reason)
    else:
        clients = [s for s in facts.sessions.value if s.kind == "client backend"]
        by = Counter(f"{s.application or s.user or '?'} on {s.database or '?'}" for s in clients)
        told = ", ".join(f"{who} ({n})" for who, n in by.most_common(SHOWN)) + (f" and {len(by) - SHOWN} more" if len(by) > SHOWN else "")
        if clients:
            sentence = f"{counted(len(clients), 'connection')} to {c.current_primary} will break: {told}"
            yield j.warn("hibernate.sessions", sentence, "stop these applications first")
            if c.smart_shutdown_s and c.smart_shutdown_s < c.stop_delay_s:
                wait = f"while sessions are open each server takes up to {c.smart_shutdown_s:,} s to stop (spec.smartShutdownTimeout)"
                yield j.note("hibernate.wait", wait)
        since = [j.now - s.transaction_at for s in clients if s.transaction_at is not None]
        if long := [age for age in since if age > LONG_TRANSACTION]:
            oldest = int(max(long).total_seconds())
            words = f"{counted(len(long), 'transaction')} open for longer than {LONG_TRANSACTION.seconds} s will be cut, the oldest after {oldest:,} s"
            yield j.warn("hibernate.transactions", words, "let them end first")
    readers = {
        n: s.connections for n in c.instance_names if n != c.current_primary and (s := facts.status(n)) is not None and s.connections
    }
    if readers:
        yield j.warn("hibernate.readers", "connections to standbys will break: " + ", ".join(f"{n} {k}" for n, k in readers.items()))
    if c.replica_cluster:
        yield j.warn(
            "hibernate.replica", f"{c.name} follows {c.replica_source or 'another cluster'}: it must find its WAL there when it wakes"
        )


def of_copies(j: Judge, facts: SleepFacts) -> Iterator[Finding]:
    """Backups, schedules and the archive meanwhile."""
    c, pg = j.cluster, j.facts
    if isinstance(pg.backups, Unknown):
        yield j.blind("hibernate.backups-unread", "whether a backup runs", pg.backups.reason)
    else:
        for backup in (b for b in pg.backups.value if b.cluster == c.name and b.phase in RUNNING_BACKUP):
            yield j.warn("hibernate.backup", f"backup {backup.name} is {backup.phase or 'pending'} and breaks off", "wait for its end")
    if isinstance(facts.schedules, Unknown):
        yield j.blind("hibernate.schedules-unread", "which schedules fail meanwhile", facts.schedules.reason)
    else:
        for schedule in facts.schedules.value:
            if schedule.cluster == c.name and not schedule.suspended:
                due = f", next at {schedule.next_run:%Y-%m-%d %H:%M}Z" if schedule.next_run is not None else ""
                yield j.warn("hibernate.schedule", f"schedule {schedule.name} makes no backup meanwhile{due}", "suspend it")
    head, sql = pg.manager(c.current_primary), pg.status(c.current_primary)
    waiting = head.ready_wal if head is not None else None
    if waiting is None and sql is not None and sql.archiver is not None:
        waiting = sql.archiver.waiting
    if waiting:
        sentence = f"{counted(waiting, 'WAL segment')} not archived yet: they stay on the volume of {c.current_primary} only"
        yield j.warn("hibernate.archive", sentence, "wait until they are archived")
    elif waiting is None and c.archives:
        yield j.blind("hibernate.archive-unread", "how much WAL waits for the archive", f"{c.current_primary} does not tell")


def of_nodes(j: Judge) -> Iterator[Finding]:
    c, nodes = j.cluster, j.facts.nodes
    if isinstance(nodes, Unknown):
        yield j.blind("wake.nodes-unread", "whether the nodes can take the instances", nodes.reason)
        return
    fit = [n for n in nodes.value.values() if n.ready == "True" and not n.unschedulable]
    if not fit:
        yield j.stop("wake.nodes", f"none of {len(nodes.value)} nodes is ready and takes pods", "uncordon one first")
    elif len(fit) < c.instances:
        yield j.warn(
            "wake.nodes", f"{len(fit)} of {len(nodes.value)} nodes can take {counted(c.instances, 'instance')}", "uncordon the others first"
        )
