"""What CloudNativePG will do by itself when a primary is lost, and why it may do nothing.

The causes are those of its sources (1.30: replicas.go, cluster_controller.go, cluster_status.go) and of its issue tracker (11346, 11348). Pure:
console and operations gather the same signs, each in its own way, and read the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .elections import FAIL_OVER, OR_FAIL_OVER, of_instances, some_manager_answers, unfence
from .elections import Act as Act
from .elections import Cause as Cause
from .elections import Signs as Signs
from .elections import candidates as candidates
from .postgres import FAILING_OVER, MAJOR_UPGRADE, NO_FAILOVER, ONLINE_UPGRADE, PgCluster
from .readings import Known, Reading, Unknown
from .text import counted
from .values import dataclass

if TYPE_CHECKING:
    from .pods import Pod

PENDING = "pending"
STALLED = timedelta(seconds=30)
"""An election that goes back and forth for longer will not end by itself (issue 11346). For less it is the rule: while a WAL receiver runs, `pending`
is taken back at each pass and written anew, once a second."""
EARLY = timedelta(seconds=12)
"""So long after its last word nobody can tell a dead server from a dead node: a kubelet renews its lease each 10 s."""
MARKED = timedelta(seconds=50)
"""After so long without its kubelet Kubernetes marks a node (node-monitor-grace-period), and its pods with it."""
ELECTION = timedelta(minutes=5)
"""What went back and forth before that belongs to another one."""
UPGRADE_DELAY_S = 30
"""The least that is waited while instance managers are upgraded online (replicas.go)."""
CHECK_FAILED = "PrimaryStatusCheckFailed"
CHECK_FRESH = timedelta(minutes=6)
"""The operator repeats that event as long as it holds; of many its recorder lets one through in 5 minutes."""
RECEIVER_S = 5
"""wal_receiver_timeout, as CloudNativePG sets it."""
STARTING = timedelta(seconds=30)
"""The server of a container that has just begun recovers from its crash."""
OUTLIVED = timedelta(seconds=5)
"""A Lease renewed so long after the pod was Ready last tells of a manager that lives (it does so every 2 s; clocks differ)."""
LED = timedelta(seconds=2)
"""Clocks differ, and an answer took its time."""
PASSING = frozenset({MAJOR_UPGRADE, "Promoting to primary cluster", "Primary instance is being restarted without a switchover"})
"""Phases in which the operator works at what will end them."""
OPEN_BY_HAND = frozenset({"operator", "disabled", "delay", "quorum"})
"""Causes that stand against the operator's election, and not against one by hand."""
POD_S, NODE_S = (10, 40), (60, 110)
"""From the primary's death to a new primary, as seen on a running cluster of 1.30: a dead container or pod, a dead or cut-off node."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is to be expected."""

    lost: str
    """What is wrong with the primary (`postgres-1 is not ready: CrashLoopBackOff`); empty: nothing is known to be."""
    causes: tuple[Cause, ...]
    """With a primary that is lost: why nothing happens. With one that is well: why nothing would."""
    blind: tuple[str, ...]
    """Premises that could not be read."""
    expected_s: tuple[int, int] | None
    """Least and most seconds from the loss to a new primary, where the operator is free to act; None: it is not, or nobody can tell."""
    since: datetime | None
    """When the primary was lost, as far as the Cluster and the pod tell."""
    under_way: str = ""
    """`electing`, or the instance that is to lead; empty: no failover is under way."""

    def overdue(self, now: datetime) -> bool:
        """Whether the operator has had all the time that it usually needs."""
        return self.expected_s is not None and self.since is not None and now - self.since > timedelta(seconds=self.expected_s[1])


def prospect(signs: Signs) -> Prospect:
    c = signs.cluster
    lost, since = lost_primary(signs)
    causes = tuple(_by_hand(cause) if lost else cause for cause in _causes(signs, bool(lost)))
    most = NODE_S if signs.node_trouble or _quiet(signs) else POD_S
    delay = delay_s(c)
    ends_alone = all(cause.until is not None for cause in causes)
    expected = (most[0] + delay, most[1] + delay) if lost and ends_alone else None
    return Prospect(lost, causes, tuple(_blind(signs)), expected, since, _under_way(c, bool(lost)))


