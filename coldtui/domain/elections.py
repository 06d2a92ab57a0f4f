"""Whom CloudNativePG could elect: what is known of a cluster, from whatever source, and the order and the conditions of its election.

Those of replicas.go, cluster_controller.go, replicas_quorum.go and pkg/postgres/status.go of 1.30. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from .postgres import PgCluster
from .readings import Known, Reading, Unknown
from .replication import FailoverQuorum, ManagerStatus, PrimaryLease, SqlStatus
from .text import counted
from .values import dataclass

if TYPE_CHECKING:
    from .deployments import Deployment
    from .pods import Pod


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a cluster, from whatever source."""

    cluster: PgCluster
    now: datetime
    pods: Mapping[str, Pod] | None
    """Of instances, by name; None: not read."""
    managers: Mapping[str, Reading[ManagerStatus]]
    sql: Mapping[str, Reading[SqlStatus]]
    operator: Reading[Deployment | None]
    lease: Reading[PrimaryLease | None]
    quorum: Reading[FailoverQuorum | None]
    """Asked only where the cluster wants one (`spec.postgresql.synchronous.failoverQuorum`)."""
    check_failed: Reading[datetime | None]
    """When the operator last said PrimaryStatusCheckFailed of this cluster; None: never, as far as events go back."""
    node_trouble: str = ""
    """Why the node of the primary is not to be trusted; empty: nothing known against it."""
    last_word: datetime | None = None
    """When the primary last answered as one, by whatever source; None: it never did here."""
    node_heard: datetime | None = None
    """When the kubelet of its node renewed its lease last; None: not known."""
    turned_back: tuple[datetime, ...] = ()
    """When targetPrimary was seen to go from `pending` back to the old primary."""

    @property
    def primary(self) -> str:
        return self.cluster.current_primary

    def manager(self, name: str) -> ManagerStatus | None:
        found = self.managers.get(name)
        return found.value if isinstance(found, Known) else None

    def server(self, name: str) -> SqlStatus | None:
        found = self.sql.get(name)
        return found.value if isinstance(found, Known) else None

    def ready(self, name: str) -> bool | None:
        """Of its pod; None: not known."""
        if self.pods is None:
            return None
        pod = self.pods.get(name)
        return pod is not None and pod.is_ready and pod.deleted is None

    @property
    def replicas(self) -> tuple[str, ...]:
        return tuple(name for name in self.cluster.instance_names if name != self.primary)


@dataclass(frozen=True, slots=True)
class Act:
    """One of our own acts in a remedy. Each face names it in its own way: a key, or a command."""

    name: str
    """Of the operation: `postgres.failover`."""
    words: str
    """As the remedy says it: `fail over`."""
    object: str = ""
    """The instance; empty: the cluster itself."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why no failover happens."""

    code: str
    """`fenced`, `status-check`, `phase`, `no-replica`, `unready`, `delay`, `quorum`, `receiver`, `two-primaries`, `operator`, `disabled`, `hibernated`,
    `stalled`, `wedged`."""
    sentence: str
    """Names the object and the number."""
    remedy: str
    """Complete, and of no face: our own acts stand in it by their words."""
    until: datetime | None = None
    """When it ends by itself, where that is known."""
    acts: tuple[Act, ...] = ()
    """Those in the remedy."""

    def advice(self, say: Callable[[Act], str]) -> str:
        """The remedy, with its acts as a face says them (`x: fail over`)."""
        said = self.remedy
        for act in self.acts:
            said = said.replace(act.words, say(act), 1)
        return said

    @property
    def besides(self) -> str:
        """The remedy for one who is at failing over already; empty: there is no other."""
        return "" if self.remedy.startswith(FAIL_OVER.words) else self.remedy.removesuffix(OR_FAIL_OVER)


FAIL_OVER = Act("postgres.failover", "fail over")
OR_FAIL_OVER = f", or {FAIL_OVER.words}"


def fence(name: str) -> Act:
    return Act("postgres.fence", f"fence {name}", name)


def unfence(name: str, words: str = "") -> Act:
    return Act("postgres.unfence", words or f"unfence {name}", name)


def of_instances(signs: Signs, lost: bool) -> Iterator[Cause]:
    c = signs.cluster
    claims = {name for name in c.instance_names if (m := signs.manager(name)) is not None and m.is_primary}
    claims |= {name for name in c.instance_names if (s := signs.server(name)) is not None and not s.in_recovery}
    if len(claims) > 1:
        names = " and ".join(sorted(claims))
        what = f"{names} both say that they are primary: the operator does nothing until one has changed"
        yield Cause("two-primaries", what, *_of_wrong(signs, claims))
    standing = candidates(signs)
    if not signs.replicas:
        yield _alone(signs, lost)
    elif not standing and signs.pods is not None and (_asked(signs) or not _may_stand(signs)):
        dead = "; ".join(f"{name}: {_why(signs, name)}" for name in signs.replicas)
        yield Cause("no-replica", f"no replica could be elected: {dead}", "bring a replica back first")
    elif standing:
        yield from _of_quorum(signs, standing)
    if lost:
        yield from _of_first(signs, standing)


def _alone(signs: Signs, lost: bool) -> Cause:
    """A new instance is copied from the primary: without it, it is of no help to ask for one."""
    c, name = signs.cluster, signs.primary
    if lost:
        remedy = f"bring {name} back, or restore it from a backup"
    else:
        remedy = "scale it up" if c.instances <= 1 else f"wait until the next of {c.instances} has joined"
    return Cause("no-replica", f"{c.name} has no instance beside {name or 'its primary'}", remedy)


