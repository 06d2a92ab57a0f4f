"""What the World knows of a cluster, as the signs by which a failover is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from .failover import CHECK_FAILED, PENDING, Prospect, Signs, prospect
from .postgres import HEALTHY, MAJOR_UPGRADE, Instance, PgCluster, changing, instances, operator, silent_node
from .readings import Freshness, Known, Reading, Unknown
from .replication import PrimaryLease, Watched
from .topology import FRESH, NOT_ASKED
from .verdicts import unsure

if TYPE_CHECKING:
    from .pods import Pod
    from .topology import Topology
    from .world import World

T = TypeVar("T")
SECOND = timedelta(seconds=1)
"""The API tells no part of one."""
STEADY = timedelta(seconds=5)
"""Who is silent for less may only have missed one question."""
KEPT = 300
"""Turns of an election: one a second while it waits for a WAL receiver, for as long as they count."""


def prospect_of(world: World, t: Topology, now: datetime) -> Prospect | None:
    """None: there is nothing to fail over, or nobody can tell; `nothing` says why."""
    return prospect(signs_of(world, t.cluster, now)) if t.cluster is not None and not nothing(world, t.cluster) else None


def nothing(world: World, c: PgCluster) -> str:
    """Why nothing is to be said of a failover; empty: there is something."""
    if c.key not in world.pg_clusters.items:
        return "not known: its Cluster was never read"
    if c.hibernated:
        return "none while it is hibernated"
    if c.replica_cluster:
        return "none to a writable primary: it follows another cluster"
    if c.phase == MAJOR_UPGRADE:
        return "none while it is upgraded: all its pods are away on purpose"
    return "" if c.current_primary else "none yet: it has no primary"


def signs_of(world: World, c: PgCluster, now: datetime) -> Signs:
    """Only what is known to be true now: an old answer is none. Moments are by the clock of the API server."""
    skew = timedelta(seconds=world.site.clock_skew_s or 0.0)
    found = instances(world, c)
    names = tuple(i.name for i in found)
    primary = next((i for i in found if i.is_current), None)
    way_fails = _way_fails(world)
    fell = {i.name: i.pod.ready_since - skew for i in found if i.pod is not None and not i.pod.is_ready and i.pod.ready_since is not None}
    return Signs(
        cluster=c,
        now=now + skew,
        pods=_pods(world, c, names),
        managers={
            n: r if way_fails else Unknown(r.source, NOT_ASKED) if _missed(world, n, r, now) else _answer(r, now, fell.get(n))
            for n in names
            if (r := world.pg_managers.get(f"{c.namespace}/{n}")) is not None
        },
        sql={n: _answer(s, now, fell.get(n)) for n in names if (s := world.pg_sql.get(n)) is not None},
        operator=Unknown("deployments", doubt) if (doubt := unsure(world, "deployments")) else _known(operator(world), now, "deployments"),
        lease=_shifted(_now(world.pg_lease, now), skew),
        quorum=_now(world.pg_quorum, now),
        check_failed=_check_failed(world, c, now),
        node_trouble=silent_node(world, primary, now) if primary is not None else "",
        last_word=max((x.seen + skew for x in world.pg_claims.values() if x.name == c.current_primary), default=None),
        node_heard=_heard(world, primary, skew),
        turned_back=tuple(at + skew for at in world.pg_watched.turned_back),
    )


def _heard(world: World, primary: Instance | None, skew: timedelta) -> datetime | None:
    """As it was observed here: only the moment of a change counts, not the clock of the node."""
    lease = world.leases.items.get(primary.node) if primary is not None and world.sources["leases"].freshness is Freshness.LIVE else None
    return lease.observed + skew if lease is not None else None


def _shifted(lease: Reading[PrimaryLease | None], skew: timedelta) -> Reading[PrimaryLease | None]:
    if not isinstance(lease, Known) or lease.value is None or lease.value.after is None:
        return lease
    return replace(lease, value=replace(lease.value, after=lease.value.after + skew))


def lost_for(world: World, t: Topology, p: Prospect, now: datetime) -> timedelta | None:
    """How long the primary has been gone: it was not yet when it last said to be primary, unless it says so still. None: it is not, or nobody can tell."""
    if not p.lost or t.cluster is None:
        return None
    words = [c.seen for c in world.pg_claims.values() if c.name == t.cluster.current_primary and not answers(world, c.name, now)]
    skew = timedelta(seconds=world.site.clock_skew_s or 0.0)
    since = max((at for at in (p.since - skew if p.since else None, max(words, default=None)) if at is not None), default=None)
    return max(timedelta(0), now - since) if since is not None else None


def answers(world: World, primary: str, now: datetime) -> bool:
    """Whether it says to be primary now, whatever its pod looks like."""
    return any(c.name == primary and not c.ended and now - c.seen <= STEADY for c in world.pg_claims.values())


def settling(c: PgCluster) -> bool:
    """An asked-for switchover takes the primary away by itself: that is no loss."""
    return changing(c) == "switchover"


def _pods(world: World, c: PgCluster, names: Iterable[str]) -> Mapping[str, Pod] | None:
    if world.sources["pods"].freshness is not Freshness.LIVE:
        return None
    return {name: pod for name in names if (pod := world.pods.items.get(f"{c.namespace}/{name}")) is not None}


def _known(value: T, now: datetime, source: str) -> Reading[T]:
    return Known(value, source, now)


def _answer(reading: Reading[T], now: datetime, fell: datetime | None) -> Reading[T]:
    """One that is old was not asked for anew: a server that was, and does not answer, has none. One from before its pod fell says nothing of now."""
    if not isinstance(reading, Known):
        return reading
    before = fell is not None and reading.as_of < fell + SECOND
    return Unknown(reading.source, NOT_ASKED) if before or now - reading.as_of > FRESH else reading


def _way_fails(world: World) -> bool:
    """No instance manager can be asked, and not because of the pods: the API, or a permission, is in the way."""
    told = tuple(world.pg_managers.values())
    return not any(isinstance(r, Known) or r.kind == "server" for r in told)


def _missed(world: World, name: str, reading: Reading[T], now: datetime) -> bool:
    """A primary that answers SQL may miss one question of its manager."""
    last = world.pg_claims.get(f"manager/{name}")
    return isinstance(reading, Unknown) and isinstance(world.pg_sql.get(name), Known) and last is not None and now - last.seen < STEADY


def _now(reading: Reading[T], now: datetime) -> Reading[T]:
    if isinstance(reading, Known) and now - reading.as_of > FRESH:
        return Unknown(reading.source, f"last told {int((now - reading.as_of).total_seconds()):,} s ago")
    return reading


def _check_failed(world: World, c: PgCluster, now: datetime) -> Reading[datetime | None]:
    if doubt := unsure(world, "events"):
        return Unknown("events", doubt)
    found = (e.last for e in world.events.items.values() if e.reason == CHECK_FAILED and _about(e.object_namespace, e.object_name, c))
    return Known(max(found, default=None), "events", now)


def _about(namespace: str, name: str, c: PgCluster) -> bool:
    return namespace == c.namespace and (name == c.name or name in c.instance_names)


def follow(before: Watched, old: PgCluster | None, new: PgCluster, now: datetime, *, gap: bool) -> Watched:
    """With what the Cluster has become. `gap`: it was not watched all the time since `old`."""
    made = before
    if new.phase != before.phase:
        made = replace(made, phase=new.phase, phase_since=now, phase_seen=bool(before.phase) and not gap)
    if old is not None and old.target_primary == PENDING and new.target_primary == new.current_primary == old.current_primary:
        return replace(made, turned_back=(*made.turned_back, now)[-KEPT:])
    over = new.phase == HEALTHY or (old is not None and new.current_primary != old.current_primary)
    return replace(made, turned_back=()) if over and made.turned_back else made
