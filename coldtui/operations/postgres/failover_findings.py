"""What a failover comes to, said before it: whether the primary is lost, what the operator would do by itself, who may lead, by which way, whether the
old primary is known to be stopped, and what would be lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...domain.plans import Finding, Outlook, Weight
from ...domain.readings import Unknown
from ...domain.replication import SEGMENT_B, lsn_text
from ...domain.text import counted
from .checks import Judge, address, timeline_of_standby
from .failover_case import Case, newest_timeline, unfit
from .failover_ways import AUTO, DELETE, PATCH, POWER, WAIT, WAYS, WORDS, span
from .positions import amount, end_of_primary, floor_of, reached, replayed


def failover_findings(case: Case) -> tuple[Finding, ...]:
    """Stops first; then what is not evaluated, warnings, notes and what is well."""
    parts = (_of_primary, _of_cluster, _of_waiting, _of_causes, _of_target, _of_proof, _of_loss, _of_ways, _of_service)
    found = [finding for part in parts for finding in part(case)]
    return tuple(sorted(found, key=lambda f: (-int(f.weight), f.outlook is not Outlook.NOT_EVALUATED)))


def _of_primary(case: Case) -> Iterator[Finding]:
    j, name, lost = case.judge, case.primary, case.prospect.lost
    if not name:
        yield j.stop("failover.none", f"{case.facts.cluster.name} has no primary yet", "wait until it is set up: coldtui postgres status")
    elif case.unread:
        yield j.blind("failover.primary-unread", f"how {name} is", "neither its pod nor its manager nor SQL tells", name)
    elif lost:
        yield j.note("failover.lost", f"the primary is lost: {lost}")
        silent = "does not answer" in lost
        if silent:
            yield j.warn(
                "failover.silent", f"only its silence speaks for it that {name} is lost: its pod is Ready", "look at its log", name
            )
    elif not case.prospect.under_way and not case.facts.cluster.is_fenced(name):  # of a fence see below
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
        yield j.note("failover.waiting", f"by itself the operator does nothing now, for {counted(len(case.codes), 'cause')} given here")
        return
    if p.since is None:
        yield j.note("failover.waiting", f"by itself the operator needs {span(p)}; since when {case.primary} is lost is not known")
        return
    had = int((case.now - p.since).total_seconds())
    words = "it should have promoted one" if p.overdue(case.now) else "waiting is gentler"
    yield j.note("failover.waiting", f"the operator has had {had:,} of {span(p)}: {words}")


def _of_causes(case: Case) -> Iterator[Finding]:
    """Why nothing happens by itself, each with its cure."""
    if not case.prospect.lost:
        return
    for cause in case.prospect.causes:
        if cause.code in ("fenced", "hibernated", "quorum"):
            continue  # said by those that stop it, and with the loss
        yield case.judge.warn(f"failover.cause-{cause.code}", cause.sentence, cause.besides)


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
        sentence = f"{to} has received {amount(short)} less than {best}: that would be lost besides"
        yield j.stop("failover.worse", sentence, f"choose {best}, or accept it with --accept-worse-candidate", to)
    elif short:
        sentence = f"{to} has received {amount(short)} less than {best}: that much more is lost, and {best} diverges"
        yield _loses(j, "failover.worse", sentence, lost=short)
    else:
        end = reached(facts.pg, to)
        yield j.note("failover.target", f"{to} has received most{f', up to {lsn_text(end)}' if end is not None else ''}", Weight.GOOD)
    yield from _of_replay(case, to)
    yield from _of_branch(case, to)


def _of_replay(case: Case, to: str) -> Iterator[Finding]:
    """A promotion ends a pause of the replay and replays all that there is (PostgreSQL 13 and later), however long that takes."""
    facts, j = case.facts, case.judge
    unplayed = (reached(facts.pg, to) or 0) - (replayed(facts.pg, to) or 0)
    manager = facts.pg.manager(to)
    if manager is not None and manager.replay_paused:
        sentence = f"replay is paused on {to}: its promotion ends the pause, and replays {amount(max(0, unplayed))} before it leads"
        yield j.warn("failover.paused", sentence, "", to, max(0, unplayed))
    elif unplayed > SEGMENT_B:
        yield j.warn("failover.replay", f"{to} has {amount(unplayed)} to replay before it leads", "", to, unplayed)


def _of_branch(case: Case, to: str) -> Iterator[Finding]:
    """A control file is old until a restartpoint: it rules nobody out, and is not kept quiet."""
    (line, sure), newest = timeline_of_standby(case.facts.pg, to), newest_timeline(case.facts)
    if line is not None and newest is not None and line < newest and not sure:
        sentence = f"{to} is on timeline {line} by its control file, the cluster on {newest}: it may have diverged"
        others = [name for name in case.ranked if name != to]
        remedy = f"see by SQL what it replays{f', or choose {others[0]}' if others else ''}"
        yield case.judge.warn("failover.branch", sentence, remedy, to)


def _loses(j: Judge, code: str, sentence: str, remedy: str = "", lost: int = 0) -> Finding:
    return Finding(f"postgres.{code}", Weight.WARNING, sentence, address(j.cluster), remedy, Outlook.WOULD_LOSE, amount=lost)


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
    if not to or not case.grave:
        return
    own, end, floor = reached(facts.pg, to), end_of_primary(facts.pg, case.asked.primary_lsn), floor_of(facts.pg)
    if own is None:
        yield j.blind("failover.loss", "what would be lost", f"what {to} has received is not known")
    elif end is not None and end.lsn >= own:
        lost = end.lsn - own
        words = f"{name} had written up to {lsn_text(end.lsn)} ({end.source}), {to} has received {lsn_text(own)}"
        if lost:
            yield _loses(
                j, "failover.loss", f"about {amount(lost)} would be lost: {words}", "not yet archived WAL stays on its volume", lost
            )
        else:
            yield j.note("failover.loss", f"0 bytes would be lost of what is known: {words}")
    else:
        sentence = f"what would be lost cannot be known: {_why_unknown(case, end is not None)}{_least(own, floor)}"
        remedy = "" if end is not None else "a position that was seen before is given by --primary-lsn"
        yield _loses(j, "failover.loss", sentence, remedy, max(0, floor[0] - own) if floor is not None else 0)
    yield from _of_quorum(case)


def _why_unknown(case: Case, older: bool) -> str:
    if older:
        return f"{case.to} has received more than what was last seen of {case.primary}"
    return f"{case.primary} answers neither SQL nor /pg/status, and its last position was not seen"


def _least(own: int, floor: tuple[int, str] | None) -> str:
    if floor is None or floor[0] <= own:
        return ""
    return f"; at least {amount(floor[0] - own)}, since {floor[1]}"


def _of_quorum(case: Case) -> Iterator[Finding]:
    """The operator does not elect then; a hand may, and takes the loss on itself."""
    for cause in case.prospect.causes:
        if cause.code == "quorum":
            sentence = f"{cause.sentence}: commits that clients were told of may be missing on {case.to}"
            yield _loses(case.judge, "failover.quorum", sentence, cause.besides)


def _of_ways(case: Case) -> Iterator[Finding]:
    """Which way, and why each other is left out."""
    j, chosen = case.judge, case.chosen
    if not case.grave:
        return
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
    elif case.to:
        yield j.stop("failover.way", "no way is open: see each below", _how_to_prove(case))


def _of_service(case: Case) -> Iterator[Finding]:
    """Promotion is the instances' own; the service is moved by the operator alone."""
    if not case.chosen.way or not case.grave:
        return
    if who := case.without_operator:
        sentence = f"{who}: {case.to} is promoted, and the -rw Service does not lead to it before that has ended"
        how = "remove the annotation" if case.facts.cluster.reconciliation_disabled else "bring the operator back"
        yield case.judge.warn("failover.service", sentence, f"{how}; the run waits for it")
    if case.chosen.way == POWER and case.facts.pod is not None:
        node = case.facts.pod.node
        yield case.judge.note("failover.taint", f"the taint stays on {node}: remove it only when the machine is back, or was made anew")
