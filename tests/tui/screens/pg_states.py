"""What can be the matter with the site's database, each as the World that the console would have of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from immutables import Map

from coldtui.domain.nodes import VolumeFill
from coldtui.domain.readings import Freshness, Known, Reading, Unknown
from coldtui.domain.replication import Archiver, FailoverQuorum, ManagerStatus, PrimaryLease, Slot, Standby, Watched
from coldtui.domain.sessions import DatabaseFacts, Progress, Session, TableFacts
from coldtui.domain.world import World
from tests.sample import GIB, NOW, Site, ago, build, cluster, endpoint_slice, healthy, instance_pod, state
from tests.topologies import HERE, MIB, SYSTEM, claim, known, server, trio, world_of

NAMES = ("postgres-1", "postgres-2", "postgres-3")
NODES = dict(zip(NAMES, ("k3s-worker-1", "k3s-worker-2", "k3s-worker-3"), strict=True))
DEAD = Unknown("sql", "postgres-1 (10.42.1.7:5432): connection refused")
HANGS = Unknown("sql", "postgres-1 did not answer within 2 s")
NO_VIP = Unknown("sql", "vip did not answer within 2 s")
REFUSED = "does not let coldtui in: password authentication failed · check postgres.password_file"
FILLS = tuple(VolumeFill("cold", f"postgres-{n}", 10 * GIB, 4 * GIB + n * GIB // 5) for n in (1, 2, 3))
FULL = (VolumeFill("cold", "postgres-1", 10 * GIB, 8 * GIB + GIB // 2), *FILLS[1:])
Told = dict[str, Reading[ManagerStatus]]


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def told(name: str, **more: Any) -> ManagerStatus:
    """As /pg/status says it."""
    primary = name == "postgres-1"
    found = {"is_primary": primary, "system_id": SYSTEM, "timeline": 7, "receiver_active": not primary, **more}
    place = {"current": HERE} if found["is_primary"] else {"received": HERE, "replayed": HERE}
    return ManagerStatus(name, **{**place, **found})


def silent(*names: str, why: str = "the pod does not answer: connection refused") -> Told:
    return {f"cold/{name}": Unknown("manager", why) for name in names}


def raw(pods: Mapping[str, Mapping[str, Any] | None] | None = None, *, operator: int = 1, annotations: Any = None, **status: Any) -> Site:
    """The healthy site with another status of the Cluster, services as the operator makes them, and instances as `pods` says (None: none)."""
    found, changed = healthy(), pods or {}
    made = cluster(**status)
    made["metadata"]["annotations"] = annotations or {}
    found["pg_clusters"] = [made]
    found["pods"] = [
        instance_pod(name, NODES[name], "primary" if name == "postgres-1" else "replica", **(changed.get(name) or {}))
        for name in NAMES
        if name not in changed or changed[name] is not None
    ]
    found["deployments"][0]["status"].update(availableReplicas=operator, readyReplicas=operator)
    ready = [name for name in NAMES if name not in changed]
    for service, led in (
        ("cold-postgres-rw", ready[:1] if "postgres-1" in ready else []),
        ("cold-postgres-ro", [n for n in ready if n != "postgres-1"]),
    ):
        meta = {**found["services"][0]["metadata"], "name": service, "uid": service}
        found["services"].append({"metadata": meta, "spec": {"type": "ClusterIP"}})
        piece = endpoint_slice(service)
        piece["endpoints"] = [
            {"addresses": ["10.42.1.7"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "namespace": "cold", "name": name}}
            for name in led
        ]
        found["endpointslices"].append(piece)
    return found


def site(*claims: Any, base: World | None = None, managers: Told | None = None, lease_s: float = 3, **changed: Any) -> World:
    """All three sources; `p2=...` changes what postgres-2 says by SQL, `managers` what is said at /pg/status."""
    lease = Known(PrimaryLease("postgres-1", before(lease_s), 15, after=before(lease_s + 2)), "lease", before(1))
    trends = Map(
        {
            "pg_tps": (40.0, 55.0, 48.0, 61.0),
            "pg_wal": (1e5, 3e5, 2e5),
            "pg_connections": (4.0, 5.0),
            "pg_lag/postgres-2": (0.0, 2e6, 0.0),
            "pg_hit": (0.98, 0.991),
        }
    )
    found = base or build(raw(), fills=FILLS)
    made = world_of(trio(**changed), *claims, base=found, managers={n: told(n) for n in NAMES}, pg_lease=lease, trends=trends)
    seen = next((c.phase for c in made.pg_clusters.items.values()), "")
    watched = Watched(seen, before(700), phase_seen=True)
    return replace(made, pg_managers=made.pg_managers.update(managers or {}), pg_watched=watched)


def lost(base: World, *, for_s: float, lease_s: float = 30, sql: Unknown = DEAD, why: str = "", **more: Any) -> World:
    """The primary answers nobody, and nothing streams from it."""
    ended = claim("postgres-1", seen_s=for_s, lsn=HERE + 5 * MIB, ended=True)
    managers = {**_parted(), **(silent("postgres-1", why=why) if why else silent("postgres-1"))}
    parted: dict[str, Any] = {f"p{n}": known(server(receiver=None)) for n in (2, 3)}
    return site(ended, base=base, managers=managers, lease_s=lease_s, p1=sql, vip=NO_VIP, **{**parted, **more})


CRASHED = {"ready": False, "waiting": "CrashLoopBackOff", "restarts": 3}
TWO: dict[str, Any] = {"readyInstances": 2, "instancesStatus": {"healthy": ["postgres-2", "postgres-3"], "failed": ["postgres-1"]}}


def standby_lost() -> World:
    status: dict[str, Any] = {"readyInstances": 2, "instancesStatus": {"healthy": ["postgres-1", "postgres-2"], "failed": ["postgres-3"]}}
    base = build(raw({"postgres-3": CRASHED}, **status))
    return site(base=base, managers=silent("postgres-3"), p3=Unknown("sql", "postgres-3 (10.42.3.7:5432): connection refused"))


def _parted() -> Told:
    """Standbys whose WAL receivers have ended."""
    return {f"cold/{n}": Known(told(n, receiver_active=False), "manager", before(1)) for n in NAMES[1:]}


def receiver_held() -> World:
    """Of two standbys one still receives from a primary that is not quite dead."""
    world = electing()
    one = {"cold/postgres-3": Known(told("postgres-3"), "manager", before(1))}
    return replace(world, pg_managers=world.pg_managers.update(one), pg_sql=world.pg_sql.set("postgres-3", known(server())))


def electing() -> World:
    status: dict[str, Any] = {
        **TWO, "phase": "Failing over", "phaseReason": "Failing over from postgres-1 to pending", "targetPrimary": "pending",
        "targetPrimaryTimestamp": ago(seconds=9), "currentPrimaryFailingSinceTimestamp": ago(seconds=12),
    }  # fmt: skip
    world = lost(build(raw({"postgres-1": CRASHED}, **status)), for_s=13)
    return replace(world, pg_watched=Watched("Failing over", before(9), phase_seen=True))


def operator_down() -> World:
    return lost(build(raw({"postgres-1": CRASHED}, operator=0)), for_s=95)


def fenced() -> World:
    base = build(raw({"postgres-1": {"ready": False}}, annotations={"cnpg.io/fencedInstances": '["postgres-1"]'}, **TWO))
    ended = claim("postgres-1", seen_s=300, ended=True)
    return site(
        ended,
        base=base,
        managers={**_parted(), "cold/postgres-1": Known(told("postgres-1", might_be_unavailable=True, current=None), "manager", before(1))},
        p1=DEAD,
        p2=known(server(receiver=None)),
        p3=known(server(receiver=None)),
        vip=NO_VIP,
    )


def ignored() -> World:
    """As it was asked for, which is all that was done: whoever asks writes the phase too."""
    status: dict[str, Any] = {
        "phase": "Switchover in progress", "phaseReason": "Switching over to postgres-2",
        "targetPrimary": "postgres-2", "targetPrimaryTimestamp": ago(seconds=75),
    }  # fmt: skip
    return replace(site(base=build(raw(operator=0, **status))), pg_watched=Watched("Switchover in progress", before(75), phase_seen=True))


def archiver_fails() -> World:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "ClusterIsReady", "lastTransitionTime": ago(days=4)},
        {"type": "ContinuousArchiving", "status": "False", "message": "r2: 403 Forbidden", "lastTransitionTime": ago(minutes=50)},
    ]
    archiver = Archiver(900, "000000070000000400000060", before(3000), 12, "000000070000000400000061", before(30), 190)
    return site(
        base=build(raw(conditions=conditions), fills=FULL), p1=known(server(primary=True, archiver=archiver, listens="10.0.0.1:5432"))
    )


def two_primaries() -> World:
    promoted = known(server(primary=True, timeline=8, at=HERE + MIB))
    second: Told = {"cold/postgres-2": Known(told("postgres-2", is_primary=True, timeline=8, receiver_active=False), "manager", before(1))}
    return site(claim("postgres-1"), claim("postgres-2", since_s=12), managers=second, p2=promoted)


def wedged() -> World:
    """SIGSTOP: the pod is Ready, nothing in it answers, and the lease is renewed."""
    return lost(build(raw()), for_s=50, lease_s=2, sql=HANGS, why="the pod does not answer within 2 s")


def status_cut() -> World:
    """The server works, its manager does not."""
    world = site(base=build(raw()), managers=silent("postgres-1", why="the pod does not answer within 2 s"))
    cut = claim("postgres-1", seen_s=40, ended=True, source="manager")
    return replace(world, pg_claims=world.pg_claims.set("manager/postgres-1", cut))


def unready() -> World:
    """The server answers, the probe of its pod fails."""
    return site(base=build(raw({"postgres-1": {"ready": False}}, **TWO)), vip=NO_VIP)


def _synchronous(found: Site) -> World:
    found["pg_clusters"][0]["spec"]["postgresql"] = {"synchronous": {"method": "any", "number": 1, "failoverQuorum": True}}
    quorum = Known(FailoverQuorum("cold", "cold-postgres", "ANY", "postgres-1", ("postgres-2", "postgres-3"), 1), "quorum", before(1))
    return replace(build(found, fills=FILLS), pg_quorum=quorum)


def quorum_met() -> World:
    rows = tuple(Standby(name, "streaming", "quorum", replay_lag_s=0.4) for name in NAMES[1:])
    return site(base=_synchronous(raw()), p1=known(server(primary=True, standbys=rows, listens="10.0.0.1:5432")))


def quorum_not_met() -> World:
    both = {"postgres-1": CRASHED, "postgres-2": CRASHED}
    base = _synchronous(raw(both, readyInstances=1, currentPrimaryFailingSinceTimestamp=ago(seconds=48)))
    world = lost(base, for_s=50, p2=Unknown("sql", "postgres-2 (10.42.2.7:5432): connection refused"))
    return replace(world, pg_managers=world.pg_managers.update(silent("postgres-2")))


def operator_away() -> World:
    """All is well, and nobody would replace a dead primary."""
    return site(base=build(raw(operator=0), fills=FILLS))


def connections_full() -> World:
    rows = tuple(Standby(name, "streaming", "async", replay_lag_s=0.4) for name in NAMES[1:])
    return site(p1=known(server(primary=True, standbys=rows, listens="10.0.0.1:5432", connections=97)))


def told_long_ago() -> World:
    """The API has been away for 20 minutes, and no server lets coldtui in by SQL."""
    old = {name: state(name, Freshness.STALE) for name in World(1, NOW).sources}
    nobody: dict[str, Any] = {f"p{n}": Unknown("sql", f"postgres-{n} {REFUSED}", "unauthorized") for n in (1, 2, 3)}
    gone = claim("postgres-1", seen_s=1200, source="manager")
    world = site(gone, base=build(raw(), sources=old, fills=FILLS), vip=Unknown("sql", f"vip {REFUSED}", "unauthorized"), **nobody)
    aged: Told = {key: Known(r.value, "manager", before(1200)) for key, r in world.pg_managers.items() if isinstance(r, Known)}
    return replace(world, pg_managers=Map(aged), pg_lease=Known(PrimaryLease("postgres-1", before(1203), 15), "lease", before(1200)))


def creating() -> World:
    """A cluster that is being made: no primary is named, no server is there."""
    nothing: dict[str, Any] = {"currentPrimary": "", "targetPrimary": "postgres-1", "readyInstances": 0, "instancesStatus": {}}
    base = build(raw(dict.fromkeys(NAMES), phase="Setting up primary", instanceNames=["postgres-1"], **nothing))
    return replace(base, pg_sql=Map({"postgres-1": Unknown("sql", "postgres-1 has no pod")}), pg_managers=Map(silent("postgres-1")))


def refused() -> World:
    nobody: dict[str, Any] = {f"p{n}": Unknown("sql", f"postgres-{n} {REFUSED}", "unauthorized") for n in (1, 2, 3)}
    return site(claim("postgres-1", source="manager"), vip=Unknown("sql", f"vip {REFUSED}", "unauthorized"), **nobody)


def api_down() -> World:
    down = {name: state(name, Freshness.FAILED) for name in World(1, NOW).sources}
    return world_of(trio(p3=known(server(at=HERE - 16 * MIB))), base=build({}, sources=down))


def api_paused() -> World:
    """Objects and /pg/status are 42 s old, SQL is of now."""
    old = {name: state(name, Freshness.STALE) for name in World(1, NOW).sources}
    world = site(base=build(raw(), sources=old))
    aged: Told = {key: Known(r.value, "manager", before(42)) for key, r in world.pg_managers.items() if isinstance(r, Known)}
    return replace(world, pg_managers=Map(aged), pg_lease=Known(PrimaryLease("postgres-1", before(45), 15), "lease", before(42)))


def hibernated() -> World:
    base = build(raw(dict.fromkeys(NAMES), annotations={"cnpg.io/hibernation": "on"}, readyInstances=0, instancesStatus={}))
    return replace(base, pg_watched=Watched("Cluster in healthy state", before(700)))


def _session(pid: int, application: str, status: str, *blocked: int, wait: str = "", tx_s: float = 15) -> Session:
    return Session(
        pid, before(600), "app", "app", application, "10.42.3.9", status, wait, before(tx_s), before(tx_s), before(tx_s),
        "UPDATE orders SET note = $1 WHERE id = $2", blocked,
    )  # fmt: skip


def busy() -> World:
    """A chain of three that wait, an archiver that fails, a slot that holds WAL back, dead rows, a vacuum under way."""
    waits = "Lock: transactionid"
    sessions = (
        _session(23252, "web-checkout", "active", 23251, wait=waits, tx_s=20),
        _session(23251, "report-nightly", "active", 23249, wait=waits, tx_s=40),
        _session(23249, "billing-import", "idle in transaction", wait="Client: ClientRead", tx_s=400),
        _session(24000, "web", "active", tx_s=1),
    )
    archiver = Archiver(900, "000000070000000400000060", before(900), 12, "000000070000000400000061", before(30), 9)
    slots = (Slot("_cnpg_postgres_3", False, "physical", "extended", 3 << 30),)
    first = server(primary=True, archiver=archiver, slots=slots, listens="10.0.0.1:5432", blocks_hit=990, blocks_read=10, checkpoints=42)
    facts = (DatabaseFacts("app", 12 << 30, 1_200_000_000, 0, 40), DatabaseFacts("postgres", None, 77))
    tables = (
        TableFacts("app", "public", "orders", 400_000, 300_000, 4 << 30, before(90_000)),
        TableFacts("app", "public", "invoices", 90_000, 1_000, 1 << 30),
    )
    return replace(
        site(replace(claim("postgres-1"), unarchived=before(840)), p1=known(first)),
        pg_sessions=Known(sessions, "sql", before(1)),
        pg_databases=Known(facts, "sql", before(1)),
        pg_progress=Known((Progress(24100, "vacuum", "app", "public.orders", "scanning heap", 63, 100),), "sql", before(1)),
        pg_tables=Map({"app": Known(tables, "sql", before(5))}),
    )


STATES: dict[str, Callable[[], World]] = {
    "healthy": site,
    "lagging": lambda: site(p2=known(server(at=HERE, replayed=HERE - 48 * MIB, replay_paused=True))),
    "standby-lost": standby_lost,
    "electing": electing,
    "receiver-held": receiver_held,
    "operator-down": operator_down,
    "fenced": fenced,
    "switchover-ignored": ignored,
    "archiver-fails": archiver_fails,
    "two-primaries": two_primaries,
    "wedged": wedged,
    "status-cut": status_cut,
    "unready": unready,
    "quorum-not-met": quorum_not_met,
    "quorum-met": quorum_met,
    "operator-away": operator_away,
    "connections-full": connections_full,
    "told-long-ago": told_long_ago,
    "creating": creating,
    "sql-refused": refused,
    "api-down": api_down,
    "api-paused": api_paused,
    "hibernated": hibernated,
}
