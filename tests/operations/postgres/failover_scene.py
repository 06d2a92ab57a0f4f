"""A cluster whose primary is lost, as facts of a failover; a test changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from coldtui.domain.plans import Finding, Plan
from coldtui.domain.readings import Known, Unknown
from coldtui.operations.postgres.failover import Failover, plan_failover
from coldtui.operations.postgres.failover_facts import FailoverFacts, Rights
from coldtui.ports import HeldLease
from tests.operations.postgres.scene import NAMES, NOW, cluster_with, facts_with, healthy, known, manager_with, pod_with, sql_with, unread

Change = Callable[[FailoverFacts], FailoverFacts]
OLD, BEST, OTHER = NAMES


def killed() -> FailoverFacts:
    """postgres-1 crashed 34 s ago and its container waits; 2 and 3 have received the same; its lease is not renewed any more."""
    facts = healthy()
    pod = facts.pod(OLD)
    assert pod is not None
    containers = tuple(
        replace(c, state="waiting", reason="CrashLoopBackOff", ready=False) if c.name == "postgres" else c for c in pod.containers
    )
    for change in (
        pod_with(OLD, is_ready=False, state="CrashLoopBackOff", containers=containers, ready_since=NOW - timedelta(seconds=34)),
        cluster_with(primary_failing_since=NOW - timedelta(seconds=34)),
        *(manager_with(name, receiver_active=False) for name in (BEST, OTHER)),
    ):
        facts = change(facts)
    silent = {**facts.managers, OLD: unread()}
    facts = replace(facts, managers=silent, sql={**facts.sql, OLD: unread(), "vip": unread()}, writers=known(()))
    facts = _leased(36)(facts)
    return FailoverFacts(facts, Unknown("failover quorum", "not asked"), known(()), known(False), Rights())


def wedged() -> FailoverFacts:
    """postgres-1 answers nobody, its pod is Ready, and its manager renews the lease."""
    up = pod_with(OLD, is_ready=True, state="Running", containers=_running())
    return with_(renews=known(True))(in_pg(up, _leased(0))(killed()))


def _leased(ago_s: int) -> Callable[[Any], Any]:
    """By postgres-1, renewed so long ago."""
    return facts_with(lease=known(HeldLease("database", "cold-postgres", OLD, "17", NOW - timedelta(seconds=ago_s), 15)))


def cut_off() -> FailoverFacts:
    """The node of postgres-1 has been silent: its pod is as it was last seen."""
    facts = in_pg(pod_with(OLD, is_ready=False, state="Running", containers=_running()))(killed())
    return with_(node_trouble="its node k3s-worker-1 is NotReady", host=Unknown("ssh", "no route to host"))(_not_ready_node(facts))


def well() -> FailoverFacts:
    return FailoverFacts(healthy(), Unknown("failover quorum", "not asked"), known(()), known(True), Rights())


def _running() -> Any:
    pod = healthy().pod(OLD)
    assert pod is not None
    return pod.containers


def _not_ready_node(facts: FailoverFacts) -> FailoverFacts:
    assert isinstance(facts.pg.nodes, Known)
    nodes = dict(facts.pg.nodes.value)
    name = facts.pg.node_of(OLD)
    conditions = tuple(replace(c, status="Unknown") if c.type == "Ready" else c for c in nodes[name].conditions)
    nodes[name] = replace(nodes[name], conditions=conditions)
    return replace(facts, pg=replace(facts.pg, nodes=known(nodes)))


def in_pg(*changes: Callable[[Any], Any]) -> Change:
    """Changes of `scene`."""

    def change(facts: FailoverFacts) -> FailoverFacts:
        pg = facts.pg
        for one in changes:
            pg = one(pg)
        return replace(facts, pg=pg)

    return change


def with_(**changes: Any) -> Change:
    return lambda facts: replace(facts, **changes)


def all_of(*changes: Change) -> Change:
    def change(facts: FailoverFacts) -> FailoverFacts:
        for one in changes:
            facts = one(facts)
        return facts

    return change


def operator_with(available: int) -> Change:
    def change(facts: FailoverFacts) -> FailoverFacts:
        found = facts.pg.operator
        deployment = found.value if isinstance(found, Known) else None
        assert deployment is not None
        return replace(facts, pg=replace(facts.pg, operator=known(replace(deployment, available=available))))

    return change


def behind(name: str, less: int) -> Change:
    """It has received so many bytes less than it could."""

    def change(facts: FailoverFacts) -> FailoverFacts:
        manager = facts.pg.manager(name)
        assert manager is not None
        assert manager.received is not None
        end = manager.received - less
        both = (manager_with(name, received=end, replayed=end), sql_with(name, received=end, replayed=end))
        return in_pg(*both)(facts)

    return change


def plan_of(facts: FailoverFacts, **params: Any) -> Plan:
    return plan_failover(facts, Failover(**params), NOW)


def finding(plan: Plan, code: str) -> Finding:
    (found,) = [f for f in plan.findings if f.code == f"postgres.failover.{code}"]
    return found


def names_of_steps(plan: Plan) -> list[str]:
    return [step.name.partition(".")[2] for step in plan.steps]
