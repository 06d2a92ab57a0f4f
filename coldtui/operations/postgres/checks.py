"""What must hold before another instance is made primary, and what is worth knowing. Pure; each finding with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ...domain.plans import Finding, Outlook, Weight
from ...domain.postgres import HEALTHY, PgCluster
from ...domain.readings import Known, Unknown
from ...domain.replication import SEGMENT_B, Standby, lsn_text
from ...domain.text import counted
from .facts import VIP, PgFacts
from .paths import vip_of_another

READY_WAL = 5
"""So many WAL segments that wait for the archive are no backlog yet."""
LONG_TRANSACTION = timedelta(seconds=30)
RUNNING_BACKUP = frozenset({"", "pending", "started", "running", "finalizing"})
MARK = "postgres."


def address(cluster: PgCluster, instance: str = "") -> str:
    """Of the cluster, or of an instance's pod."""
    return f"pods/{cluster.namespace}/{instance}" if instance else f"clusters/{cluster.key}"


def confirm_word(facts: PgFacts, instance: str = "") -> str:
    """What is typed to confirm an act on the Cluster, or on an instance of it: with the namespace where another Cluster has the same name."""
    word = instance or facts.cluster.name
    return f"{facts.cluster.namespace}/{word}" if facts.namesakes else word


class Judge:
    """Makes findings about one cluster and one target."""

    def __init__(self, facts: PgFacts, target: str, now: datetime) -> None:
        self.facts, self.cluster, self.target, self.now = facts, facts.cluster, target, now

    def stop(self, code: str, sentence: str, remedy: str = "", instance: str = "") -> Finding:
        return Finding(MARK + code, Weight.STOP, sentence, address(self.cluster, instance), remedy, Outlook.REFUSED)

    def warn(self, code: str, sentence: str, remedy: str = "", instance: str = "", amount: int = 0) -> Finding:
        return Finding(MARK + code, Weight.WARNING, sentence, address(self.cluster, instance), remedy, amount=amount)

    def note(self, code: str, sentence: str, weight: Weight = Weight.NOTE) -> Finding:
        return Finding(MARK + code, weight, sentence, address(self.cluster))

    def blind(self, code: str, what: str, reason: str, instance: str = "") -> Finding:
        """A premise that could not be read."""
        sentence = f"{what}: not evaluated, {reason}"
        return Finding(MARK + code, Weight.WARNING, sentence, address(self.cluster, instance), outlook=Outlook.NOT_EVALUATED)


def switchover_findings(facts: PgFacts, target: str, now: datetime) -> tuple[Finding, ...]:
    """Stops first; then what is not evaluated, warnings, notes and what is well."""
    judge = Judge(facts, target, now)
    parts = (_of_cluster, _of_operator, _of_target, _of_replication, _of_history, _of_lag, _of_archive, _of_work, _of_node, _of_end)
    found = [finding for part in parts for finding in part(judge)]
    return tuple(sorted(found, key=lambda f: (-int(f.weight), f.outlook is not Outlook.NOT_EVALUATED)))


def _of_cluster(j: Judge) -> Iterator[Finding]:
    c = j.cluster
    if c.current_primary != c.target_primary:
        what = f"{c.name} changes its primary already: from {c.current_primary or 'nobody'} to {c.target_primary}"
        yield j.stop("changing", what, "wait for its end")
    if c.phase != HEALTHY:
        why = f" ({c.phase_reason})" if c.phase_reason else ""
        yield j.stop("phase", f"{c.name} is not healthy: {c.phase or 'no phase'}{why}", "wait, or mend it first")
    if c.reconciliation_disabled:
        yield j.stop(
            "ignored", f"the operator ignores {c.name}: reconciliation is disabled", "remove annotation cnpg.io/reconciliationLoop first"
        )
    if c.hibernated:
        yield j.stop("hibernated", f"{c.name} is hibernated", "set annotation cnpg.io/hibernation to off first")
    if c.replica_cluster:
        yield j.stop("replica-cluster", f"{c.name} follows another cluster and has no writable primary", "switch over at its source")
    if c.fenced_unreadable:
        yield j.blind("fence-unreadable", f"what is fenced in {c.name}", f"the annotation is no list: {c.fenced_unreadable}")
    for name in dict.fromkeys((c.current_primary, j.target)):
        if name and c.is_fenced(name):
            how = "all instances are fenced" if c.all_fenced else f"{name} is fenced"
            yield j.stop("fenced", f"{how}: it yields no lease and takes none", "lift the fence first", name)


