"""The database as three sources tell it: the Cluster object and its pods, `/pg/status` of the instance managers, and SQL. Compared, never merged.

SQL is believed before the manager, the manager before the Cluster: in that order they are nearer to the server. An answer that is old is shown
with its age, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from .losses import FRESH as FRESH
from .losses import NOT_ASKED as NOT_ASKED
from .losses import Loss as Loss
from .losses import behind_of, by_branch, last_claim, loss_of, seconds_of
from .losses import last_position as last_position
from .postgres import Instance, PgCluster, instances, site_cluster
from .problems import Problem
from .readings import Freshness, Known, Reading, Unknown
from .replication import ManagerStatus, SqlStatus, Standby
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

T = TypeVar("T")
V = TypeVar("V")
VIP = "vip"
NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Member:
    """One instance. Each value is the one of the nearest source that has it."""

    instance: Instance
    sql: Reading[SqlStatus]
    manager: Reading[ManagerStatus]
    label: Reading[str]
    """Role by the pod's label (`primary`, `replica`, `unhealthy`), which services select by."""
    named: Reading[str]
    """Role by the Cluster object."""
    by_manager: Reading[str]
    by_sql: Reading[str]
    timeline: Reading[int]
    system_id: Reading[str]
    position: Reading[int]
    """Of a primary: where its WAL is."""
    received: Reading[int]
    replayed: Reading[int]
    behind: Reading[int]
    """Bytes from the primary's position to what is replayed here; unknown of a primary."""
    behind_s: float | None
    """Only with bytes > 0: on an idle primary the seconds mislead."""
    standby: Reading[Standby]
    """How the primary sees it."""
    receiving: Reading[bool]
    connections: Reading[tuple[int, int]]
    """Client backends, and how many may be (0: not told)."""
    pending_restart: Reading[bool]
    paused: Reading[bool]
    told: datetime | None
    """When the server or its manager last answered; None: neither did."""
    answers: bool
    """Whether that is now: an old answer tells how it was."""

    @property
    def name(self) -> str:
        return self.instance.name

    @property
    def role(self) -> str:
        """By the nearest source; empty: nobody tells."""
        return next((r.value for r in (self.by_sql, self.by_manager) if isinstance(r, Known)), "") or self.instance.role


@dataclass(frozen=True, slots=True)
class VipReach:
    """Where the VIP leads, by a connection through it."""

    reading: Reading[SqlStatus]
    server: str
    """Name of the instance that answered; empty: none that is known."""
    outrun: bool = False
    """It is from before the primary of now led: where the address leads since, it does not tell."""


@dataclass(frozen=True, slots=True)
class Topology:
    cluster: PgCluster | None
    members: tuple[Member, ...]
    """The primary first."""
    primary: str
    """Who is primary by the nearest source; empty: nobody, or nobody knows."""
    vip: VipReach | None
    """None: there is no address to try."""
    loss: Loss
    problems: tuple[Problem, ...]
    """Where the sources disagree."""
    asked: bool
    """Whether servers are asked at all here."""

    @property
    def lead(self) -> Member | None:
        """Who is primary; None: nobody, or nobody knows."""
        return next((m for m in self.members if m.name == self.primary), None)


def cluster_of(world: World) -> PgCluster | None:
    """The site's cluster; while the API tells of none, what the configuration names (SQL alone still shows it)."""
    found = site_cluster(world)
    if found is not None:
        return found
    names = tuple(sorted(name for name in world.pg_sql if name != VIP))
    state = world.sources["pg_clusters"]
    if not names or state.freshness in (Freshness.LIVE, Freshness.NOT_INSTALLED):
        return None
    namespace, _, name = world.site.pg_cluster.rpartition("/")
    return PgCluster(namespace, name or "postgres", "", NEVER, "", "", "", instance_names=names)


def asked(world: World, cluster: PgCluster) -> bool:
    """Whether it is this cluster's servers that are asked: those of the site's database alone are, or those that only the configuration names."""
    return site_cluster(world) == cluster or cluster.key not in world.pg_clusters.items


