"""A cluster in good health as facts of a switchover, by name; a test breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from coldtui.domain.backups import PgBackup
from coldtui.domain.plans import Finding, Plan
from coldtui.domain.pods import Pod
from coldtui.domain.postgres import HEALTHY, PgCluster
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import ManagerStatus, Receiver, SqlStatus, Standby
from coldtui.operations.postgres.facts import PgFacts
from coldtui.operations.postgres.switchover import Switchover, plan_switchover
from coldtui.ports import HeldLease
from tests.operations.drain.scene import Scene

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BEGAN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NAMES = ("postgres-1", "postgres-2", "postgres-3")
SYSTEM, TIMELINE, HEAD = "7400000000000000001", 7, 0x5_0000_0000
Change = Callable[["PgFacts"], "PgFacts"]


def known(value: Any, source: str = "test") -> Known[Any]:
    return Known(value, source, NOW)


def unread(what: str = "test") -> Unknown:
    return Unknown(what, "connection refused")


def _standby(name: str) -> Standby:
    return Standby(name, "streaming", "async", HEAD, HEAD, HEAD, HEAD)


def _manager(name: str) -> ManagerStatus:
    if name == "postgres-1":
        rows = (_standby("postgres-2"), _standby("postgres-3"))
        return ManagerStatus(name, True, SYSTEM, TIMELINE, current=HEAD, standbys=rows, archiving=True, ready_wal=0)
    return ManagerStatus(name, False, SYSTEM, received=HEAD, replayed=HEAD, receiver_active=True)


def _sql(name: str) -> SqlStatus:
    if name in ("postgres-1", "vip"):
        return SqlStatus(
            False, SYSTEM, TIMELINE, "18.6", BEGAN, current=HEAD, standbys=_manager("postgres-1").standbys, listens="10.42.1.5:5432"
        )
    return SqlStatus(True, SYSTEM, TIMELINE, "18.6", BEGAN, received=HEAD, replayed=HEAD, receiver=Receiver("streaming"))


def healthy() -> PgFacts:
    """The seeded site: postgres-1 leads, 2 and 3 stream; pods, nodes and operator by the real decoders."""
    read = Scene().facts()
    world = read.world
    cluster: PgCluster = world.pg_clusters.items["database/cold-postgres"]
    assert (cluster.current_primary, cluster.phase, cluster.timeline) == ("postgres-1", HEALTHY, TIMELINE)
    cluster = replace(cluster, system_id=SYSTEM)
    pods: dict[str, Pod] = {name: world.pods.items[f"database/{name}"] for name in NAMES}
    operator = next(d for d in world.deployments.items.values() if d.name.startswith("cnpg-controller-manager"))
    return PgFacts(
        cluster=cluster,
        at=NOW,
        pods=known(pods),
        operator=known(operator),
        managers={name: known(_manager(name)) for name in NAMES},
        sql={name: known(_sql(name)) for name in (*NAMES, "vip")},
        lease=known(HeldLease("database", "cold-postgres", "postgres-1", "17", NOW, 15)),
        writers=known(("postgres-1",)),
        backups=known(()),
        nodes=known(dict(world.nodes.items)),
        sessions=known(()),
    )


# --- breaking


def cluster_with(**changes: Any) -> Change:
    return lambda facts: replace(facts, cluster=replace(facts.cluster, **changes))


def pod_with(name: str, **changes: Any) -> Change:
    def change(facts: PgFacts) -> PgFacts:
        assert isinstance(facts.pods, Known)
        pods = dict(facts.pods.value)
        pods[name] = replace(pods[name], **changes)
        return replace(facts, pods=known(pods))

    return change


def manager_with(name: str, **changes: Any) -> Change:
    def change(facts: PgFacts) -> PgFacts:
        found = facts.manager(name)
        assert found is not None
        return replace(facts, managers={**facts.managers, name: known(replace(found, **changes))})

    return change


def sql_with(name: str, **changes: Any) -> Change:
    def change(facts: PgFacts) -> PgFacts:
        found = facts.status(name)
        assert found is not None
        return replace(facts, sql={**facts.sql, name: known(replace(found, **changes))})

    return change


def row_with(**changes: Any) -> Change:
    """The primary's row of postgres-2."""
    rows = (replace(_standby("postgres-2"), **changes), _standby("postgres-3"))
    return both(manager_with("postgres-1", standbys=rows), sql_with("postgres-1", standbys=rows))


def node_with(**changes: Any) -> Change:
    """Of postgres-2."""

    def change(facts: PgFacts) -> PgFacts:
        assert isinstance(facts.nodes, Known)
        nodes = dict(facts.nodes.value)
        name = facts.node_of("postgres-2")
        nodes[name] = replace(nodes[name], **changes)
        return replace(facts, nodes=known(nodes))

    return change


def facts_with(**changes: Any) -> Change:
    return lambda facts: replace(facts, **changes)


def both(*changes: Change) -> Change:
    def change(facts: PgFacts) -> PgFacts:
        for one in changes:
            facts = one(facts)
        return facts

    return change


def backup(phase: str, cluster: str = "cold-postgres") -> PgBackup:
    return PgBackup("database", "nightly-1", cluster=cluster, phase=phase)


def plan_of(change: Change | None = None, to: str = "postgres-2") -> Plan:
    facts = healthy() if change is None else change(healthy())
    return plan_switchover(facts, Switchover(to), NOW)


def finding(plan: Plan, code: str) -> Finding:
    (found,) = [f for f in plan.findings if f.code == f"postgres.{code}"]
    return found
