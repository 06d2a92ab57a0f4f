"""What a failover comes to, judged before it: whether the primary is lost, what the operator would do by itself, who may lead, by which way, whether the
old primary is known to be stopped, and what would be lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from ...domain.failover import Prospect, Signs, candidates, prospect
from ...domain.plans import Fate, Finding, Outlook, PlanItem, Weight
from ...domain.pods import Pod
from ...domain.readings import Known, Unknown
from ...domain.replication import SEGMENT_B, lsn_text
from ...domain.text import counted
from ...domain.values import dataclass
from .checks import Judge, address, timeline_of, timeline_of_standby
from .failover_facts import CONTAINER, FailoverFacts, end_of_primary, floor_of, received, replayed

AUTO, WAIT, POWER, PATCH, DELETE = "auto", "wait", "out-of-service", "patch", "delete-pod"
WAYS = (WAIT, POWER, PATCH, DELETE)
"""In the order in which they are tried (reference of CloudNativePG's emergencies: waiting is the gentlest)."""
WORDS = {
    WAIT: "let the operator fail over",
    POWER: "declare the node of the old primary out of service",
    PATCH: "name the new primary by hand",
    DELETE: "delete the pod of the old primary without grace",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, beside the cluster."""

    to: str = ""
    way: str = AUTO
    worse: bool = False
    """A replica that has received less than another is accepted."""
    off: bool = False
    """Whoever asks answers for it that the old primary is off."""
    primary_lsn: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """That the old primary is stopped."""

    kind: str
    """`container`, `gone`, `released`, `host`, `declared`; `lease` once it was seen to be left alone for its whole duration."""
    sentence: str
    hard: bool = True
    """Its server cannot be running. A Lease that is not renewed proves only that its manager does not reach the API."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What will be done, and why nothing else."""

    to: str
    """Empty: nobody can lead."""
    way: str
    """Empty: no way is open."""
    by_hand: bool
    """The new primary is named by us and not elected by the operator."""
    closed: Mapping[str, str]
    """way -> why it is not open."""


class Case:
    """One cluster and what is asked for, with what follows from both worked out once."""

    def __init__(self, facts: FailoverFacts, asked: Asked, now: datetime) -> None:
        self.facts, self.asked, self.now = facts, asked, now
        self.judge = Judge(facts.pg, asked.to, now)
        self.signs: Signs = facts.signs(now)
        self.prospect: Prospect = prospect(self.signs)
        self.ranked = ranked(facts, self.signs)
        self.to = asked.to or (self.ranked[0] if self.ranked else "")
        self.proof = proof_of(facts, asked.off)
        self.chosen = choose(self)

    @property
    def primary(self) -> str:
        return self.facts.primary

    @property
    def codes(self) -> frozenset[str]:
        """Of the causes for which the operator does nothing and that do not end by themselves."""
        return frozenset(cause.code for cause in self.prospect.causes if cause.until is None)

    @property
    def operator_runs(self) -> bool:
        found = self.facts.pg.operator
        return isinstance(found, Known) and found.value is not None and found.value.available > 0

    @property
    def renews(self) -> bool | None:
        """Whether the old primary's manager was seen to renew the Lease; None: could not be seen."""
        lease, seen = self.facts.lease, self.facts.renews
        if isinstance(seen, Unknown):
            return None
        return seen.value and lease is not None and lease.holder == self.primary

    @property
    def unread(self) -> bool:
        """Nothing tells how the primary is: neither its pod nor its manager nor SQL."""
        silent = self.facts.pg.manager(self.primary) is None and self.facts.pg.status(self.primary) is None
        return bool(self.primary) and silent and not self.facts.pods_read and not self.facts.node_trouble

    def shortfall(self, name: str) -> int:
        """Bytes that the best replica has received and this one has not."""
        best = max((received(self.facts.pg, n) or 0 for n in self.ranked), default=0)
        return max(0, best - (received(self.facts.pg, name) or 0))


# ------------------------------------------------------------ who


def ranked(facts: FailoverFacts, signs: Signs) -> tuple[str, ...]:
    """Replicas that may lead, in the operator's own order: most received, then most replayed, then by name."""
    fit = [name for name in candidates(signs) if not unfit(facts, signs, name)]
    return tuple(sorted(fit, key=lambda n: (-(received(facts.pg, n) or 0), -(replayed(facts.pg, n) or 0), n)))


def unfit(facts: FailoverFacts, signs: Signs, name: str) -> str:
    """Why a replica may not lead; empty: nothing known against it."""
    pg, c = facts.pg, facts.cluster
    if name == pg.primary:
        return "is the old primary"
    if c.is_fenced(name):
        return "is fenced"
    pod = pg.pod(name)
    if facts.pods_read and pod is None:
        return "has no pod"
    if pod is not None and (pod.deleted is not None or not pod.is_ready):
        return "is being deleted" if pod.deleted is not None else f"is not ready: {pod.state}"
    manager = pg.manager(name)
    if manager is None:
        reading = pg.managers.get(name)
        return f"does not answer at /pg/status: {reading.reason if isinstance(reading, Unknown) else 'not asked'}"
    if manager.is_primary:
        return "says that it is primary"
    if manager.rewinding or manager.might_be_unavailable:
        return "is being rewound" if manager.rewinding else "comes out of a fence"
    if not facts.pods_read:
        return "its pod could not be read"
    return _of_another_history(facts, name)


def _of_another_history(facts: FailoverFacts, name: str) -> str:
    pg, manager, sql = facts.pg, facts.pg.manager(name), facts.pg.status(name)
    own = {s for s in (manager.system_id if manager is not None else "", sql.system_id if sql is not None else "") if s}
    if pg.cluster.system_id and own - {pg.cluster.system_id}:
        return f"is of another database: system ID {', '.join(sorted(own))}, the cluster's is {pg.cluster.system_id}"
    (line, sure), newest = timeline_of_standby(pg, name), newest_timeline(facts)
    if sure and line is not None and newest is not None and line < newest:
        return f"is on timeline {line}, the cluster on {newest}"
    return ""


def newest_timeline(facts: FailoverFacts) -> int | None:
    lines = [timeline_of(facts.pg, facts.primary), facts.cluster.timeline]
    found = [line for line in lines if line]
    return max(found) if found else None


def items_of(case: Case) -> tuple[PlanItem, ...]:
    """A row for each replica: what it has, and whether it may lead."""
    facts, signs = case.facts, case.signs
    return tuple(_item(case, name, unfit(facts, signs, name)) for name in facts.cluster.instance_names if name != facts.primary)


def _item(case: Case, name: str, why: str) -> PlanItem:
    facts, pg = case.facts, case.facts.pg
    manager, pod = pg.manager(name), pg.pod(name)
    active = manager.receiver_active if manager is not None else None
    line, _ = timeline_of_standby(pg, name)
    told = (
        ("received", _position(received(pg, name))),
        ("replayed", _position(replayed(pg, name))),
        ("timeline", str(line) if line is not None else "not known"),
        ("WAL receiver", "not known" if active is None else "runs" if active else "stopped"),
        ("pod", pod.state if pod is not None else "not known" if not facts.pods_read else "none"),
        ("node", (pod.node if pod is not None else "") or "none"),
    )
    if why:
        fate = Fate.NEVER if facts.pods_read else Fate.NOT_EVALUATED
        return PlanItem(address(facts.cluster, name), fate, f"{name} {why}", facts=told)
    leads = name == case.to
    words = f"{name} is to lead" if leads else f"{name} could lead"
    return PlanItem(address(facts.cluster, name), Fate.GOES if leads else Fate.STAYS, words, facts=told)


def _position(value: int | None) -> str:
    return "not known" if value is None else lsn_text(value)


# ------------------------------------------------------------ whether the old primary is stopped


def proof_of(facts: FailoverFacts, off: bool) -> Proof | None:
    """What proves now that the server of the old primary does not run; None: nothing yet."""
    return _by_kubelet(facts) or _by_host(facts) or _by_lease(facts) or _declared(facts, off)


def _by_kubelet(facts: FailoverFacts) -> Proof | None:
    name, pod, nodes = facts.primary, facts.pod, facts.pg.nodes
    if not facts.pods_read or isinstance(nodes, Unknown) or facts.node_trouble:
        return None
    if pod is None:
        away = [n.name for n in nodes.value.values() if n.ready != "True"]
        return None if away else Proof("gone", f"{name} has no pod, and every kubelet answers")
    node = nodes.value.get(pod.node)
    stopped = container_stopped(pod)
    if node is None or node.ready != "True" or not stopped:
        return None
    return Proof("container", f"the kubelet of {pod.node} says that container {CONTAINER} of {name} {stopped}")


def container_stopped(pod: Pod) -> str:
    """`is terminated (137)`, `waits: CrashLoopBackOff`; empty: it runs, or nothing is said of it."""
    one = next((c for c in pod.containers if c.name == CONTAINER and not c.init), None)
    if one is None or one.state not in ("terminated", "waiting"):
        return ""
    if one.state == "terminated":
        return f"is terminated ({one.reason or one.exit_code})"
    return f"does not run: {one.reason or 'waiting'}"


def _by_host(facts: FailoverFacts) -> Proof | None:
    if not isinstance(facts.host, Known) or facts.host.value or facts.pod is None:
        return None
    return Proof("host", f"no container {CONTAINER} of {facts.primary} runs on {facts.pod.node}, by its container runtime over SSH")


def _by_lease(facts: FailoverFacts) -> Proof | None:
    lease = facts.lease
    if lease is None or lease.holder:
        return None
    return Proof("released", f"{facts.primary} has given the lease back, which it does once its server is down")


def _declared(facts: FailoverFacts, off: bool) -> Proof | None:
    return Proof("declared", f"whoever confirms answers for it that {facts.primary} is off") if off else None


# ------------------------------------------------------------ by which way


def choose(case: Case) -> Chosen:
    """The first way that is open, or the one asked for."""
    closed = {way: why for way in WAYS if (why := _closed(case, way))}
    wanted = case.asked.way
    if wanted == AUTO:
        way = next((w for w in WAYS if w not in closed), "")
    else:
        way = wanted if wanted not in closed else ""
    by_hand = way == PATCH or (way in (POWER, DELETE) and bool(_no_election(case)))
    return Chosen(case.to, way, by_hand, closed)


def _closed(case: Case, way: str) -> str:
    """Why a way is not open; empty: it is."""
    return {WAIT: _no_waiting, POWER: _no_power, PATCH: _no_patch, DELETE: _no_delete}[way](case)


def _no_election(case: Case) -> str:
    """Why the operator would not elect the one that is to lead, even with the old primary gone; empty: it would."""
    if not case.operator_runs:
        return "the operator is not known to run"
    waits = [c for c in case.prospect.causes if c.code == "unready" and not c.sentence.startswith(f"{case.primary} ")]
    if waits:
        return waits[0].sentence
    held = case.codes & {"disabled", "hibernated", "phase", "quorum", "two-primaries", "no-replica", "fenced", "stalled"}
    if held:
        return next(cause.sentence for cause in case.prospect.causes if cause.code in held)
    if case.ranked and case.to != case.ranked[0]:
        return f"it would elect {case.ranked[0]}"
    return ""


def _no_waiting(case: Case) -> str:
    if why := _no_election(case):
        return why
    if case.codes:
        return next(cause.sentence for cause in case.prospect.causes if cause.until is None)
    if case.prospect.expected_s is None:
        return "nobody can tell how long it would take"
    if case.prospect.overdue(case.now):
        since = case.prospect.since
        had = int((case.now - since).total_seconds()) if since is not None else 0
        return f"the operator has had {had:,} s and needs {_span(case.prospect)}"
    return ""


def _no_power(case: Case) -> str:
    facts, pod = case.facts, case.facts.pod
    if pod is None or not pod.node:
        return f"the node of {case.primary} is not known"
    if not facts.node_trouble:
        return f"{pod.node} is Ready: declaring a living node out of service corrupts data"
    if not facts.rights.patch_nodes:
        return "it needs patch on nodes (RBAC)"
    if case.proof is None or case.proof.kind not in ("host", "declared"):
        told = facts.host.reason if isinstance(facts.host, Unknown) else f"{CONTAINER} of {case.primary} still runs there"
        return f"nothing proves that {pod.node} is off: {told}"
    return ""


def _no_patch(case: Case) -> str:
    if not case.facts.rights.patch_status:
        return "it needs patch on clusters/status (RBAC)"
    if case.renews:
        return f"the manager of {case.primary} renews the lease: {case.to or 'the new primary'} would wait for it without end"
    if case.proof is None and not _lease_will_tell(case):
        return f"nothing proves that {case.primary} is stopped"
    return ""


def _lease_will_tell(case: Case) -> bool:
    """A Lease of the old primary that was not renewed between two looks: the run watches it for its whole duration."""
    lease = case.facts.lease
    return lease is not None and lease.holder == case.primary and case.renews is False


def _no_delete(case: Case) -> str:
    facts, pod, node = case.facts, case.facts.pod, case.facts.node
    if pod is None:
        return f"{case.primary} has no pod" if facts.pods_read else "the pods of the instances could not be read"
    if facts.node_trouble or node is None or node.ready != "True":
        where = facts.node_trouble or f"whether {pod.node or 'its node'} is Ready is not known"
        return f"{where}: deleting a pod stops nothing there"
    if not facts.rights.delete_pods:
        return "it needs delete on pods (RBAC)"
    if why := _no_election(case):
        return "" if facts.rights.patch_status else f"{why}, and naming one needs patch on clusters/status (RBAC)"
    return ""


def _span(found: Prospect) -> str:
    least, most = found.expected_s or (0, 0)
    return f"{least:,} to {most:,} s"


# ------------------------------------------------------------ findings


def failover_findings(case: Case) -> tuple[Finding, ...]:
    """Stops first; then what is not evaluated, warnings, notes and what is well."""
    parts = (_of_primary, _of_cluster, _of_waiting, _of_causes, _of_target, _of_proof, _of_loss, _of_ways, _of_service)
    found = [finding for part in parts for finding in part(case)]
    return tuple(sorted(found, key=lambda f: (-int(f.weight), f.outlook is not Outlook.NOT_EVALUATED)))


def _of_primary(case: Case) -> Iterator[Finding]:
    j, name, lost = case.judge, case.primary, case.prospect.lost
    if case.unread:
        yield j.blind("failover.primary-unread", f"how {name} is", "neither its pod nor its manager nor SQL tells", name)
    elif lost:
        yield j.note("failover.lost", f"the primary is lost: {lost}")
        silent = "does not answer" in lost
        if silent:
            yield j.warn(
                "failover.silent", f"only its silence speaks for it that {name} is lost: its pod is Ready", "look at its log", name
            )
    elif not case.prospect.under_way:
        remedy = f"coldtui postgres switchover --to {case.to}" if case.to else "coldtui postgres switchover"
        yield j.stop("failover.well", f"{name} is well: switch over instead", remedy, name)


def _of_cluster(case: Case) -> Iterator[Finding]:
    c, j, name = case.facts.cluster, case.judge, case.primary
    if c.is_fenced(name):
        who = "all instances are fenced" if c.all_fenced else f"{name} is fenced"
        sentence = f"{who}: a fenced primary keeps its lease, and nobody is elected while it is fenced"
        yield j.stop("failover.fenced", sentence, f"lift the fence first: coldtui postgres unfence {name}", name)
    if c.hibernated:
        yield j.stop("failover.hibernated", f"{c.name} is hibernated", "set annotation cnpg.io/hibernation to off first")
    if c.replica_cluster:
        yield j.stop(
            "failover.replica-cluster", f"{c.name} follows another cluster and has no writable primary", "promote it by spec.replica"
        )
    if c.fenced_unreadable:
        yield j.blind("failover.fence-unreadable", f"what is fenced in {c.name}", f"the annotation is no list: {c.fenced_unreadable}")
    for number, premise in enumerate(case.prospect.blind):
        what, _, why = premise.partition(" (")
        yield j.blind(f"failover.blind-{number}", what, why.removesuffix(")") or "could not be read")


def _of_waiting(case: Case) -> Iterator[Finding]:
    """What the operator would do by itself, and how long that takes."""
    j, p = case.judge, case.prospect
    if not p.lost and not p.under_way:
        return
    if p.under_way:
        who = "it elects a new primary" if p.under_way == "electing" else f"{p.under_way} is to lead"
        yield j.note("failover.under-way", f"the operator fails over by itself: {who}")
    if p.expected_s is None:
        yield j.note("failover.waiting", f"by itself the operator does nothing now: {counted(len(case.codes), 'cause')} below")
        return
    if p.since is None:
        yield j.note("failover.waiting", f"by itself the operator needs {_span(p)}; since when {case.primary} is lost is not known")
        return
    had = int((case.now - p.since).total_seconds())
    words = "it should have promoted one" if p.overdue(case.now) else "waiting is gentler"
    yield j.note("failover.waiting", f"the operator has had {had:,} of {_span(p)}: {words}")


def _of_causes(case: Case) -> Iterator[Finding]:
    """Why nothing happens by itself, each with its cure."""
    if not case.prospect.lost:
        return
    for cause in case.prospect.causes:
        if cause.code in ("fenced", "hibernated", "quorum"):
            continue  # said by those that stop it, and with the loss
        yield case.judge.warn(f"failover.cause-{cause.code}", cause.sentence, cause.remedy)


def _of_target(case: Case) -> Iterator[Finding]:
    facts, j, to = case.facts, case.judge, case.to
    if not to:
        yield j.stop("failover.nobody", "no replica may lead: see the rows below", "bring a replica back first, or restore")
        return
    if to == case.primary:
        yield j.stop("failover.same", f"{to} is the primary that is lost", "choose another instance", to)
        return
    if why := unfit(facts, case.signs, to):
        best = f"choose {case.ranked[0]}" if case.ranked else "bring a replica back first"
        yield j.stop("failover.unfit", f"{to} {why}", best, to)
        return
    short, best = case.shortfall(to), case.ranked[0]
    if short and not case.asked.worse:
        sentence = f"{to} has received {short:,} bytes less than {best}: they would be lost besides"
        yield j.stop("failover.worse", sentence, f"choose {best}, or accept it with --accept-worse-candidate", to)
    elif short:
        yield _loses(
            j, "failover.worse", f"{to} has received {short:,} bytes less than {best}: that much more is lost, and {best} diverges"
        )
    else:
        end = received(facts.pg, to)
        yield j.note("failover.target", f"{to} has received most{f', up to {lsn_text(end)}' if end is not None else ''}", Weight.GOOD)
    unplayed = (received(facts.pg, to) or 0) - (replayed(facts.pg, to) or 0)
    manager = facts.pg.manager(to)
    if manager is not None and manager.replay_paused:
        yield j.stop(
            "failover.paused", f"replay is paused on {to}: its promotion would not end", f"SELECT pg_wal_replay_resume() on {to}", to
        )
    elif unplayed > SEGMENT_B:
        yield j.warn("failover.replay", f"{to} has {unplayed:,} bytes to replay before it leads", "", to)


def _loses(j: Judge, code: str, sentence: str, remedy: str = "") -> Finding:
    return Finding(f"postgres.{code}", Weight.WARNING, sentence, address(j.cluster), remedy, Outlook.WOULD_LOSE)


def _of_proof(case: Case) -> Iterator[Finding]:
    """That two primaries cannot be: proven now, proven by the run, or demanded."""
    j, way, name, proof = case.judge, case.chosen.way, case.primary, case.proof
    if not case.prospect.lost and not case.unread:
        return
    if way == WAIT:
        yield j.note("failover.proof", f"the operator and the lease see to it that {name} is stopped first")
    elif proof is not None:
        grave = proof.kind == "declared"
        yield (
            j.warn("failover.proof", proof.sentence, "it goes into the audit")
            if grave
            else j.note("failover.proof", proof.sentence, Weight.GOOD)
        )
    elif way == DELETE:
        yield j.note("failover.proof", f"{name} is stopped by its kubelet, which this run waits for before anybody is promoted")
    elif way == PATCH:
        seconds = case.facts.lease.duration_s if case.facts.lease is not None else 0
        sentence = f"the manager of {name} was not seen to renew its lease: the run waits until {seconds} s have passed without"
        yield j.note("failover.proof", sentence)
        if case.facts.node_trouble:
            beyond = f"{name} may still run, cut off with its node ({case.facts.node_trouble}): what its clients write there is lost"
            yield _loses(j, "failover.cut-off", beyond, "see that the machine is off")
    else:
        yield j.stop("failover.unproven", f"nothing proves that {name} is stopped", _how_to_prove(case), name)


def _how_to_prove(case: Case) -> str:
    reached = case.facts.host.reason if isinstance(case.facts.host, Unknown) else ""
    told = f" (SSH: {reached})" if reached and reached != "not asked" else ""
    return f"see that its machine is off{told}, then answer for it with --old-primary-is-off"


def _of_loss(case: Case) -> Iterator[Finding]:
    """In bytes; what cannot be known is never called nothing."""
    facts, j, to, name = case.facts, case.judge, case.to, case.primary
    if not to or not (case.prospect.lost or case.unread or case.prospect.under_way):
        return
    own, end, floor = received(facts.pg, to), end_of_primary(facts.pg, case.asked.primary_lsn), floor_of(facts.pg)
    if own is None:
        yield j.blind("failover.loss", "what would be lost", f"what {to} has received is not known")
    elif end is not None and end.lsn >= own:
        lost = end.lsn - own
        words = f"{name} had written up to {lsn_text(end.lsn)} ({end.source}), {to} has received {lsn_text(own)}"
        if lost:
            yield _loses(j, "failover.loss", f"about {lost:,} bytes would be lost: {words}", "not yet archived WAL stays on its volume")
        else:
            yield j.note("failover.loss", f"0 bytes would be lost of what is known: {words}")
    else:
        yield _loses(j, "failover.loss", f"what would be lost cannot be known: {_why_unknown(case, end is not None)}{_least(own, floor)}")
    yield from _of_quorum(case)


def _why_unknown(case: Case, older: bool) -> str:
    if older:
        return f"{case.to} has received more than what was last seen of {case.primary}"
    return f"{case.primary} answers neither SQL nor /pg/status, and nobody gave --primary-lsn"


def _least(own: int, floor: tuple[int, str] | None) -> str:
    if floor is None or floor[0] <= own:
        return ""
    return f"; at least {floor[0] - own:,} bytes, since {floor[1]}"


def _of_quorum(case: Case) -> Iterator[Finding]:
    """The operator does not elect then; a hand may, and takes the loss on itself."""
    for cause in case.prospect.causes:
        if cause.code == "quorum":
            sentence = f"{cause.sentence}: commits that clients were told of may be missing on {case.to}"
            yield _loses(case.judge, "failover.quorum", sentence, cause.remedy)


def _of_ways(case: Case) -> Iterator[Finding]:
    """Which way, and why each other is left out."""
    j, chosen = case.judge, case.chosen
    for way in WAYS:
        if way in chosen.closed:
            yield j.note(f"failover.way-{way}", f"not by {way}: {chosen.closed[way]}")
        elif way != chosen.way:
            yield j.note(f"failover.way-{way}", f"{way} is open too: {WORDS[way]}")
    if chosen.way:
        by_hand = f", then name {case.to} by hand" if chosen.by_hand and chosen.way != PATCH else ""
        yield j.note("failover.way", f"by {chosen.way}: {WORDS[chosen.way]}{by_hand}", Weight.GOOD)
    elif case.asked.way != AUTO:
        open_ = [way for way in WAYS if way not in chosen.closed]
        remedy = f"choose --way {open_[0]}" if open_ else _how_to_prove(case)
        yield j.stop("failover.way", f"the way {case.asked.way} is not open: {chosen.closed[case.asked.way]}", remedy)
    elif case.to and (case.prospect.lost or case.unread):
        yield j.stop("failover.way", "no way is open: see each below", _how_to_prove(case))


def _of_service(case: Case) -> Iterator[Finding]:
    """Promotion is the instances' own; the service is moved by the operator alone."""
    if not case.chosen.way:
        return
    if not case.operator_runs or "disabled" in case.codes:
        who = "reconciliation is disabled" if "disabled" in case.codes else "the operator is not known to run"
        sentence = f"{who}: {case.to} is promoted, and the -rw Service does not lead to it before the operator works again"
        yield case.judge.warn("failover.service", sentence, "bring the operator back; the run waits for it")
    if case.chosen.way == POWER and case.facts.pod is not None:
        node = case.facts.pod.node
        yield case.judge.note("failover.taint", f"the taint stays on {node}: remove it only when the machine is back, or was made anew")
