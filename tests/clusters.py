"""Clusters of other shapes than three that run: one instance, two, being made, restored, upgraded, following another one. Each as the World of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from immutables import Map

from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import Receiver, Standby, Watched
from coldtui.domain.world import World
from tests.sample import ago, build
from tests.topologies import Readings, claim, known, server, world_of
from tests.tui.screens import pg_states as states

FIRST, SECOND, THIRD = states.NAMES
NOBODY = Unknown("sql", "the name is not known")


def _world(
    names: tuple[str, ...],
    pods: Mapping[str, Mapping[str, Any] | None] | None = None,
    *,
    wants: int,
    spec: Mapping[str, Any] | None = None,
    sql: Readings | None = None,
    claims: tuple[Any, ...] = (),
    annotations: Any = None,
    **status: Any,
) -> World:
    """Of `names`, all that are not changed by `pods` run and answer; `sql` changes what they answer."""
    changed = {name: None for name in states.NAMES if name not in names} | dict(pods or {})
    told: dict[str, Any] = {
        "instanceNames": list(names), "instances": len(names), "readyInstances": sum(1 for n in names if n not in changed),
        "instancesStatus": {"healthy": [n for n in names if n not in changed], "failed": [n for n in names if n in changed]},
        "instancesReportedState": {n: {"isPrimary": n == FIRST, "timeLineID": 7, "ip": "10.42.0.1"} for n in names}, **status,
    }  # fmt: skip
    raw = states.raw(changed, annotations=annotations, **told)
    raw["pg_clusters"][0]["spec"].update({"instances": wants, **(spec or {})})
    rows = tuple(Standby(name, "streaming", "async") for name in names if name != FIRST and name not in changed)
    answers: Readings = {n: known(server(primary=n == FIRST, standbys=rows if n == FIRST else ())) for n in names}
    answers |= {n: Unknown("sql", f"{n}: connection refused") for n in names if n in changed} | (sql or {})
    managers = {n: states.told(n) for n in names if n not in changed}
    silent = {f"cold/{n}": Unknown("manager", "the pod does not answer: connection refused", "server") for n in names if n in changed}
    world = world_of(answers, *claims, base=build(raw), managers=managers)
    phase = next(iter(world.pg_clusters.items.values())).phase
    made = world.pg_claims if claims else Map({k: c for k, c in world.pg_claims.items() if c.name not in changed})
    return replace(
        world, pg_managers=world.pg_managers.update(silent), pg_claims=made, pg_watched=Watched(phase, states.before(700), phase_seen=True)
    )


def _ended(for_s: float = 60) -> tuple[Any, ...]:
    return (claim(FIRST, seen_s=for_s, ended=True),)


def one() -> World:
    return _world((FIRST,), wants=1)


def one_down() -> World:
    return _world((FIRST,), {FIRST: states.CRASHED}, wants=1, claims=_ended())


def one_without_pod() -> World:
    return _world((FIRST,), {FIRST: None}, wants=1, claims=_ended())


def two() -> World:
    return _world((FIRST, SECOND), wants=2)


def two_lost() -> World:
    return _world((FIRST, SECOND), {FIRST: states.CRASHED}, wants=2, claims=_ended(20), currentPrimaryFailingSinceTimestamp=ago(seconds=20))


def two_both_lost() -> World:
    return _world(
        (FIRST, SECOND),
        {FIRST: states.CRASHED, SECOND: None},
        wants=2,
        claims=_ended(20),
        currentPrimaryFailingSinceTimestamp=ago(seconds=20),
    )


def two_of_three() -> World:
    """The third has neither a pod nor claims."""
    return _world((FIRST, SECOND), wants=3, instances=2)


def two_of_three_lost() -> World:
    """The third is away, and then the primary dies."""
    return _world(
        (FIRST, SECOND, THIRD),
        {FIRST: states.CRASHED, THIRD: None},
        wants=3,
        claims=_ended(20),
        currentPrimaryFailingSinceTimestamp=ago(seconds=20),
    )


def asked_for() -> World:
    """The Cluster was made a moment ago, and the operator has not looked at it."""
    bare: dict[str, Any] = {"phase": "", "currentPrimary": "", "targetPrimary": "", "timelineID": 0, "systemID": "", "conditions": []}
    return _world((), wants=3, claims=(), **bare)


def _made(*names: str, **more: Any) -> World:
    bare: dict[str, Any] = {
        "phase": "Setting up primary", "phaseReason": "Creating primary instance postgres-1", "currentPrimary": "", "targetPrimary": FIRST,
        "currentPrimaryTimestamp": "", "targetPrimaryTimestamp": ago(minutes=2), "timelineID": 0, "systemID": "", "conditions": [],
    }  # fmt: skip
    found = _world(names, dict.fromkeys(names), wants=3, **{**bare, **more})
    return replace(found, pg_claims=Map())


def setting_up() -> World:
    """initdb runs in a job: the claim is there, no pod is."""
    return _made(FIRST)


def restoring() -> World:
    """A recovery job fetches the base backup for hours: not even a claim is counted yet."""
    found = _made(phaseReason="Creating primary instance postgres-1 from backup", targetPrimaryTimestamp=ago(hours=3))
    return replace(found, pg_sql=found.pg_sql.set(FIRST, NOBODY))


def joining() -> World:
    """The primary runs, the first standby copies its data."""
    status: dict[str, Any] = {"phase": "Creating a new replica", "phaseReason": "Creating replica postgres-2-join", "instances": 1}
    return _world((FIRST,), wants=3, **status)


def upgrading() -> World:
    """All pods are deleted, a job upgrades the data of the primary."""
    status: dict[str, Any] = {"phase": "Upgrading Postgres major version", "phaseReason": "Upgrading cluster to major version 18"}
    return _world(states.NAMES, dict.fromkeys(states.NAMES), wants=3, claims=_ended(300), **status)


def _following(pods: Mapping[str, Mapping[str, Any] | None] | None = None) -> World:
    """All are in recovery, and the designated primary receives from the other site; it is labelled primary."""
    spec = {"replica": {"enabled": True, "source": "other-site"}}
    made = _world(states.NAMES, pods, wants=3, spec=spec)
    changed = pods or {}
    standbys: Readings = {n: known(server(receiver=Receiver("streaming"))) for n in states.NAMES if n not in changed}
    managers = {f"cold/{n}": Known(states.told(n, is_primary=False), "manager", states.before(1)) for n in states.NAMES if n not in changed}
    return replace(made, pg_sql=made.pg_sql.update(standbys), pg_managers=made.pg_managers.update(managers), pg_claims=Map())


def replica_cluster() -> World:
    return _following()


def replica_cluster_headless() -> World:
    """The designated primary crashes."""
    return _following({FIRST: states.CRASHED})


def fenced_one() -> World:
    fence = {"cnpg.io/fencedInstances": '["postgres-1"]'}
    return _world((FIRST,), {FIRST: {"ready": False}}, wants=1, claims=_ended(), annotations=fence)


SHAPES: tuple[Callable[[], World], ...] = (
    one, one_down, one_without_pod, fenced_one, two, two_lost, two_both_lost, two_of_three, two_of_three_lost, asked_for, setting_up, restoring,
    joining, upgrading, replica_cluster, replica_cluster_headless,
)  # fmt: skip