def _by_hand(cause: Cause) -> Cause:
    """With what is open once the primary is lost, and does not need the operator or its consent."""
    if cause.code not in OPEN_BY_HAND or cause.acts:
        return cause
    return replace(cause, remedy=cause.remedy + OR_FAIL_OVER, acts=(FAIL_OVER,))


def delay_s(c: PgCluster) -> int:
    """So long the operator waits for a primary that fails before it elects another."""
    return max(c.failover_delay_s, UPGRADE_DELAY_S) if c.phase == ONLINE_UPGRADE else c.failover_delay_s


def _under_way(c: PgCluster, lost: bool) -> str:
    """While nobody can be elected yet, targetPrimary is `pending` and the old primary by turns, and the phase stays."""
    if c.target_primary == PENDING:
        return "electing"
    if c.phase != FAILING_OVER:
        return ""
    return c.target_primary if c.target_primary != c.current_primary else "electing" if lost else ""


def lost_primary(signs: Signs) -> tuple[str, datetime | None]:
    """(what is wrong with the primary, since when). Empty while a server that answers as primary is there."""
    c, name = signs.cluster, signs.primary
    if not name:
        return "", None  # a cluster that is being made has none to lose
    server, manager = signs.server(name), signs.manager(name)
    since = c.primary_failing_since
    if signs.node_trouble:
        return f"{name}: {signs.node_trouble}", since
    if signs.pods is not None:
        pod = signs.pods.get(name)
        if pod is None:
            return f"{name} has no pod", since
        since = since or (pod.ready_since if not pod.is_ready else None)
        if pod.deleted is not None:
            return f"{name} is being deleted", since or pod.deleted
        if not pod.is_ready:
            return f"{name} is not ready" + (f": {pod.state}" if pod.state != "Running" else ""), since
    if server is not None and not (server.in_recovery and _before_it_led(c, signs.sql[name])):
        return (f"{name} is in recovery", since) if server.in_recovery else ("", None)
    if manager is not None and not (not manager.is_primary and _before_it_led(c, signs.managers[name])):
        return ("", None) if manager.is_primary or manager.might_be_unavailable else (f"{name} says that it is a replica", since)
    asked = (signs.sql.get(name), signs.managers.get(name) if some_manager_answers(signs) else None)
    answers = [r for r in asked if isinstance(r, Unknown) and r.reason != "not asked"]
    if not answers or not any(signs.manager(other) or signs.server(other) for other in signs.replicas):
        return "", None  # nobody was asked, or nobody answers us at all: that is our way to them
    return f"{name} does not answer: {'; '.join(dict.fromkeys(r.reason for r in answers))}", since


def _before_it_led(c: PgCluster, said: Reading[object]) -> bool:
    """An answer of the standby that it was when it was asked, a moment before it became the primary."""
    return isinstance(said, Known) and c.current_primary_since is not None and said.as_of <= c.current_primary_since + LED


def _causes(signs: Signs, lost: bool) -> Iterator[Cause]:
    yield from _of_operator(signs)
    yield from _of_cluster(signs)
    if signs.cluster.phase == MAJOR_UPGRADE:
        return  # all its pods are away on purpose: what they lack says nothing
    yield from of_instances(signs, lost)
    yield from _of_primary(signs, lost)
    if lost:
        yield from _of_election(signs)


def _of_operator(signs: Signs) -> Iterator[Cause]:
    c, found = signs.cluster, signs.operator
    if isinstance(found, Known) and found.value is None:
        yield Cause("operator", "there is no deployment of the CloudNativePG operator", "install it")
    elif isinstance(found, Known) and found.value is not None and found.value.available < 1:
        few = f"{found.value.available} of {found.value.desired} available" if found.value.desired else "its deployment is scaled to 0"
        what = f"the operator is down: {few}"
        yield Cause("operator", what, f"bring deployment {found.value.key} back")
    if c.reconciliation_disabled:
        what = f"the operator ignores {c.name}: annotation cnpg.io/reconciliationLoop is disabled"
        yield Cause("disabled", what, "remove the annotation")
    if c.hibernated and not _awake_yet(c):
        yield Cause("hibernated", f"{c.name} is hibernated", "set annotation cnpg.io/hibernation to off")