def topology(world: World, cluster: PgCluster | None, now: datetime) -> Topology:
    from .disagreements import problems_of

    if cluster is None:
        nothing = Unknown("cluster", "there is no PostgreSQL cluster")
        return Topology(None, (), "", None, Loss(nothing, "", "", None), (), False)
    mine = asked(world, cluster)
    sql = world.pg_sql if mine else {}
    found = instances(world, cluster)
    primary = primary_of(world, cluster, now)
    answer = sql.get(primary)
    told = world.pg_managers.get(f"{cluster.namespace}/{primary}") if mine else None
    members = tuple(_member(world, cluster, i, sql.get(i.name), primary, answer, told, now) for i in found)
    members = by_branch(cluster, members, primary, now)
    members = tuple(sorted(members, key=lambda m: m.name != primary)) if primary else members
    reach = _vip(sql.get(VIP), members)
    led = _leads_since(world, cluster, primary)
    if reach is not None and led is not None and isinstance(reach.reading, Known) and reach.reading.as_of < led:
        reach = replace(reach, outrun=True)
    made = Topology(
        cluster,
        members,
        primary,
        reach,
        loss_of(world, cluster, members, primary, now, asked=bool(sql)),
        (),
        bool(world.pg_sql or world.pg_managers) and mine,
    )
    return replace(made, problems=problems_of(world, made, now)) if made.asked else made


def primary_of(world: World, cluster: PgCluster, now: datetime) -> str:
    """By an instance that says so itself, the one that began last; else by the Cluster, if that instance does not say otherwise now. In a cluster that
    follows another one the designated primary is in recovery, as it should be."""
    open_ = [c for c in world.pg_claims.values() if not c.ended and now - c.seen <= FRESH]
    names = {i.name for i in instances(world, cluster)}
    mine = [c for c in open_ if c.name in names]
    if mine:
        best = max(mine, key=lambda c: (c.source == "sql", c.since))
        return best.name
    named = cluster.current_primary
    answer = world.pg_sql.get(named)
    denies = isinstance(answer, Known) and answer.value.in_recovery and now - answer.as_of <= FRESH
    return "" if denies and not cluster.replica_cluster else named


def _member(
    world: World,
    c: PgCluster,
    i: Instance,
    sql: Reading[SqlStatus] | None,
    primary: str,
    first: Reading[SqlStatus] | None,
    told: Reading[ManagerStatus] | None,
    now: datetime,
) -> Member:
    asked = sql if sql is not None else Unknown("sql", NOT_ASKED)
    manager = world.pg_managers.get(f"{c.namespace}/{i.name}", Unknown("manager", NOT_ASKED))
    received = pick((asked, lambda s: s.received), (manager, lambda m: m.received))
    replayed = pick((asked, lambda s: s.replayed), (manager, lambda m: m.replayed))
    position = (
        pick((first or asked, lambda s: s.current), (told or manager, lambda m: m.current))
        if primary
        else Unknown("sql", "no primary is known")
    )
    if isinstance(position, Unknown) and (last := last_claim(world, {x.name for x in instances(world, c)}, primary)) is not None:
        position = Known(last.lsn or 0, last.source, last.seen)  # of a primary that is gone its last word, with its age
    standby = _standby_of(i.name, first, told)
    heard = max((r.as_of for r in (asked, manager) if isinstance(r, Known)), default=None)
    by_sql = _map(asked, lambda s: "replica" if s.in_recovery else "primary")
    is_primary = isinstance(by_sql, Known) and by_sql.value == "primary"
    behind: Reading[int] = (
        Unknown("sql", "it is the primary") if i.name == primary or is_primary else behind_of(position, replayed, standby)
    )
    return Member(
        instance=i,
        sql=asked,
        manager=manager,
        label=_label(world, i),
        named=_named(world, c, i),
        by_manager=_map(manager, lambda m: "primary" if m.is_primary else "replica"),
        by_sql=by_sql,
        timeline=_or(pick((asked, lambda s: _line(c, s)), (manager, lambda m: _line(c, m))), i.timeline, world),
        system_id=pick((asked, lambda s: s.system_id or None), (manager, lambda m: m.system_id or None)),
        position=pick((asked, lambda s: s.current), (manager, lambda m: m.current)),
        received=received,
        replayed=replayed,
        behind=behind,
        behind_s=seconds_of(behind, standby),
        standby=standby,
        receiving=pick((asked, _receiving), (manager, lambda m: m.receiver_active)),
        connections=_map(asked, lambda s: (s.connections, s.max_connections)),
        pending_restart=pick((asked, lambda s: s.pending_restart), (manager, lambda m: m.pending_restart)),
        paused=pick(
            (asked, lambda s: s.replay_paused if s.in_recovery else None),
            (manager, lambda m: None if m.is_primary or m.might_be_unavailable else m.replay_paused),  # a stopped server: said by default
        ),
        told=heard,
        answers=heard is not None and now - heard <= FRESH,
    )