def _of_operator(j: Judge) -> Iterator[Finding]:
    found = j.facts.operator
    if isinstance(found, Unknown):
        yield j.blind("operator-unread", "whether the operator runs", found.reason)
    elif found.value is None:
        yield j.stop("operator", "there is no deployment of the CloudNativePG operator", "install it, or bring it back")
    elif found.value.available < 1:
        remedy = "bring it back first: without it no service follows the new primary"
        yield j.stop("operator", f"the operator is down: {found.value.available} of {found.value.desired} available", remedy)
    else:
        yield j.note("operator", f"the operator runs: {found.value.available} of {found.value.desired} available", Weight.GOOD)


def _of_target(j: Judge) -> Iterator[Finding]:
    c, name, pods = j.cluster, j.target, j.facts.pods
    if name == c.current_primary:
        yield j.stop("is-primary", f"{name} is the primary already", "choose another instance", name)
    if isinstance(pods, Unknown):
        yield j.blind("pod-unread", f"whether {name} is ready", pods.reason, name)
        return
    pod = pods.value.get(name)
    if pod is None:
        yield j.stop("no-pod", f"{name} has no pod", "wait until the operator has made it", name)
    elif pod.deleted is not None:
        yield j.stop("deleted", f"{name} is being deleted", "choose another instance", name)
    elif not pod.is_ready:
        yield j.stop(
            "not-ready", f"{name} is not ready: {pod.state}, {pod.ready} of {pod.total} containers", "wait, or mend it first", name
        )
    else:
        yield j.note("ready", f"{name} is ready on {pod.node or 'no node'}", Weight.GOOD)
    others = [n for n in c.instance_names if n not in (name, c.current_primary) and (p := pods.value.get(n)) is not None and p.is_ready]
    if c.instances > 2 and not others:
        yield j.warn("no-spare", f"no instance beside {c.current_primary} and {name} is ready", "mend the others first")


def standby_row(facts: PgFacts, name: str) -> tuple[Standby | None, str]:
    """(what the primary tells of a standby, why nothing is known). By the instance manager, else by SQL."""
    primary, sql = facts.manager(facts.primary), facts.status(facts.primary)
    if primary is None and sql is None:
        return None, f"{facts.primary} answers neither at /pg/status nor over SQL"
    rows = primary.standbys if primary is not None and primary.standbys else sql.standbys if sql is not None else ()
    return next((row for row in rows if row.name == name), None), ""


def _of_replication(j: Judge) -> Iterator[Finding]:
    facts, name = j.facts, j.target
    if name == facts.primary:
        return
    row, unread = standby_row(facts, name)
    if unread:
        yield j.blind("stream-unread", f"whether {name} streams", unread, name)
    elif row is None:
        yield j.stop("not-streaming", f"{name} does not stream: {facts.primary} knows no such standby", "wait, or re-clone it", name)
    elif row.state != "streaming":
        yield j.stop("not-streaming", f"{name} does not stream from {facts.primary}: {row.state}", "wait until it has caught up", name)
    manager, sql = facts.manager(name), facts.status(name)
    if manager is None and sql is None:
        yield j.blind("instance-unread", f"the state of {name}", f"/pg/status: {_why(facts.managers.get(name))}", name)
        return
    if manager is not None and (manager.might_be_unavailable or manager.rewinding):
        yield j.stop("unavailable", f"{name} {'is being rewound' if manager.rewinding else 'is coming out of a fence'}", "wait", name)
    if (manager is not None and manager.replay_paused) or (sql is not None and sql.replay_paused):
        left = behind(facts, name)
        what = "all that it holds" if left is None else f"{left:,} bytes"
        sentence = f"replay is paused on {name}: its promotion ends the pause, and writes stop until it has replayed {what}"
        yield j.stop("paused", sentence, f"SELECT pg_wal_replay_resume() on {name}", name)
    receiving = manager.receiver_active if manager is not None else sql is not None and sql.receiver is not None
    if receiving is False:
        yield j.stop("no-receiver", f"the WAL receiver of {name} is down", "see why it does not connect: its log", name)