def _awake_yet(c: PgCluster) -> bool:
    """Hibernation was asked for, and the operator goes on as ever until the cluster is healthy."""
    condition = c.condition("cnpg.io/hibernation")
    return condition is not None and condition.reason == "WaitingForHealthy"


def _of_cluster(signs: Signs) -> Iterator[Cause]:
    c, manager = signs.cluster, signs.manager(signs.primary)
    if c.is_fenced(signs.primary):
        who = "all instances are fenced" if c.all_fenced else f"{signs.primary} is fenced"
        yield Cause(
            "fenced", f"{who}: the operator elects nobody while its primary is", f"unfence {signs.primary}", acts=(unfence(signs.primary),)
        )
    elif manager is not None and manager.might_be_unavailable:
        what = f"{signs.primary} comes out of a fence, or is restarted in place (mightBeUnavailable): the operator waits for it"
        yield Cause("fenced", what, "wait until it is ready")
    if c.phase in NO_FAILOVER:
        why = f" ({c.phase_reason})" if c.phase_reason else ""
        remedy = "wait until it has ended" if c.phase in PASSING else "mend what the phase names"
        yield Cause("phase", f"no failover is attempted in phase {c.phase!r}{why}", remedy)
    if c.replica_cluster:
        yield Cause("phase", f"{c.name} follows another cluster and has no writable primary", "promote it by spec.replica")


def _of_primary(signs: Signs, lost: bool) -> Iterator[Cause]:
    """The pod looks well, or at least its manager does; what is in it does not. Of a server that answers SQL only its status may fail."""
    name, pod = signs.primary, signs.pods.get(signs.primary) if signs.pods is not None else None
    if signs.node_trouble or pod is None or pod.deleted is not None:
        return
    reading = signs.managers.get(name)
    fails = isinstance(reading, Unknown) and reading.reason != "not asked" and some_manager_answers(signs)
    said = signs.check_failed.value if isinstance(signs.check_failed, Known) else None
    event = lost and said is not None and signs.now - said < CHECK_FRESH
    if lost and fails and pod.is_ready and not event and (undecided := _undecided(signs)) is not None:
        yield undecided
        return
    if lost and fails and _renews(signs, pod):
        what = f"{name} does not answer, its pod is Ready and its manager still renews the Lease: it will neither stop nor be replaced"
        if not pod.is_ready:
            what = f"{name} does not answer, and its manager still renews the Lease: whoever is elected waits for it without end"
        yield Cause("wedged", what, f"{FAIL_OVER.words}: it deletes the pod, and proves that its server has stopped", acts=(FAIL_OVER,))
    if pod.is_ready and (fails or event):
        why = reading.reason if isinstance(reading, Unknown) and fails else CHECK_FAILED
        what = f"the pod of {name} is Ready while its status endpoint fails ({why}): the operator waits for it"
        remedy = f"see the log of {name}" + (OR_FAIL_OVER if lost else ", and what bars its port 8000")
        yield Cause("status-check", what, remedy, acts=(FAIL_OVER,) if lost else ())


def _quiet(signs: Signs) -> bool:
    """Whether the kubelet under a lost primary has missed a renewal: its node may be dead, and is not marked yet."""
    return signs.node_heard is not None and signs.now - signs.node_heard > EARLY


def _undecided(signs: Signs) -> Cause | None:
    """The pod of a dead node looks Ready until the node is marked: before that silence proves nothing, and nothing is to be done about the pod."""
    name, heard, said = signs.primary, signs.node_heard, signs.last_word
    if heard is not None and _quiet(signs) and signs.now < heard + MARKED:
        silent = int((signs.now - heard).total_seconds())
        what = f"the kubelet under {name} has been silent for {silent} s: if its node is dead, Kubernetes marks it after {MARKED.seconds} s"
        return Cause("status-check", what, "see whether that node is alive; wait", heard + MARKED)
    if said is not None and signs.now < said + EARLY:
        what = f"the pod of {name} is still Ready: whether its server, its pod or its node is dead shows within {EARLY.seconds} s"
        return Cause("status-check", what, "wait", said + EARLY)
    return None