def _line(c: PgCluster, told: SqlStatus | ManagerStatus) -> int | None:
    """A standby that tells by its control file, old until a restartpoint, has only not told yet where it is."""
    sure = told.timeline_sure if isinstance(told, SqlStatus) else told.is_primary
    return told.timeline or None if sure or (told.timeline or 0) >= (c.timeline or 0) else None


def _receiving(status: SqlStatus) -> bool | None:
    """A standby without pg_monitor does not show its receiver: then nobody knows."""
    if not status.in_recovery or (status.receiver is None and status.missing):
        return None
    return status.receiver is not None and status.receiver.status == "streaming"


def pick(
    sql: tuple[Reading[SqlStatus], Callable[[SqlStatus], T | None]],
    manager: tuple[Reading[ManagerStatus], Callable[[ManagerStatus], T | None]],
) -> Reading[T]:
    """The value by SQL, else by the manager; else why not."""
    reading, take = sql
    if isinstance(reading, Known) and (value := take(reading.value)) is not None:
        return Known(value, "sql", reading.as_of)
    other, get = manager
    if isinstance(other, Known) and (value := get(other.value)) is not None:
        return Known(value, "manager", other.as_of)
    return Unknown("sql", reading.reason if isinstance(reading, Unknown) else "not told")


def _map(reading: Reading[V], take: Callable[[V], T]) -> Reading[T]:
    return Known(take(reading.value), reading.source, reading.as_of) if isinstance(reading, Known) else reading


def _or(reading: Reading[int], reported: int | None, world: World) -> Reading[int]:
    """What the operator wrote last, where no server tells."""
    state = world.sources["pg_clusters"]
    if isinstance(reading, Known) or not reported or state.as_of is None:
        return reading
    return Known(reported, "cluster", state.as_of)


def _label(world: World, i: Instance) -> Reading[str]:
    as_of = world.sources["pods"].as_of
    role = (i.pod.labels.get("cnpg.io/instanceRole") or i.pod.labels.get("role") or "") if i.pod is not None else ""
    if i.pod is None or as_of is None:
        return Unknown("pods", "no pod" if i.pods_known else "pods are not read")
    return Known(role, "pods", as_of) if role else Unknown("pods", "no label")


def _named(world: World, c: PgCluster, i: Instance) -> Reading[str]:
    as_of = world.sources["pg_clusters"].as_of
    if as_of is None or not c.current_primary:
        return Unknown("cluster", "the operator names no primary")
    return Known("primary" if i.is_current else "replica", "cluster", as_of)


def _standby_of(name: str, sql: Reading[SqlStatus] | None, manager: Reading[ManagerStatus] | None) -> Reading[Standby]:
    for reading, source in ((sql, "sql"), (manager, "manager")):
        if isinstance(reading, Known):
            row = next((s for s in reading.value.standbys if s.name == name), None)
            if row is not None and row.state:
                return Known(row, source, reading.as_of)
    if isinstance(sql, Known) and not sql.value.missing:
        return Unknown("sql", "the primary does not send to it")
    return Unknown("sql", "the primary does not tell")


def _leads_since(world: World, cluster: PgCluster, primary: str) -> datetime | None:
    """By its own word as it was heard here, which clocks of other machines have no part in; else by the Cluster."""
    said = [x.since for x in world.pg_claims.values() if x.name == primary and not x.ended]
    return min(said, default=cluster.current_primary_since if primary == cluster.current_primary else None)


def _vip(reading: Reading[SqlStatus] | None, members: tuple[Member, ...]) -> VipReach | None:
    """Which instance answered: the server's own address and its start tell."""
    if reading is None:
        return None
    if not isinstance(reading, Known):
        return VipReach(reading, "")
    status = reading.value
    same = [
        m for m in members if isinstance(m.sql, Known) and (m.sql.value.listens, m.sql.value.started) == (status.listens, status.started)
    ]
    if not same:
        same = [
            m for m in members if m.instance.pod is not None and m.instance.pod.ip and status.listens.startswith(f"{m.instance.pod.ip}:")
        ]
    return VipReach(reading, same[0].name if len(same) == 1 else "")