def _why(reading: object) -> str:
    return reading.reason if isinstance(reading, Unknown) else "not asked"


def _of_history(j: Judge) -> Iterator[Finding]:
    """System ID and timeline must be those of the primary, by whatever source tells them."""
    facts, name, c = j.facts, j.target, j.cluster
    if name == facts.primary:
        return
    systems = {source: value for source, value in (*_systems(facts, facts.primary), *_systems(facts, name)) if value}
    if len(set(systems.values())) > 1:
        told = ", ".join(f"{source} {value}" for source, value in systems.items())
        yield j.stop("system-id", f"{name} and {facts.primary} are not of one database: system ID by {told}", "re-clone it", name)
    ours = timeline_of(facts, facts.primary)
    theirs, sure = timeline_of_standby(facts, name)
    if ours is not None and theirs is not None and (theirs > ours or (sure and theirs < ours)):
        yield j.stop("timeline", f"{name} is on timeline {theirs}, {facts.primary} on {ours}", "wait, or re-clone it", name)
    if ours is None:
        yield j.blind("timeline-unread", f"the timeline of {facts.primary}", "neither /pg/status nor SQL nor the Cluster tells it")
    if c.timeline is not None and ours is not None and c.timeline != ours:
        yield j.warn("timeline-status", f"the Cluster says timeline {c.timeline}, {facts.primary} is on {ours}")


def _systems(facts: PgFacts, name: str) -> list[tuple[str, str]]:
    manager, sql = facts.manager(name), facts.status(name)
    found = [(f"/pg/status of {name}", manager.system_id)] if manager is not None else []
    return found + ([(f"SQL of {name}", sql.system_id)] if sql is not None else [])


def timeline_of(facts: PgFacts, name: str) -> int | None:
    """Of an instance, by whoever is nearest to it; the Cluster's word last (old during role changes)."""
    manager, sql = facts.manager(name), facts.status(name)
    if manager is not None and manager.timeline:
        return manager.timeline
    if sql is not None and sql.timeline:
        return sql.timeline
    reported = next((r.timeline for r in facts.cluster.reported if r.name == name), None)
    return reported or (facts.cluster.timeline if name == facts.primary else None)


def timeline_of_standby(facts: PgFacts, name: str) -> tuple[int | None, bool]:
    """(timeline, whether it is that of what it replays). Its control file, by which its manager and the Cluster tell, is old until a restartpoint
    (probes.go: pg_control_checkpoint), so a lower one of theirs says nothing against a standby that streams."""
    manager, sql = facts.manager(name), facts.status(name)
    if sql is not None and sql.timeline and sql.timeline_sure:
        return sql.timeline, True
    told = [line for line in (sql.timeline if sql is not None else None, manager.timeline if manager is not None else None) if line]
    reported = next((r.timeline for r in facts.cluster.reported if r.name == name), None)
    return (max(told) if told else reported or None), False


def behind(facts: PgFacts, name: str) -> int | None:
    """Bytes that an instance has not replayed yet, of what the primary has written. None: not known."""
    head, sql = facts.manager(facts.primary), facts.status(facts.primary)
    current = head.current if head is not None else sql.current if sql is not None else None
    row, _ = standby_row(facts, name)
    own, asked = facts.manager(name), facts.status(name)
    replays = [
        value
        for value in (
            row.replay if row is not None else None,
            own.replayed if own is not None else None,
            asked.replayed if asked is not None else None,
        )
        if value is not None
    ]
    return None if current is None or not replays else max(0, current - max(replays))