def _renews(signs: Signs, pod: Pod) -> bool:
    """Whether the manager of the primary still keeps the Lease: renewed lately, and where the pod is not Ready any more, since then."""
    lease = signs.lease.value if isinstance(signs.lease, Known) else None
    if lease is None or lease.holder != signs.primary or lease.renewed is None:
        return False
    if signs.last_word is not None and (lease.after is None or lease.after <= signs.last_word):
        return False  # it may have died with its server, or with its node
    if not pod.is_ready and (pod.ready_since is None or lease.renewed < pod.ready_since + OUTLIVED):
        return False  # it may have died with its server
    begun = max((box.started for box in pod.containers if box.started is not None and not box.init), default=None)
    if begun is not None and signs.now - begun < STARTING:
        return False  # it died with its server: another one renews it, and starts the server again
    return signs.now - lease.renewed < timedelta(seconds=lease.duration_s or 15)


def _of_election(signs: Signs) -> Iterator[Cause]:
    c, delay = signs.cluster, delay_s(signs.cluster)
    if delay and c.primary_failing_since is not None:
        why = "spec.failoverDelay" if delay == c.failover_delay_s else "during an online upgrade"
        until = c.primary_failing_since + timedelta(seconds=delay)
        if until > signs.now:
            left = int((until - signs.now).total_seconds())
            yield Cause(
                "delay",
                f"the operator waits {left:,} s more ({why} {delay:,} s)",
                "wait",
                until,
            )
    reign = signs.cluster.current_primary_since  # what turned back before that was another election
    recent = [at for at in signs.turned_back if signs.now - at < ELECTION and (reign is None or at > reign)]
    if recent and signs.now - recent[0] > STALLED:
        for_s = int((signs.now - recent[0]).total_seconds())
        times = counted(len(recent), "time")
        what = f"the election went back to {c.current_primary} {times} in {for_s:,} s: it does not end (CloudNativePG issue 11346)"
        yield Cause("stalled", what, FAIL_OVER.words, acts=(FAIL_OVER,))
    yield from _of_receivers(signs, recent)


def _of_receivers(signs: Signs, recent: list[datetime]) -> Iterator[Cause]:
    """A receiver ends by itself moments after a primary that is dead or cut off; one that does not has a primary which still sends."""
    c = signs.cluster
    if c.target_primary != PENDING and c.phase != FAILING_OVER:
        return
    held = [name for name in signs.replicas if (m := signs.manager(name)) is not None and m.receiver_active]
    asked, reign = c.target_primary_since, c.current_primary_since
    begun = recent[0] if recent else asked if asked is not None and (reign is None or asked > reign) else None
    names = " and ".join(held)
    if held and begun is not None and signs.now < begun + STALLED:
        what = f"waits for the WAL receiver of {names} to end, usually within {RECEIVER_S} s of the primary"
        yield Cause("receiver", what, "wait", begun + STALLED)
    elif held:
        what = f"the WAL receiver of {names} still runs: nobody is elected before it has ended"
        yield Cause("receiver", what, f"see that the old primary {c.current_primary} is stopped")


def _blind(signs: Signs) -> Iterator[str]:
    """What a cause may hide behind."""
    if isinstance(signs.operator, Unknown):
        yield f"whether the operator runs ({signs.operator.reason})"
    if signs.pods is None:
        yield "the pods of the instances"
    if isinstance(signs.lease, Unknown):
        yield f"who holds the Lease ({signs.lease.reason})"
    wants = signs.cluster.synchronous is not None and signs.cluster.synchronous.quorum
    if wants and isinstance(signs.quorum, Unknown):
        yield f"the failover quorum ({signs.quorum.reason})"
    if signs.managers and not some_manager_answers(signs):
        reasons = dict.fromkeys(found.reason for found in signs.managers.values() if isinstance(found, Unknown))
        yield f"what the instances say at /pg/status ({'; '.join(reasons)})"
    if isinstance(signs.check_failed, Unknown):
        yield f"events of the operator ({signs.check_failed.reason})"