def _of_wrong(signs: Signs, claims: set[str]) -> tuple[str, None, tuple[Act, ...]]:
    """(remedy, no end by itself, its acts). While it is fenced an instance manager starts no server: it rejoins only once the fence is lifted."""
    others = claims - {signs.primary}
    if len(others) != 1 or signs.primary not in claims:
        return "fence those whose data is not wanted", None, ()
    (wrong,) = others
    line = next((told.timeline for told in (signs.server(wrong), signs.manager(wrong)) if told is not None and told.timeline), None)
    wrote = f"what it wrote on timeline {line} is lost" if line else "what it wrote as primary is lost"
    remedy = f"fence {wrong}, delete its pod, then unfence it: it comes back as a standby, and {wrote}"
    return remedy, None, (fence(wrong), unfence(wrong, "unfence it"))


def _of_first(signs: Signs, standing: tuple[str, ...]) -> Iterator[Cause]:
    """The operator looks at one only: the first of those that answer. While its pod is not Ready it waits, whoever else is (cluster_controller.go)."""
    first = next(iter(in_order(signs)), "")
    manager = signs.manager(first)
    if not first or manager is None or signs.ready(first) is not False:
        return
    if manager.is_primary and first == signs.primary and not manager.might_be_unavailable:
        what = f"{first} answers as primary while its pod is not Ready: the operator waits for it"
        yield Cause("unready", what, f"see why it is not Ready{OR_FAIL_OVER}", acts=(FAIL_OVER,))
    elif not manager.is_primary and standing:
        what = f"{first} is first in line and answers, and its pod is not Ready: the operator waits for it, not taking {standing[0]}"
        yield Cause("unready", what, f"see why pod {first} is not Ready, or delete it")


def in_order(signs: Signs) -> tuple[str, ...]:
    """Instances that answer the operator, in the order in which it elects (status.go): who says it is primary, then by received, replayed, name."""
    found = []
    for name in signs.cluster.instance_names:
        manager, pod = signs.manager(name), signs.pods.get(name) if signs.pods is not None else None
        if manager is not None and pod is not None and pod.deleted is None and pod.phase == "Running":
            received = max(manager.received or 0, manager.replayed or 0)
            found.append((not manager.is_primary, -received, -(manager.replayed or 0), name))
    return tuple(entry[-1] for entry in sorted(found))


def _asked(signs: Signs) -> bool:
    """Whether the managers of the replicas were asked, and some manager answers us: where none does, that is our way to them, not the operator's."""
    asked = all(name in signs.managers and getattr(signs.managers[name], "reason", "") != "not asked" for name in signs.replicas)
    return asked and some_manager_answers(signs)


def some_manager_answers(signs: Signs) -> bool:
    """Us, at /pg/status: else a manager that does not proves nothing."""
    return any(isinstance(found, Known) for found in signs.managers.values())


def _may_stand(signs: Signs) -> tuple[str, ...]:
    """Replicas that could be elected by what their pods show."""
    return tuple(name for name in signs.replicas if signs.ready(name) and not signs.cluster.is_fenced(name))


def candidates(signs: Signs) -> tuple[str, ...]:
    """Replicas that the operator could elect: ready, not fenced, answering at /pg/status as a replica."""
    fit = []
    for name in signs.replicas:
        manager = signs.manager(name)
        if manager is not None and not manager.is_primary and signs.ready(name) and not signs.cluster.is_fenced(name):
            fit.append(name)
    return tuple(fit)


def _why(signs: Signs, name: str) -> str:
    if signs.cluster.is_fenced(name):
        return "fenced"
    pod = signs.pods.get(name) if signs.pods is not None else None
    if signs.pods is not None and pod is None:
        return "no pod"
    if pod is not None and not pod.is_ready:
        return pod.state
    reading = signs.managers.get(name)
    return reading.reason if isinstance(reading, Unknown) else "says that it is primary" if reading is not None else "not asked"


def _of_quorum(signs: Signs, standing: tuple[str, ...]) -> Iterator[Cause]:
    """R + W > N (CloudNativePG, failover quorum): of N synchronous standbys, W confirm each commit, R can be elected now."""
    c, found = signs.cluster, signs.quorum
    if c.synchronous is None or not c.synchronous.quorum or isinstance(found, Unknown):
        return
    if found.value is None or not found.value.standby_names or found.value.standby_number <= 0:
        yield Cause("quorum", f"{c.name} wants a failover quorum, and none is recorded yet", "wait until the primary has recorded one")
        return
    q = found.value
    fit = [name for name in standing if name in q.standby_names]
    if len(fit) + q.standby_number > len(q.standby_names):
        return
    absent = [name for name in q.standby_names if name not in fit]
    only = " and ".join(f"{name} ({'the lost primary' if name == signs.primary else _why(signs, name)})" for name in absent)
    counts = f"each commit is on {q.standby_number} of {counted(len(q.standby_names), 'synchronous standby', 'synchronous standbys')}"
    what = f"the failover quorum is not met: a commit may be only on {only}; {counts}, {len(fit)} can be elected"
    wanted = [name for name in absent if name != signs.primary] or absent
    enough = len(q.standby_names) - q.standby_number - len(fit) + 1
    yield Cause("quorum", what, f"bring {_some(wanted, enough)} back")


def _some(names: list[str], enough: int) -> str:
    """`a and b`, `a or b`, `2 of a, b and c`."""
    if enough >= len(names) or enough == 1:
        return (" and " if enough >= len(names) else " or ").join(names)
    return f"{enough} of {', '.join(names[:-1])} and {names[-1]}"