def _of_lag(j: Judge) -> Iterator[Finding]:
    facts, name = j.facts, j.target
    if name == facts.primary:
        return
    left, (row, _) = behind(facts, name), standby_row(facts, name)
    if left is None:
        yield j.blind("lag-unread", f"how far {name} is behind", "no position of it, or of the primary, could be read", name)
    elif left > SEGMENT_B:
        at = f" (it has replayed {lsn_text(row.replay)})" if row is not None and row.replay is not None else ""
        sentence = f"{name} has {left:,} bytes not replayed{at}: writes stop at least until it has"
        yield j.warn("lag", sentence, "wait until it has caught up", name, left)
    else:
        yield j.note("lag", f"{name} is {left:,} bytes behind in replay", Weight.GOOD)
    head = facts.manager(facts.primary)
    if row is not None and row.sync_state == "async" and head is not None:
        better = [r.name for r in head.standbys if r.sync_state in ("sync", "quorum") and r.name != name]
        if better:
            yield j.warn("async", f"{name} is asynchronous while {', '.join(better)} is synchronous", f"choose {better[0]}", name)


def _of_archive(j: Judge) -> Iterator[Finding]:
    facts, c = j.facts, j.cluster
    head, sql = facts.manager(facts.primary), facts.status(facts.primary)
    waiting = head.ready_wal if head is not None else None
    if waiting is None and sql is not None and sql.archiver is not None:
        waiting = sql.archiver.waiting
    condition = c.condition("ContinuousArchiving")
    failing = condition is not None and condition.status == "False"
    failing = failing or (head is not None and head.archiving is False and bool(head.last_failed_wal))
    longest = f"its shutdown waits for the archive, up to {c.switchover_delay_s:,} s (spec.switchoverDelay), and nobody leads meanwhile"
    if failing:
        count = "" if waiting is None else f", {counted(waiting, 'WAL segment')} waiting"
        yield j.warn("archive", f"WAL archiving of {facts.primary} fails{count}: {longest}", "mend the archive first", facts.primary)
    elif waiting is not None and waiting > READY_WAL:
        sentence = f"{waiting} WAL segments of {facts.primary} wait for the archive: {longest}"
        yield j.warn("archive-backlog", sentence, "wait until they are archived", facts.primary)
    elif waiting is None and c.archives:
        yield j.note("archive-unread", f"how much WAL waits for the archive: not evaluated, {facts.primary} does not tell")
    delay = f"the old primary has up to {c.switchover_delay_s:,} s to shut down (spec.switchoverDelay); then it is stopped hard"
    yield j.note("delay", delay)


def _of_work(j: Judge) -> Iterator[Finding]:
    facts, c = j.facts, j.cluster
    if isinstance(facts.backups, Unknown):
        yield j.blind("backups-unread", "whether a backup runs", facts.backups.reason)
    else:
        running = [b for b in facts.backups.value if b.cluster == c.name and b.phase in RUNNING_BACKUP]
        for backup in running:
            state = backup.phase or "pending"
            yield j.warn("backup", f"backup {backup.name} is {state}: it breaks off or begins again", "wait for its end")
    if isinstance(facts.sessions, Unknown):
        yield j.note("sessions-unread", f"which transactions would be cut: not evaluated, {facts.sessions.reason}")
        return
    since = [s.transaction_at for s in facts.sessions.value if s.transaction_at is not None]
    long = [j.now - at for at in since if j.now - at > LONG_TRANSACTION]
    if long:
        sentence = f"{counted(len(long), 'transaction')} open for longer than {LONG_TRANSACTION.seconds} s will be cut, the oldest after"
        yield j.warn("transactions", f"{sentence} {int(max(long).total_seconds()):,} s", "let them end first: coldtui postgres sessions")


def _of_node(j: Judge) -> Iterator[Finding]:
    facts, name = j.facts, j.target
    pod = facts.pod(name)
    if pod is None or not pod.node:
        return
    if isinstance(facts.nodes, Unknown):
        yield j.note("node-unread", f"the node of {name}: not evaluated, {facts.nodes.reason}")
        return
    node = facts.nodes.value.get(pod.node)
    if node is None or node.ready != "True":
        state = node.status.partition(",")[0] if node is not None else "gone"
        yield j.warn("node", f"{pod.node}, the node of {name}, is {state}", "choose another instance", name)
    elif node.unschedulable:
        yield j.warn("node", f"{pod.node}, the node of {name}, is cordoned", "uncordon it, or choose another instance", name)
    pressed = [] if node is None else [c.type for c in node.conditions if c.type.endswith("Pressure") and c.status == "True"]
    if pressed:
        yield j.warn("pressure", f"{pod.node}, the node of {name}, has {', '.join(pressed)}", "choose another instance", name)
    beside = [n for n in j.cluster.instance_names if n not in (name, facts.primary) and facts.node_of(n) == pod.node]
    if beside:
        yield j.warn("together", f"{name} shares {pod.node} with {', '.join(beside)}", "", name)


def _of_end(j: Judge) -> Iterator[Finding]:
    """The path by which it will be seen that it is done."""
    facts = j.facts
    if isinstance(facts.lease, Unknown):
        yield j.blind("lease-unread", "who holds the primary's lease", facts.lease.reason)
    elif facts.lease.value is not None and facts.lease.value.holder not in ("", facts.primary):
        yield j.stop("lease", f"the lease is held by {facts.lease.value.holder}, not by {facts.primary}", "find out who leads")
    if isinstance(facts.writers, Unknown):
        yield j.blind("writers-unread", "where the -rw Service leads to", facts.writers.reason)
    elif facts.writers.value != (facts.primary,):
        where = ", ".join(facts.writers.value) or "nobody"
        yield j.warn("writers", f"the -rw Service leads to {where}, not to {facts.primary} alone")
    path, other = facts.sql.get(VIP), vip_of_another(facts)
    if other and isinstance(path, Known):
        yield j.note("vip-other", f"{other}: the outage is measured through the -rw Service, if that is reached")
    elif isinstance(path, Known) and path.value.in_recovery:
        yield j.warn("vip", f"the VIP leads to a standby ({path.value.listens or '?'})")
    elif not isinstance(path, Known):
        why = path.reason if isinstance(path, Unknown) else "vip.probe is not configured"
        yield j.note("vip-unread", f"the VIP: not evaluated, {why}; the outage is measured through the -rw Service, if that is reached")


def of_remaking(j: Judge, act: str) -> Iterator[Finding]:
    """Whether the operator, which runs, would make the pod of the target again: it makes none while another instance is fenced, or has a pod that waits
    or ends (cluster_create.go, ensureInstancesAreCreated; cluster_controller.go, reconcileResources)."""
    c, name = j.cluster, j.target
    fenced = [n for n in c.instance_names if n != name and c.is_fenced(n)]
    if fenced and not c.maintenance:
        sentence = f"{', '.join(fenced)} fenced: the operator makes no pod again until that is lifted"
        yield j.stop(f"{act}.other-fenced", sentence, f"coldtui postgres unfence {fenced[0]}", fenced[0])
    pods = {} if isinstance(j.facts.pods, Unknown) else j.facts.pods.value
    for other in (n for n in c.instance_names if n != name and n in pods):
        pod = pods[other]
        if pod.deleted is not None or pod.phase == "Pending":
            state = "is being deleted" if pod.deleted is not None else f"is {pod.state}"
            yield j.stop(
                f"{act}.other-waits", f"{other} {state}: the operator makes no pod again before it runs", "wait, or mend it first", other
            )


def candidates(facts: PgFacts, now: datetime) -> tuple[str, ...]:
    """Instances that could lead, the best first: nothing against them, synchronous, few segments behind, by name."""

    def order(name: str) -> tuple[int, int, str]:
        row, _ = standby_row(facts, name)
        return (0 if row is not None and row.sync_state in ("sync", "quorum") else 1, (behind(facts, name) or 0) // SEGMENT_B, name)

    names = [n for n in facts.cluster.instance_names if n != facts.primary]
    fit = [n for n in names if max((f.outlook.rank for f in switchover_findings(facts, n, now)), default=0) == 0]
    return tuple(sorted(fit, key=order))
